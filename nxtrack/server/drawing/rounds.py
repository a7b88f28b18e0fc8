"""Round drawings: the slices of a pie, and series around a middle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nxtrack.server.drawing.svg import SERIES, Axis, element, frame, mark, number, shortened, text, ticks

if TYPE_CHECKING:
    from markupsafe import Markup

    from nxtrack.server.drawing.charts import Chart

_SHOWN_SLICES = 12
_RADAR_SIZE = 360
_RADAR_RADIUS = 140.0
_RADAR_SIDE = 110
_MOST_NAMES = 40
# So near to the middle, a name stands above or below its place, and not beside it.
_NEAR = 20


def pie(chart: Chart) -> tuple[Markup, list[tuple[int, str]]]:
    """The slices of a chart, the largest first, and its legend; small ones behind the twelfth become one."""
    slices = sorted(chart.slices, key=lambda entry: -entry[1])
    rest = slices[_SHOWN_SLICES:]
    slices = slices[:_SHOWN_SLICES]
    if rest:
        slices.append((f"{len(rest)} others", sum(share for _, share in rest)))
    whole = sum(share for _, share in slices)
    size, radius = 300.0, 140.0
    parts: list[Markup] = []
    turned = 0.0
    for place, (name, share) in enumerate(slices):
        part = share / whole
        tip = element("title", f"{name}: {number(share)} ({part:.1%})")
        look = f"slice c{place % SERIES}"
        if part > 1 - 1e-6:
            parts.append(element("circle", tip, cx=size / 2, cy=size / 2, r=radius, class_=look))
            break
        (x1, y1), (x2, y2) = (_around(size / 2, radius, angle) for angle in (turned, turned + part))
        wide = int(part > 0.5)  # noqa: PLR2004
        path = f"M{size / 2:.1f} {size / 2:.1f}L{x1:.1f} {y1:.1f}A{radius} {radius} 0 {wide} 1 {x2:.1f} {y2:.1f}Z"
        parts.append(element("path", tip, d=path, class_=look))
        turned += part
    legend = [
        (place % SERIES, f"{shortened(name, 60)}: {number(share)} ({share / whole:.1%})")
        for place, (name, share) in enumerate(slices)
    ]
    label = f"{chart.title or 'Pie chart'}: {', '.join(words for _, words in legend[:6])}"
    return frame(size, size, label, *parts, look="drawing pie"), legend


def radar(chart: Chart) -> Markup:
    """A chart whose places stand around a middle: each series goes once around."""
    names = chart.categories or []
    values = [value for series in chart.series for _, value, _ in series.points]
    marks = ticks(min(0.0, *values), max(0.0, *values), most=4)
    outward = Axis(marks[0], marks[-1], 0.0, _RADAR_RADIUS)
    middle = _RADAR_SIZE / 2
    parts: list[Markup] = []
    spots = [place / max(1, len(names)) for place in range(len(names))]
    for tick in marks[1:]:
        ring = [_around(middle, outward(tick), spot) for spot in spots]
        parts.append(element("polygon", points=_points(ring), class_="ring"))
    for name, spot in list(zip(names, spots, strict=True))[:: math.ceil(len(names) / _MOST_NAMES) or 1]:
        x, y = _around(middle, _RADAR_RADIUS, spot)
        parts.append(element("line", x1=middle, y1=middle, x2=x, y2=y, class_="rule"))
        x, y = _around(middle, _RADAR_RADIUS + 14, spot)
        side = "middle" if abs(x - middle) < _NEAR else "start" if x > middle else "end"
        parts.append(text(x, y + 4, name, anchor=side, longest=16))
    parts += [text(middle + 4, middle - outward(tick) + 12, number(tick)) for tick in marks]
    for place, series in enumerate(chart.series):
        colour = place % SERIES
        corners = [_around(middle, outward(value), spots[int(where)]) for where, value, _ in series.points]
        parts.append(element("polygon", points=_points(corners), class_=f"zone c{colour}"))
        dots = [
            mark(colour, x, y, 3.5, element("title", f"{series.name}: {names[int(where)]}, {number(value)}"))
            for (x, y), (where, value, _) in zip(corners, series.points, strict=True)
        ]
        parts.append(element("g", *dots, class_=f"dots c{colour}"))
    label = f"{chart.title or 'Radar chart'}: {len(chart.series)} series of {len(names)} values"
    return frame(_RADAR_SIZE + 2 * _RADAR_SIDE, _RADAR_SIZE, label, _shifted(parts))


def _shifted(parts: list[Markup]) -> Markup:
    """Makes room at the sides, where the names of places stand."""
    return element("g", *parts, transform=f"translate({_RADAR_SIDE} 0)")


def _points(spots: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)


def _around(middle: float, radius: float, share: float) -> tuple[float, float]:
    angle = 2 * math.pi * share
    return middle + radius * math.sin(angle), middle - radius * math.cos(angle)
