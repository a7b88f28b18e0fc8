"""Owns charts of numbers over time or steps: their lines, thinned, and their form on the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_POINTS: Final = 240
"""Points of a line in a chart, at most: more than a screen shows apart."""


class Points:
    """A line in a chart as points in the order they came, thinned so that any number takes little memory.

    The first and the last are always there; of the others every second is dropped as often as they get too many.
    What stays at a value is kept as two points.
    """

    __slots__ = ("_held", "_kept", "_last", "_seen", "_stride")

    def __init__(self) -> None:
        self._kept: list[tuple[float, float]] = []
        self._last: tuple[float, float] | None = None
        self._held = False
        self._seen = 0
        self._stride = 1

    def __bool__(self) -> bool:
        """Whether there is any point."""
        return self._last is not None

    @property
    def last(self) -> tuple[float, float] | None:
        """The newest point."""
        return self._last

    def add(self, place: float, value: float) -> None:
        """Takes a point; both numbers are finite."""
        before, self._last = self._last, (place, value)
        if before is not None and before[1] == value:
            self._held = True
            return
        if before is not None and self._held:
            self._held = False
            self._keep(before)
        self._keep((place, value))

    def _keep(self, point: tuple[float, float]) -> None:
        self._seen += 1
        if (self._seen - 1) % self._stride:
            return
        self._kept.append(point)
        if len(self._kept) >= MOST_POINTS:
            del self._kept[1::2]
            self._stride *= 2

    def listed(self) -> list[tuple[float, float]]:
        """Returns the points that are left, at most `MOST_POINTS`."""
        last = self._last
        return [*self._kept, last] if last is not None and last != self._kept[-1] else list(self._kept)


def line_chart(x_title: str, lines: Mapping[str, Iterable[tuple[float, float]]]) -> dict[str, Any]:
    """Returns a chart of named lines as a configuration of Chart.js, whose places are numbers."""
    datasets = [
        {"label": name, "data": [{"x": place, "y": value} for place, value in points]} for name, points in lines.items()
    ]
    title = ", ".join(lines)
    return {
        "type": "line",
        "data": {"datasets": datasets},
        "options": {
            "plugins": {"title": {"display": True, "text": title}},
            "scales": {"x": {"type": "linear", "title": {"display": True, "text": x_title}}},
        },
    }


def chart_asset(name: str, label: str, charts: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns charts as one asset; the platform shows them in a tab of that label."""
    return {
        "name": name,
        "content_type": "json",
        "visual": {"schema": "chartjs", "type": "custom-tab", "label": label},
        "content": charts,
    }
