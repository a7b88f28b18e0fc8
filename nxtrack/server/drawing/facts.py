"""What a run's metrics say, one name at a time: single values, and series of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nxtrack.documents import is_array, is_object, items_of, number_of
from nxtrack.server.data.contents import LONGEST_METRIC_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Points = list[tuple[float, float]]

_MOST = 300
_DEPTH = 20
_LEAST_POINTS = 2
_MOST_POINTS = 4_000
# What documents call where in a series a value stands, and the value.
_PLACES = ("step", "iteration", "time", "x")
_VALUES = ("value", "y")


def flat(metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """Metrics by dotted names, at most 300; lists stay lists, and what is nested too deeply stays as it is."""
    found: dict[str, Any] = {}
    # A name is made when its turn comes, and is cut: of long names with many members each, all would fill the memory.
    left = [("", iter((metrics or {}).items()))]
    while left and len(found) < _MOST:
        prefix, members = left[-1]
        key, value = next(members, (None, None))
        if key is None:
            left.pop()
            continue
        name = f"{prefix}{key[:LONGEST_METRIC_NAME]}"[:LONGEST_METRIC_NAME]
        if is_object(value) and value and len(left) < _DEPTH:
            left.append((f"{name}.", iter(value.items())))
        else:
            found[name] = value
    return found


def series(value: object) -> Points | None:
    """The points of a list of numbers, of pairs of them, or of objects with a step and a value; else None."""
    items = items_of(value)[:_MOST_POINTS]
    if len(items) < _LEAST_POINTS:
        return None
    points = [_point(place, item) for place, item in enumerate(items)]
    found = [point for point in points if point is not None]
    return found if len(found) == len(points) else None


def _point(place: int, item: object) -> tuple[float, float] | None:
    where, what = number_of(place), number_of(item)
    if is_array(item) and len(item) == 2:  # noqa: PLR2004
        where, what = number_of(item[0]), number_of(item[1])
    elif is_object(item):
        where, what = _first(item, _PLACES), _first(item, _VALUES)
    return None if where is None or what is None else (where, what)


def _first(item: Mapping[str, Any], names: Sequence[str]) -> float | None:
    return next((number_of(item[name]) for name in names if name in item), None)
