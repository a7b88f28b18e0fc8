"""Which chart a document of Chart.js or Plotly describes, as far as bars, lines, points and slices can tell it."""

from __future__ import annotations

import base64
import binascii
import math
import re
import sys
from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from nxtrack.documents import is_array, is_object, items_of, members_of, number_of
from nxtrack.server.drawing.svg import ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Shape = Literal["bar", "line", "points", "both"]

_MOST_SERIES = 30
_MOST_POINTS = 2_000
_MOST_IN_ALL = 6_000
_MOST_CATEGORIES = 200
_LONGEST = 200
_TAG = re.compile(r"<[^<>]{0,200}>")
_CHARTJS_SHAPES: dict[str, Shape] = {
    "bar": "bar",
    "bubble": "points",
    "horizontalBar": "bar",
    "line": "both",
    "polarArea": "bar",
    "radar": "both",
    "scatter": "points",
}
_PIES = frozenset({"pie", "doughnut"})
_MAPS = frozenset({"scattergeo", "scattermap", "scattermapbox"})
_LINES = frozenset({"scatter", "scattergl"})
_POLAR = frozenset({"scatterpolar", "scatterpolargl"})
_MOST_SAMPLES = 200_000
_MOST_BINS = 60
# One alone would be as wide as two large numbers are apart, which may be no number any more.
_LEAST_BINS = 2
_LEAST_CORNERS = 3
# Plotly 6 writes NumPy's arrays so: the name of the type, and its bytes, little-endian, in Base64.
_TYPED = {"f8": "d", "f4": "f", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}


@dataclass(slots=True, kw_only=True)
class Series:
    """One series. A point is where it stands, its value, and where a bar begins when not at zero."""

    name: str
    shape: Shape
    points: list[tuple[float, float, float]]


@dataclass(slots=True, kw_only=True)
class Chart:
    """A chart.

    Attributes:
        title: What stands above it; empty without one.
        x_title: What stands along the axis of places, wherever that is drawn.
        y_title: As `x_title`, of the values.
        categories: The names of the places 0, 1, 2, ...; None when places are numbers.
        times: Whether places, and values of horizontal bars, are seconds since 1970.
        horizontal: Whether places go down and values to the right.
        together: How the bars at one place share it: side by side, one on another, or all the same room.
        series: The series.
        radar: Whether places, which have names, stand around a middle.
        slices: Of a pie: names and shares; such a chart has no series.
        left_out: What is not drawn, for people.
        room: How many more points it takes.
    """

    title: str = ""
    x_title: str = ""
    y_title: str = ""
    categories: list[str] | None = None
    times: bool = False
    horizontal: bool = False
    together: Literal["group", "stack", "overlay"] = "group"
    radar: bool = False
    series: list[Series] = field(default_factory=list[Series])
    slices: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    left_out: list[str] = field(default_factory=list[str])
    room: int = _MOST_IN_ALL

    def add(self, name: str, shape: Shape, places: Sequence[Any], values: Sequence[Any], bases: Sequence[Any]) -> None:
        """Adds a series, of as many of its points as there is room for."""
        if len(self.series) == _MOST_SERIES:
            self._leave_out(f"Only the first {_MOST_SERIES} series are drawn.")
            return
        points: list[tuple[float, float, float]] = []
        most = min(_MOST_POINTS, self.room)
        for place, value, base in islice(zip(places, values, bases, strict=True), most):
            where, what, begin = self._place(place), number_of(value), number_of(base)
            if where is not None and what is not None and math.isfinite(what + (begin or 0.0)):
                points.append((where, what, begin or 0.0))
        if len(values) > most:
            many = f"{_MOST_POINTS:,} points of a series" if most == _MOST_POINTS else f"{_MOST_IN_ALL:,} points"
            self._leave_out(f"Only the first {many} are drawn.")
        self.room -= len(points)
        self.series.append(Series(name=name, shape=shape, points=points))

    def _place(self, place: Any) -> float | None:
        if self.categories is None:
            return seconds_of(place) if self.times else number_of(place)
        name = words(place)
        if name in self.categories:
            return float(self.categories.index(name))
        if len(self.categories) == _MOST_CATEGORIES:
            self._leave_out(f"Only the first {_MOST_CATEGORIES} places are drawn.")
            return None
        self.categories.append(name)
        return float(len(self.categories) - 1)

    def _leave_out(self, sentence: str) -> None:
        if sentence not in self.left_out:
            self.left_out.append(sentence)


