"""Assets as plain SVG: what their content is, and how a chart is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from nxtrack.documents import is_array, is_object, items_of, members_of
from nxtrack.server.drawing.charts import Chart, Series, from_chartjs, from_plotly
from nxtrack.server.drawing.maps import draw_map
from nxtrack.server.drawing.rounds import pie, radar
from nxtrack.server.drawing.svg import (
    SERIES,
    Axis,
    element,
    frame,
    mark,
    moment,
    number,
    shortened,
    text,
    ticks,
    time_ticks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

_WIDTH = 640
_HEIGHT = 320
_TOP, _RIGHT, _BOTTOM = 14, 40, 34
_TITLE = 22
_ROW = 26
_LETTER = 7.2
_LONGEST_LABEL = 22
_MOST_DRAWINGS = 6
_MOST_CHARACTERS = 600_000
_MOST_TIPS = 1_500
_MOST_IN_LEGEND = 12
_SHARE_OF_ROOM = 0.72
_RADIUS = 4.0
_FEW = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One drawing.

    Attributes:
        title: What stands above it.
        svg: The drawing itself.
        legend: For each of its series the number of its colour, and its name.
        left_out: What is not drawn, in sentences.
        round: Whether it is as high as it is wide.
    """

    title: str
    svg: Markup
    legend: Sequence[tuple[int, str]] = ()
    left_out: Sequence[str] = ()
    round: bool = False


def draw(content: object, schema: str | None) -> list[Drawing]:
    """What can be drawn of an asset; nothing when it is of a kind that plain SVG is not made for here.

    Args:
        content: Its content, decoded: a document, several in a list, or one as a text.
        schema: `chartjs`, `plotly` or `geojson`; with any other the content itself tells.
    """
    if isinstance(content, str):
        try:
            content = msgspec.json.decode(content)
        except (ValueError, RecursionError):
            return []
    documents = items_of(content)[:_MOST_DRAWINGS] if is_array(content) else [content]
    found: list[Drawing] = []
    for document in documents:
        kind = schema if schema in _KINDS else _guess(document)
        if kind is not None and sum(len(drawing.svg) for drawing in found) < _MOST_CHARACTERS:
            found += _KINDS[kind](document)
    return found[:_MOST_DRAWINGS]


def draw_series(name: str, points: Sequence[tuple[float, float]]) -> Drawing:
    """One series of numbers as a line."""
    chart = Chart(title=name)
    places, values = zip(*points, strict=True)
    chart.add(name, "both" if len(points) < _FEW else "line", places, values, [0.0] * len(points))
    return _chart(chart)


def _guess(document: object) -> str | None:
    said = members_of(document)
    if is_object(said.get("data")) and "datasets" in said["data"]:
        return "chartjs"
    if is_array(said.get("data")) and ("layout" in said or all("type" in members_of(one) for one in said["data"][:9])):
        return "plotly"
    return "geojson" if "type" in said and {"coordinates", "features", "geometry", "geometries"} & said.keys() else None


def _maps(document: object) -> list[Drawing]:
    drawn = draw_map(document)
    if drawn is None:
        return []
    return [Drawing(title=drawn.title, svg=drawn.svg, left_out=drawn.left_out)]


_KINDS: dict[str, Callable[[object], list[Drawing]]] = {
    "chartjs": lambda document: [_chart(chart) for chart in from_chartjs(document)],
    "plotly": lambda document: [_chart(chart) for chart in from_plotly(document)],
    "geojson": _maps,
}


def _chart(chart: Chart) -> Drawing:
    if chart.slices:
        svg, legend = pie(chart)
        return Drawing(title=chart.title, svg=svg, legend=legend, left_out=chart.left_out, round=True)
    named = [(place % SERIES, series.name) for place, series in enumerate(chart.series) if series.points]
    legend = named if len(named) > 1 or (named and named[0][1] not in {"", chart.title, chart.y_title}) else []
    left_out = list(chart.left_out)
    if len(legend) > _MOST_IN_LEGEND:
        left_out.append(f"The legend names the first {_MOST_IN_LEGEND} of {len(legend)} series.")
    return Drawing(
        title=chart.title,
        svg=radar(chart) if chart.radar else _Plot(chart).drawn(),
        legend=[(colour, shortened(name or f"series {place + 1}", 60)) for place, (colour, name) in enumerate(legend)][
            :_MOST_IN_LEGEND
        ],
        left_out=left_out,
        round=chart.radar,
    )


