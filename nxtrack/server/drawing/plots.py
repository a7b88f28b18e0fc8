"""Where things stand in a plot of runs over time: marks, ticks and grid, in percent of the plot's area."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nxtrack.server.times import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nxtrack.server.data.listing import Point

_DRAWN = {"succeeded", "failed", "canceled"}
_MOST_TICKS = 5
_MARGIN = 1.5
_WIDE = 1_000
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""
# Beyond these a distance between two values is no number any more.
_TINY, _HUGE = 1e-300, 1e300
_SECOND = 1_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_LADDER = (1, 10, 100, _SECOND, 10 * _SECOND, _MINUTE, 10 * _MINUTE, _HOUR, 10 * _HOUR, 5 * _DAY, 50 * _DAY, 500 * _DAY)
_STEPS = (
    *(factor * 10**power for power in range(3) for factor in (1, 2, 5)),
    *(factor * _SECOND for factor in (1, 2, 5, 10, 15, 30)),
    *(factor * _MINUTE for factor in (1, 2, 5, 10, 15, 30)),
    *(factor * _HOUR for factor in (1, 2, 3, 6, 12)),
    *(factor * _DAY for factor in (1, 2, 7, 14, 30, 90, 180, 365)),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """One run, and where its middle is: `x` from the left, `y` from the top."""

    point: Point
    value: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis, and how far along it stands: from the left, or from the top."""

    label: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot of one value of runs over time.

    Attributes:
        name: What is drawn.
        failed: How many of the marks are runs that did not succeed.
        logarithmic: Whether the upward axis is so.
        low, middle, high: The least, median and greatest value that is drawn.
        first, last: The time, in microseconds since 1970, of the oldest and the newest run that is drawn.
    """

    name: str
    marks: Sequence[Mark]
    across: Sequence[Tick]
    up: Sequence[Tick]
    failed: int
    logarithmic: bool
    low: float
    middle: float
    high: float
    first: int
    last: int


def draw(points: Sequence[Point], metric: str) -> list[Plot]:
    """The plots for runs: of their durations, and of a metric where there is one; both over the same time."""
    return [plot for plot in (_draw_durations(points), _draw_metric(points, metric)) if plot is not None]


def _draw_durations(points: Sequence[Point]) -> Plot | None:
    """The durations of those runs that have ended, in milliseconds; None without any."""
    values = [(point, float(point.duration)) for point in points if point.status in _DRAWN]
    return _draw(
        "Duration", values, _period(points), step=_duration_step, powers=_spans, label=short_duration, zero=True
    )


def _draw_metric(points: Sequence[Point], name: str) -> Plot | None:
    """One metric of those runs that have it; None without any."""
    values = [
        (point, point.measure if abs(point.measure) > _TINY else 0.0)
        for point in points
        if point.measure is not None and point.status in _DRAWN and abs(point.measure) < _HUGE
    ]
    return _draw(name, values, _period(points), step=_decimal_step, powers=_powers, label=_short_number, zero=False)


def short_duration(milliseconds: float) -> str:
    """A duration on an axis: `250 ms`, `5 s`, `2 min`, `3 h`."""
    for unit, each in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE), ("s", _SECOND)):
        if milliseconds >= each:
            return f"{milliseconds / each:.3g} {unit}"
    return f"{milliseconds:.3g} ms" if milliseconds else "0"


def _draw(
    name: str,
    values: Sequence[tuple[Point, float]],
    period: tuple[int, int],
    *,
    step: Callable[[float], float],
    powers: Callable[[float, float], Sequence[float]],
    label: Callable[[float], str],
    zero: bool,
) -> Plot | None:
    if not values:
        return None
    numbers = sorted(value for _, value in values)
    low, high = numbers[0], numbers[-1]
    logarithmic = low > 0 and high / low >= _WIDE
    bottom = 0.0 if zero or 0 <= low <= high / 2 else low
    up = powers(low, high) if logarithmic else _round(bottom, high, step)
    floor, ceiling = (math.log10(up[0]), math.log10(up[-1])) if logarithmic else (up[0], up[-1])

    def height(value: float) -> float:
        value = math.log10(value) if logarithmic else value
        return round(100 - 100 * (value - floor) / (ceiling - floor), 2)

    first, last = period
    marks = [Mark(point, value, _along(point.created_at, first, last), height(value)) for point, value in values]
    return Plot(
        name=name,
        marks=marks[::-1],
        across=_times(first, last),
        up=[Tick(label(value), height(value)) for value in up],
        failed=sum(point.status != "succeeded" for point, _ in values),
        logarithmic=logarithmic,
        low=low,
        middle=numbers[len(numbers) // 2],
        high=high,
        first=first,
        last=last,
    )


def _round(low: float, high: float, step: Callable[[float], float]) -> list[float]:
    """Round values that enclose the two, at even distances."""
    room = high / _MOST_TICKS - low / _MOST_TICKS
    if room <= abs(high) * 1e-9:
        # All values are the same: they are drawn in the middle.
        margin = abs(high) * 0.1 or 1.0
        return [high - margin, high, high + margin] if low or not high else [0.0, high, 2 * high]
    each = step(room)
    begin = math.floor(low / each)
    return [each * count for count in range(begin, begin + 3 * _MOST_TICKS) if each * (count - 1) < high]


def _powers(low: float, high: float) -> list[float]:
    begin, end = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = math.ceil((end - begin) / _MOST_TICKS)
    count = math.ceil((end - begin) / every)
    return [10.0 ** (begin + every * place) for place in range(count + 1)]


def _spans(low: float, high: float) -> Sequence[float]:
    """Like powers of ten, but round as durations are."""
    begin = max(place for place, value in enumerate(_LADDER) if value <= low or not place)
    end = min((place for place, value in enumerate(_LADDER) if value >= high), default=len(_LADDER) - 1)
    every = math.ceil((end - begin) / _MOST_TICKS)
    found = [*_LADDER[begin:end:every], _LADDER[end]]
    return found if high <= found[-1] else [*found, high]


def _decimal_step(room: float) -> float:
    power = 10.0 ** math.floor(math.log10(room))
    return next((power * factor for factor in (1, 2, 2.5, 5) if power * factor >= room), power * 10)


def _duration_step(room: float) -> float:
    return next((step for step in _STEPS if step >= room), _decimal_step(room / _DAY) * _DAY)


def _short_number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e15:  # noqa: PLR2004  # what is still read at a glance
        return f"{value:.3g}"
    for suffix, each in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= each:
            return f"{value / each:.4g}{suffix}"
    return f"{value:.4g}"


def _period(points: Sequence[Point]) -> tuple[int, int]:
    times = [point.created_at for point in points]
    return min(times, default=0), max(times, default=0)


def _along(at: float, first: int, last: int) -> float:
    """How far along a moment is: a mark at either end is still whole."""
    return round(_MARGIN + (100 - 2 * _MARGIN) * (at - first) / (last - first), 2) if last > first else 50.0


def _times(first: int, last: int) -> list[Tick]:
    """Round moments between two, in microseconds since 1970."""
    span = (last - first) / 1_000
    if not span:
        return [Tick(f"{moment(first):%H:%M:%S}", 50.0)]
    # The finer the time, the longer its words.
    most = 2 if span < 5 * _SECOND else 4 if span < 5 * _MINUTE else _MOST_TICKS
    step = _duration_step(max(span / most, 1))
    pattern = "%H:%M:%S.%f" if step < _SECOND else "%H:%M:%S" if step < _MINUTE else "%H:%M" if step < _DAY else "%b %d"
    # From midnight in steps, so that the labels are round whatever the first moment is.
    begin = moment(first).replace(hour=0, minute=0, second=0, microsecond=0)
    each = timedelta(milliseconds=step)
    at = begin + math.ceil((moment(first) - begin) / each) * each
    found: list[Tick] = []
    while at <= moment(last) and len(found) < 2 * most:
        microseconds = first + (at - moment(first)) / timedelta(microseconds=1)
        found.append(Tick(_clock(at, pattern), _along(microseconds, first, last)))
        at += each
    return found


def _clock(at: datetime, pattern: str) -> str:
    if pattern == "%H:%M" and not (at.hour or at.minute):
        return f"{at:%b %d}"
    text = f"{at:{pattern}}"
    return text[:-3] if pattern.endswith("%f") else text