def from_chartjs(content: object) -> list[Chart]:
    """The chart that a configuration of Chart.js (3 or 4) describes; none when it is of another kind."""
    config = members_of(content)
    kind = words(config.get("type"))
    data, options = members_of(config.get("data")), members_of(config.get("options"))
    sets = [members_of(dataset) for dataset in items_of(data.get("datasets"))]
    scales, plugins = members_of(options.get("scales")), members_of(options.get("plugins"))
    chart = Chart(title=_title(plugins.get("title") or options.get("title")))
    labels = items_of(data.get("labels"))
    if kind in _PIES:
        for dataset in sets[:1]:
            _add_slices(chart, labels, items_of(dataset.get("data")))
        return [chart] if chart.slices else []
    chart.radar = kind == "radar"
    if kind not in _CHARTJS_SHAPES or (chart.radar and len(labels) < _LEAST_CORNERS):
        return []
    chart.horizontal = kind == "horizontalBar" or options.get("indexAxis") == "y"
    axes = ("y", "x") if chart.horizontal else ("x", "y")
    chart.x_title, chart.y_title = (_title(members_of(scales.get(axis)).get("title")) for axis in axes)
    if any(members_of(scales.get(axis)).get("stacked") is True for axis in axes):
        chart.together = "stack"
    rows = [_chartjs_points(dataset, labels, chart) for dataset in sets[: _MOST_SERIES + 1]]
    if chart.radar:
        chart.categories = []
    else:
        _choose_places(chart, [place for places, _, _ in rows for place in places], named=bool(labels))
    for dataset, (places, values, bases) in zip(sets, rows, strict=False):
        shape = _CHARTJS_SHAPES.get(words(dataset.get("type")) or kind)
        if shape is not None:
            shape = "line" if shape == "both" and len(values) > 100 else shape  # noqa: PLR2004  # a dot on each is a mess
            chart.add(words(dataset.get("label")), shape, places, values, bases)
    return [chart] if any(series.points for series in chart.series) else []


def _chartjs_points(
    dataset: Mapping[str, Any], labels: Sequence[Any], chart: Chart
) -> tuple[list[Any], list[Any], list[Any]]:
    places: list[Any] = []
    values: list[Any] = []
    bases: list[Any] = []
    place_name, value_name = ("y", "x") if chart.horizontal else ("x", "y")
    for number, item in enumerate(items_of(dataset.get("data"))[: _MOST_POINTS + 1]):
        place: Any = labels[number] if number < len(labels) else number
        value: Any = item
        if is_object(item):
            point = members_of(item)
            place, value = point.get(place_name, place), point.get(value_name)
        low: Any = 0.0
        if is_array(value) and len(value) == 2:  # noqa: PLR2004  # a bar from the one to the other
            low, high = number_of(value[0]), number_of(value[1])
            value = None if low is None or high is None else high - low
        places.append(place)
        values.append(value)
        bases.append(low)
    return places, values, bases


def from_plotly(content: object) -> list[Chart]:
    """The charts that a figure of Plotly describes, one for each pair of axes; none when it has no kind we draw."""
    figure = members_of(content)
    layout = members_of(figure.get("layout"))
    charts: dict[tuple[str, ...], Chart] = {}
    other: set[str] = set()
    for trace in [members_of(trace) for trace in items_of(figure.get("data"))[: 4 * _MOST_SERIES]]:
        kind = words(trace.get("type")) or "scatter"
        if kind == "pie":
            chart = Chart(title=_title(trace.get("title")) or _title(layout.get("title")))
            _add_slices(chart, array_of(trace.get("labels")), array_of(trace.get("values")))
            if chart.slices:
                charts["pie", str(len(charts))] = chart
        elif kind == "histogram":
            _add_trace(charts, _axes(trace), layout, _counted(trace), "bar")
        elif kind == "bar" or kind in _LINES | _MAPS:
            _add_trace(charts, _axes(trace), layout, trace, kind)
        elif kind in _POLAR:
            _add_around(charts, layout, trace)
        else:
            other.add(kind[:40])
    drawn = [chart for chart in charts.values() if chart.slices or any(series.points for series in chart.series)]
    if drawn and other:
        drawn[-1].left_out.append(f"Not drawn: {', '.join(sorted(other)[:5])}.")
    return drawn


def _add_trace(
    charts: dict[tuple[str, ...], Chart],
    axes: tuple[str, str],
    layout: Mapping[str, Any],
    trace: Mapping[str, Any],
    kind: str,
) -> None:
    xs, ys = (array_of(trace.get(name)) for name in (("lon", "lat") if kind in _MAPS else ("x", "y")))
    horizontal = kind == "bar" and trace.get("orientation") == "h"
    places, values = (ys, xs) if horizontal else (xs, ys)
    places = places or list(range(len(values)))
    many = min(len(places), len(values))
    places, values = places[:many], values[:many]
    chart = charts.get(axes)
    if chart is None:
        chart = charts[axes] = Chart(title=_title(layout.get("title")), horizontal=horizontal)
        titles = [_title(members_of(layout.get(_axis_name(axis))).get("title")) for axis in axes]
        chart.x_title, chart.y_title = titles[::-1] if horizontal else titles
        mode = words(layout.get("barmode"))
        chart.together = "stack" if mode in {"stack", "relative"} else "overlay" if mode == "overlay" else "group"
        _choose_places(chart, places, named=False)
    base = trace.get("base")
    bases = array_of(base)[:many] if is_array(base) or is_object(base) else [base] * many
    bases += [0.0] * (many - len(bases))
    if horizontal and any(isinstance(value, str) and seconds_of(value) is not None for value in bases[:1]):
        # A timeline: bars begin at times, and their lengths are milliseconds.
        chart.times = True
        bases = [seconds_of(value) for value in bases]
        values = [None if (length := number_of(value)) is None else length / 1000 for value in values]
    chart.add(words(trace.get("name")), _plotly_shape(kind, words(trace.get("mode")), many), places, values, bases)


