"""Owns how an output is put together with what a run logged beside it: metrics, their series as charts, and assets.

Both sides use it: the tracked process when a run ends, and delivery when a run never got that far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from nxtrack.charts import Points, chart_asset, line_chart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import msgspec

    from nxtrack.solverlogs.solve import Reading

MOST_SERIES: Final = 20
"""Metrics that get a chart, at most."""


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

    def add_reading(self, reading: Reading, mask: Callable[[str, Any], tuple[str, Any]]) -> dict[str, Any]:
        """Takes what a solver's log says; what the run logged itself wins over it.

        Args:
            reading: What the log says.
            mask: Makes of a metric's name and value what may be recorded.

        Returns:
            The metrics that the run had not logged itself.
        """
        masked = {name: mask(name, value) for name, value in reading.metrics.items()}
        self.found.update(masked.values())
        # What is masked as a number must not be told by a chart.
        chart = reading.chart([name for name, value in reading.metrics.items() if masked[name] == (name, value)])
        if chart is not None:
            self.charts.append(chart)
        return {name: value for name, value in self.found.items() if name not in self.metrics}

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
