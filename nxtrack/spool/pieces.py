"""Owns how an output is put together with what a run logged beside it: metrics, their series as charts, and assets.

Both sides use it: the tracked process when a run ends, and delivery when a run never got that far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    import msgspec

MOST_POINTS: Final = 240
"""Points of a line in a chart, at most: more than a screen shows apart."""

MOST_SERIES: Final = 20
"""Metrics that get a chart, at most."""


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


class Pieces:
    """What a run logged beside its output.

    Attributes:
        metrics: The last value of each metric.
        series: The values of each metric that was logged with steps.
        assets: Encoded assets, in the platform's form.
        found: Metrics that nobody logged but that were found, in a solver's log say.
        charts: Charts of what was found, likewise in the form of assets.
    """

    __slots__ = ("assets", "charts", "found", "metrics", "series")

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}
        self.series: dict[str, Points] = {}
        self.assets: list[msgspec.Raw] = []
        self.found: dict[str, Any] = {}
        self.charts: list[dict[str, Any]] = []

    def __bool__(self) -> bool:
        """Whether there is anything to put together."""
        return bool(self.metrics or self.assets or self.found or self.charts)

    def add_metric(self, name: str, value: object, step: float | None) -> None:
        """Takes a value of a metric; what is no finite number is no point of its series."""
        self.metrics[name] = value
        place, height = _finite(step), _finite(value)
        if place is None or height is None:
            return
        series = self.series.get(name)
        if series is None:
            if len(self.series) >= MOST_SERIES:
                return
            series = self.series[name] = Points()
        series.add(place, height)

    def joined(self, output: Mapping[str, Any] | None) -> dict[str, Any]:
        """Returns an output with everything in it, where the platform looks for it.

        The output's own metrics win over logged ones, and those over what was found. What nobody logged takes no place
        that the program uses in its own way: no metrics beside `statistics`, which they would hide, and no charts
        among `assets` that are none of the platform's.
        """
        whole: dict[str, Any] = dict(output or {})
        own_metrics, own_assets = whole.get("metrics"), whole.get("assets")
        if own_metrics is None or isinstance(own_metrics, dict):
            metrics: dict[str, Any] = {**self.metrics, **(own_metrics or {})}
            if metrics or whole.get("statistics") is None or _is_empty(whole["statistics"]):
                metrics = {**self.found, **metrics}
            if metrics:
                whole["metrics"] = metrics
        assets: list[Any] = list(self.assets)
        if own_assets is None or _are_assets(own_assets):
            assets += self.charts
            if charts := [line_chart("step", {name: points.listed()}) for name, points in self._drawn()]:
                assets.append(chart_asset("Series of metrics", "Metrics", charts))
        if assets and (own_assets is None or isinstance(own_assets, list)):
            whole["assets"] = [*(own_assets or []), *assets]
        return whole

    def _drawn(self) -> Iterable[tuple[str, Points]]:
        return ((name, points) for name, points in list(self.series.items()) if len(points.listed()) > 1)


def _is_empty(value: object) -> bool:
    return isinstance(value, dict) and not value


def _are_assets(value: Any) -> bool:
    """Whether a value is a list of assets as the platform knows them, or of nothing."""
    if not isinstance(value, list):
        return False
    items = cast("list[object]", value)
    return all(isinstance(item, Mapping) and "name" in item and "content" in item for item in items)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


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