@dataclass(slots=True)
class _Plot:
    """A chart with two axes. `along` runs through the places, `across` through the values."""

    chart: Chart
    parts: list[Markup] = field(default_factory=list["Markup"])
    _tips: bool = True

    def drawn(self) -> Markup:
        chart = self.chart
        bars = [series for series in chart.series if series.shape == "bar"]
        spans = self._spans()
        self._tips = sum(len(series.points) for series in chart.series) <= _MOST_TIPS
        marks, along_marks = self._value_marks(spans), self._place_marks()
        left_words = [words for _, words in (along_marks if chart.horizontal else marks)]
        left = max(_RIGHT, 14 + _LETTER * max((min(len(words), _LONGEST_LABEL) for words in left_words), default=0))
        left += _TITLE if (chart.x_title if chart.horizontal else chart.y_title) else 0
        turned = not chart.horizontal and self._crowded(along_marks, _WIDTH - left - _RIGHT)
        bottom = _BOTTOM + (_TITLE if (chart.y_title if chart.horizontal else chart.x_title) else 0) + 54 * turned
        height = _TOP + bottom + _ROW * max(2, len(along_marks)) if chart.horizontal else _HEIGHT + 54 * turned
        places = self._place_range(along_marks, padded=bool(bars))
        values = (marks[0][0], marks[-1][0])
        down, right = (height - bottom, float(_TOP)), (left, float(_WIDTH - _RIGHT))
        if chart.horizontal:
            along, across = Axis(*places, *down[::-1]), Axis(*values, *right)
        else:
            along, across = Axis(*places, *right), Axis(*values, *down)
        self._draw_value_axis(marks, across, along)
        self._draw_place_axis(along_marks, along, left=left, bottom=height - bottom, turned=turned)
        self._draw_titles(left=left, height=height)
        self._draw_bars(bars, spans, along, across)
        for place, series in enumerate(chart.series):
            if series.shape != "bar":
                self._draw_points(place % SERIES, series, along, across)
        return frame(_WIDTH, height, self._label(), *self.parts)

    def _label(self) -> str:
        shapes = {"bar": "bars", "line": "lines", "both": "lines", "points": "points"}
        kinds = sorted({shapes[series.shape] for series in self.chart.series})
        names = ", ".join(shortened(series.name, 40) for series in self.chart.series[:5] if series.name)
        many = sum(len(series.points) for series in self.chart.series)
        return f"{self.chart.title or 'Chart'}: {' and '.join(kinds)}{f' of {names}' if names else ''}, {many} values"

    def _spans(self) -> dict[int, list[tuple[float, float]]]:
        """From where to where each bar goes, series by series; stacked ones begin where the last one ended."""
        ends: dict[tuple[float, bool], float] = {}
        spans: dict[int, list[tuple[float, float]]] = {}
        for series in self.chart.series:
            if series.shape != "bar":
                continue
            found: list[tuple[float, float]] = []
            for place, value, base in series.points:
                start = base
                if self.chart.together == "stack" and not base:
                    start = ends.get((place, value < 0), 0.0)
                    ends[place, value < 0] = start + value
                end = start + value
                found.append((start, end) if math.isfinite(end) else (start, start))
            spans[id(series)] = found
        return spans

    def _value_marks(self, spans: dict[int, list[tuple[float, float]]]) -> list[tuple[float, str]]:
        values = [value for series in self.chart.series if series.shape != "bar" for _, value, _ in series.points]
        values += [end for found in spans.values() for span in found for end in span]
        timeline = self.chart.times and self.chart.horizontal
        if timeline:
            values = [end for found in spans.values() for span in found for end in span]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        if timeline:
            return [(tick, moment(tick, high - low)) for tick in time_ticks(low, high)]
        return [(tick, number(tick)) for tick in ticks(low, high)]

    def _place_marks(self) -> list[tuple[float, str]]:
        chart = self.chart
        if chart.categories is not None:
            return [(float(place), name) for place, name in enumerate(chart.categories)]
        places = [place for series in chart.series for place, _, _ in series.points]
        low, high = min(places, default=0.0), max(places, default=1.0)
        if chart.times and not chart.horizontal:
            return [(tick, moment(tick, high - low)) for tick in time_ticks(low, high)]
        return [(tick, number(tick)) for tick in ticks(low, high)]

    def _place_range(self, marks: list[tuple[float, str]], *, padded: bool) -> tuple[float, float]:
        low, high = (marks[0][0], marks[-1][0]) if marks else (0.0, 1.0)
        if self.chart.categories is not None:
            return (low - 0.5, high + 0.5)
        if padded:
            return (low - self._room(), high + self._room())
        return (low, high) if low < high else (low - 0.5, high + 0.5)

    def _room(self) -> float:
        """How far apart places are: what bars at one of them share."""
        if self.chart.categories is not None:
            return 1.0
        places = sorted({place for series in self.chart.series for place, _, _ in series.points})
        return min((after - before for before, after in pairwise(places)), default=1.0)

    @staticmethod
    def _crowded(marks: list[tuple[float, str]], room: float) -> bool:
        longest = max((min(len(words), _LONGEST_LABEL) for _, words in marks), default=0)
        return len(marks) > 1 and longest * _LETTER > room / len(marks)

    def _draw_value_axis(self, marks: list[tuple[float, str]], across: Axis, along: Axis) -> None:
        ends = sorted((along.start, along.end))
        for value, words in marks:
            place = across(value)
            look = "rule base" if value == 0 else "rule"
            if self.chart.horizontal:
                self.parts.append(element("line", x1=place, x2=place, y1=ends[0], y2=ends[1], class_=look))
                self.parts.append(text(place, ends[1] + 18, words, anchor="middle"))
            else:
                self.parts.append(element("line", x1=ends[0], x2=ends[1], y1=place, y2=place, class_=look))
                self.parts.append(text(ends[0] - 8, place + 4, words, anchor="end", longest=_LONGEST_LABEL))

    def _draw_place_axis(
        self, marks: list[tuple[float, str]], along: Axis, *, left: float, bottom: float, turned: bool
    ) -> None:
        # One label needs a line's height, or the room of its words.
        most = max(2, int(abs(along.end - along.start) / (_LETTER * 2.4))) if turned else len(marks)
        every = math.ceil(len(marks) / most) if marks else 1
        for value, words in marks[::every]:
            place = along(value)
            if self.chart.horizontal:
                self.parts.append(text(left - 8, place + 4, words, anchor="end", longest=_LONGEST_LABEL))
            elif turned:
                self.parts.append(text(place + 4, bottom + 14, words, anchor="end", longest=16, turn=-40))
            else:
                self.parts.append(text(place, bottom + 18, words, anchor="middle", longest=_LONGEST_LABEL))

    def _draw_titles(self, *, left: float, height: float) -> None:
        across, down = self.chart.x_title, self.chart.y_title
        if self.chart.horizontal:
            across, down = down, across
        if across:
            self.parts.append(text((left + _WIDTH - _RIGHT) / 2, height - 8, across, anchor="middle", longest=80))
        if down:
            self.parts.append(text(14, (height - _BOTTOM) / 2, down, anchor="middle", turn=-90))

    def _draw_bars(
        self, bars: list[Series], spans: dict[int, list[tuple[float, float]]], along: Axis, across: Axis
    ) -> None:
        share = abs(along(along.low + self._room()) - along.start) * _SHARE_OF_ROOM
        lanes = len(bars) if self.chart.together == "group" else 1
        thick = max(0.75, share / max(1, lanes))
        for lane, series in enumerate(bars):
            colour = next(place for place, one in enumerate(self.chart.series) if one is series) % SERIES
            shift = (lane if lanes > 1 else 0) * thick - lanes * thick / 2
            found: list[Markup] = []
            for (place, value, _), (start, end) in zip(series.points, spans[id(series)], strict=True):
                low, high = sorted((across(start), across(end)))
                side, length = along(place) + shift, max(0.75, high - low)
                box = (low, side, length, thick) if self.chart.horizontal else (side, low, thick, length)
                tip = self._tip(series, place, value)
                found.append(element("rect", *tip, x=box[0], y=box[1], width=box[2], height=box[3]))
            self.parts.append(element("g", *found, class_=f"bars c{colour}"))

    def _draw_points(self, colour: int, series: Series, along: Axis, across: Axis) -> None:
        spots = [(along(place), across(value)) for place, value, _ in series.points]
        if series.shape != "points" and spots:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            self.parts.append(element("polyline", points=path, class_=f"curve c{colour}"))
        if series.shape != "line":
            radius = _RADIUS if len(spots) <= 300 else _RADIUS / 2  # noqa: PLR2004
            marks = [
                mark(colour, x, y, radius, *self._tip(series, place, value))
                for (x, y), (place, value, _) in zip(spots, series.points, strict=True)
            ]
            self.parts.append(element("g", *marks, class_=f"dots c{colour}"))

    def _tip(self, series: Series, place: float, value: float) -> list[Markup]:
        if not self._tips:
            return []
        chart = self.chart
        where = chart.categories[int(place)] if chart.categories is not None else number(place)
        if chart.times and not chart.horizontal:
            where = moment(place, 1)
        said = f"{series.name}: " if series.name else ""
        return [element("title", f"{said}{where}, {number(value)}")]