def _axes(trace: Mapping[str, Any]) -> tuple[str, str]:
    return (words(trace.get("xaxis")) or "x", words(trace.get("yaxis")) or "y")


def _counted(trace: Mapping[str, Any]) -> dict[str, Any]:
    """A histogram as the bars that it is drawn as: how many of its samples are where."""
    down = "x" not in trace
    samples = array_of(trace.get("y" if down else "x"), most=_MOST_SAMPLES)
    numbers = [value for sample in samples if (value := number_of(sample)) is not None]
    places: list[Any]
    if numbers:
        low, high = min(numbers), max(numbers)
        asked = number_of(trace.get("nbinsy" if down else "nbinsx")) or math.sqrt(len(numbers))
        edges = ticks(low, high, most=int(max(_LEAST_BINS, min(asked, _MOST_BINS))))
        counts = Counter(bisect_right(edges, value, 1, len(edges) - 1) for value in numbers)
        places = [edges[place - 1] / 2 + edges[place] / 2 for place in range(1, len(edges))]
        values = [counts[place] for place in range(1, len(edges))]
    else:
        named = Counter(words(sample) for sample in samples)
        places, values = list(named), list(named.values())
    bars = {"y": places, "x": values, "orientation": "h"} if down else {"x": places, "y": values}
    return {"name": trace.get("name"), **bars}


def _add_around(charts: dict[tuple[str, ...], Chart], layout: Mapping[str, Any], trace: Mapping[str, Any]) -> None:
    """Adds a series whose places stand around a middle, when they are names; angles are no such places."""
    values, places = array_of(trace.get("r")), array_of(trace.get("theta"))
    if not all(isinstance(place, str) for place in places) or len(set(places)) < _LEAST_CORNERS:
        return
    many = min(len(values), len(places))
    key = (words(trace.get("subplot")) or "polar",)
    chart = charts.setdefault(key, Chart(title=_title(layout.get("title")), categories=[], radar=True))
    chart.add(words(trace.get("name")), "both", places[:many], values[:many], [0.0] * many)


def _plotly_shape(kind: str, mode: str, many: int) -> Shape:
    if kind == "bar":
        return "bar"
    if not mode:
        # As Plotly has it: dots as well while there are few.
        return "both" if many < 20 else "line"  # noqa: PLR2004
    lines, dots = "lines" in mode, "markers" in mode
    return "both" if lines and dots else "line" if lines else "points"


def _axis_name(axis: str) -> str:
    return f"{axis[:1]}axis{axis[1:]}"


def _choose_places(chart: Chart, places: Sequence[Any], *, named: bool) -> None:
    """Whether places are numbers, times, or names: by what most tell, that is the first of them."""
    first = list(islice((place for place in places if place is not None), 50))
    if first and all(isinstance(place, str) and seconds_of(place) is not None for place in first):
        chart.times = not chart.horizontal
        if chart.times:
            return
    if named or any(number_of(place) is None for place in first):
        chart.categories = []


def _add_slices(chart: Chart, labels: Sequence[Any], values: Sequence[Any]) -> None:
    for place, value in enumerate(values[:_MOST_CATEGORIES]):
        share = number_of(value)
        if share is not None and share > 0:
            chart.slices.append((words(labels[place]) if place < len(labels) else str(place), share))
    if not math.isfinite(sum(share for _, share in chart.slices)):
        chart.slices.clear()


def words(value: object) -> str:
    """A text for people, without the markup that Plotly knows; empty for what is none. At most 200 characters."""
    if isinstance(value, str):
        return _TAG.sub(" ", value[: 4 * _LONGEST]).strip()[:_LONGEST]
    if is_array(value):
        return " ".join(words(item) for item in value[:5] if not is_array(item))[:_LONGEST]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def seconds_of(value: object) -> float | None:
    """The time that a text such as `2024-03-28T11:42` tells, in seconds since 1970; UTC unless it says otherwise."""
    if not isinstance(value, str) or not 8 <= len(value) <= 40 or "-" not in value:  # noqa: PLR2004
        return None
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def array_of(value: object, *, most: int = _MOST_POINTS + 1) -> list[Any]:
    """A list, whether it is written as one or as typed bytes, or its beginning; empty for anything else."""
    if is_array(value):
        return value[:most]
    typed = members_of(value)
    code, data = _TYPED.get(words(typed.get("dtype"))), typed.get("bdata")
    if code is None or not isinstance(data, str):
        return []
    try:
        found: array[Any] = array(code, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return []
    if sys.byteorder == "big":
        found.byteswap()
    return found[:most].tolist()


def _title(value: object) -> str:
    return words(members_of(value).get("text")) if is_object(value) else words(value)
