"""GeoJSON (RFC 7946) as a plain SVG map: points, lines and areas, without a map beneath them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nxtrack.documents import compact, items_of, members_of, number_of
from nxtrack.server.drawing.svg import SERIES, element, number, shortened, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

_WIDTH, _HEIGHT = 640.0, 400.0
_LEAST_HEIGHT = 200.0
_EDGE = 24.0
_DEPTH = 8
_MOST_SHAPES = 3_000
_MOST_POSITIONS = 20_000
_MOST_TIPS = 1_000
_TIP_MEMBERS = 8
_LINES = frozenset({"LineString", "MultiLineString"})
_AREAS = frozenset({"Polygon", "MultiPolygon"})
_POINTS = frozenset({"Point", "MultiPoint"})

Position = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Map:
    """A drawn map: see `drawing.Drawing`."""

    title: str
    svg: Markup
    left_out: list[str]


@dataclass(slots=True)
class _Shape:
    kind: str
    # For points one, for lines one each, for an area its outline and its holes.
    rings: list[list[Position]]
    tip: str


@dataclass(slots=True)
class _Collected:
    shapes: list[_Shape] = field(default_factory=list[_Shape])
    positions: int = 0
    cut: bool = False


def draw_map(document: object) -> Map | None:
    """The map of a GeoJSON document, or None when there is nothing on it.

    Longitudes are shortened by the cosine of the middle latitude, so that shapes look as they do on the ground.
    Documents whose positions are no longitudes and latitudes are drawn as a plane.
    """
    collected = _collect(document)
    everything = [position for shape in collected.shapes for ring in shape.rings for position in ring]
    if not everything:
        return None
    wests = [west for west, _ in everything]
    souths = [south for _, south in everything]
    low, high = (min(wests), min(souths)), (max(wests), max(souths))
    round_earth = max(map(abs, wests)) <= 360 and max(map(abs, souths)) <= 90  # noqa: PLR2004
    shrink = max(0.05, math.cos(math.radians(low[1] / 2 + high[1] / 2))) if round_earth else 1.0
    # Halves: the span of two large numbers may be none.
    wide = (high[0] / 2 - low[0] / 2) * shrink
    tall = high[1] / 2 - low[1] / 2
    scale = min((_WIDTH - 2 * _EDGE) / max(wide, 1e-300), (_HEIGHT - 2 * _EDGE) / max(tall, 1e-300))
    height = min(_HEIGHT, max(_LEAST_HEIGHT, tall * scale + 2 * _EDGE))
    if not math.isfinite(scale) or not math.isfinite(wide * scale) or scale > 1e12:  # noqa: PLR2004
        # One place only.
        scale, wide, tall = 0.0, 0.0, 0.0

    def spot(position: Position) -> Position:
        across = (position[0] / 2 - low[0] / 2) * shrink * scale
        up = (position[1] / 2 - low[1] / 2) * scale
        return (_WIDTH - wide * scale) / 2 + across, (height + tall * scale) / 2 - up

    tips = len(collected.shapes) <= _MOST_TIPS
    order = sorted(collected.shapes, key=lambda shape: (shape.kind not in _AREAS) + (shape.kind in _POINTS))
    colours = {id(shape): place % SERIES for place, shape in enumerate(collected.shapes) if shape.kind not in _POINTS}
    parts = [_drawn(shape, spot, colours.get(id(shape), 0), tip=tips) for shape in order]
    corners = f"{number(low[0])}, {number(low[1])} to {number(high[0])}, {number(high[1])}"
    parts.append(text(8, height - 8, corners, longest=80))
    left_out = [f"Only the first {len(collected.shapes):,} shapes are drawn."] if collected.cut else []
    label = f"Map of {_counted(collected.shapes)}, from {corners}"
    svg = element(
        "svg", *parts, viewBox=f"0 0 {_WIDTH:.0f} {height:.0f}", class_="drawing map", role="img", aria_label=label
    )
    return Map("", svg, left_out)


def _drawn(shape: _Shape, spot: Any, colour: int, *, tip: bool) -> Markup:
    title = [element("title", shape.tip)] if tip and shape.tip else []
    if shape.kind in _POINTS:
        dots = [element("circle", *title, cx=x, cy=y, r=5) for x, y in map(spot, shape.rings[0])]
        return element("g", *dots, class_="dots c0")
    closed = shape.kind in _AREAS
    path = "".join(_path([spot(position) for position in ring], closed=closed) for ring in shape.rings)
    return element("path", *title, d=path, class_=f"{'zone' if closed else 'curve'} c{colour}", fill_rule="evenodd")


def _path(spots: list[Position], *, closed: bool) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots) + ("Z" if closed else "")


def _collect(document: object) -> _Collected:
    """All shapes of a document, in its order; collections within collections only so deep."""
    collected = _Collected()
    left: list[tuple[object, str, int]] = [(document, "", 0)]
    while left and not collected.cut:
        said, tip, depth = left.pop()
        members = members_of(said)
        kind = members.get("type")
        if depth > _DEPTH or not isinstance(kind, str):
            continue
        if kind == "FeatureCollection":
            inner = [(one, "", depth + 1) for one in items_of(members.get("features"))[: _MOST_SHAPES + 1]]
        elif kind == "Feature":
            inner = [(members.get("geometry"), _tip(members_of(members.get("properties"))), depth + 1)]
        elif kind == "GeometryCollection":
            inner = [(one, tip, depth + 1) for one in items_of(members.get("geometries"))[: _MOST_SHAPES + 1]]
        else:
            _add(collected, kind, members.get("coordinates"), tip)
            continue
        left += reversed(inner)
    return collected


def _groups(kind: str, coordinates: object) -> list[list[object]]:
    """The shapes within coordinates, each with its lists of positions."""
    parts = items_of(coordinates)[: _MOST_SHAPES + 1]
    if kind == "Point":
        return [[[coordinates]]]
    if kind in {"MultiPoint", "LineString"}:
        return [[coordinates]]
    if kind == "MultiLineString":
        return [[line] for line in parts]
    if kind == "Polygon":
        return [list(parts)]
    return [list(items_of(area)[: _MOST_SHAPES + 1]) for area in parts] if kind == "MultiPolygon" else []


def _add(collected: _Collected, kind: str, coordinates: object, tip: str) -> None:
    for group in _groups(kind, coordinates):
        if len(collected.shapes) >= _MOST_SHAPES or collected.positions >= _MOST_POSITIONS:
            collected.cut = True
            return
        rings: list[list[Position]] = []
        for ring in group:
            room = _MOST_POSITIONS - collected.positions
            if kind in _POINTS:
                # Each is an element of its own.
                room = min(room, _MOST_SHAPES - len(collected.shapes))
                collected.cut |= len(items_of(ring)) > room
            found = [place for one in items_of(ring)[:room] if (place := _position(one)) is not None]
            collected.positions += len(found)
            if found:
                rings.append(found)
        if rings:
            collected.shapes.append(_Shape(kind, rings, tip))


def _position(value: object) -> Position | None:
    parts = items_of(value)
    if len(parts) < 2:  # noqa: PLR2004
        return None
    west, south = number_of(parts[0]), number_of(parts[1])
    return None if west is None or south is None else (west, south)


def _tip(properties: Mapping[str, Any]) -> str:
    shown = list(properties.items())[:_TIP_MEMBERS]
    lines = [
        f"{shortened(name, 40)}: {value[:200] if isinstance(value, str) else compact(value, longest=200)}"
        for name, value in shown
    ]
    return "\n".join(lines)


def _counted(shapes: list[_Shape]) -> str:
    points = sum(len(shape.rings[0]) for shape in shapes if shape.kind in _POINTS)
    lines = sum(shape.kind in _LINES for shape in shapes)
    areas = sum(shape.kind in _AREAS for shape in shapes)
    said = [(points, "point"), (lines, "line"), (areas, "area")]
    return ", ".join(f"{many} {name}{'s' * (many > 1)}" for many, name in said if many)
