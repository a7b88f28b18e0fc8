"""The plain SVG that drawings are made of: escaped elements, short numbers, round ticks, and colours by classes."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

SERIES = 8
"""How many series have a look of their own: the classes `c0` to `c7` of run.css."""

_ELLIPSIS = "…"
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TINY, _HUGE = 1e-4, 1e6
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY = 86_400


def element(name: str, /, *children: Markup | str, **attributes: float | str | None) -> Markup:
    """An element. Underscores in names of attributes are hyphens there, one at the end is dropped; None is left out."""
    said = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, Markup("").join(children))  # noqa: S704  # our names


def text(x: float, y: float, words: str, *, anchor: str = "start", longest: int = 40, turn: int = 0) -> Markup:
    """A text at a place, shortened when it is long, turned by so many degrees around the place."""
    return element(
        "text",
        shortened(words, longest),
        x=x,
        y=y,
        text_anchor=anchor,
        transform=f"rotate({turn} {_short(x)} {_short(y)})" if turn else None,
    )


def frame(width: float, height: float, label: str, *children: Markup, look: str = "drawing") -> Markup:
    """The SVG element around a drawing, and what it is called where it cannot be seen."""
    box = f"0 0 {width:.0f} {height:.0f}"
    return element("svg", *children, viewBox=box, class_=look, role="img", aria_label=label)


def mark(colour: int, x: float, y: float, radius: float, *children: Markup) -> Markup:
    """A mark, whose shape tells series apart as well as its colour does."""
    if colour % 4 == 0:
        return element("circle", *children, cx=x, cy=y, r=radius)
    if colour % 4 == 1:
        return element("rect", *children, x=x - radius, y=y - radius, width=2 * radius, height=2 * radius)
    corners = [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)] if colour % 4 == 2 else [(0, -1.3), (1.2, 1), (-1.2, 1)]  # noqa: PLR2004
    points = " ".join(f"{x + dx * radius:.1f},{y + dy * radius:.1f}" for dx, dy in corners)
    return element("polygon", *children, points=points)


def shortened(words: str, longest: int) -> str:
    """A text of so many characters at most."""
    return words if len(words) <= longest else words[: longest - 1] + _ELLIPSIS


class Axis(NamedTuple):
    """One direction of a drawing: values from `low` to `high` stand between two places."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        # Halved before it is subtracted: the span of two large numbers may be none.
        span = self.high / 2 - self.low / 2
        return self.start + (value / 2 - self.low / 2) / span * (self.end - self.start)


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Round numbers from below `low` to above `high`, so that an axis from the first to the last holds both."""
    if not low < high:
        room = max(abs(low) * 0.1, 0.5)
        low, high = low - room, high + room
    low, high = max(low, -sys.float_info.max), min(high, sys.float_info.max)  # What is stacked may be infinite.
    raw = high / most - low / most
    size = 10.0 ** math.floor(math.log10(max(raw, 1e-300)))
    step = next((part * size for part in _STEPS if part * size >= raw), 10 * size)
    first, last = math.floor(low / step), math.ceil(high / step)
    if last - first > 2 * most or not math.isfinite(last * step) or not math.isfinite(first * step):
        return [low, high]
    # Beyond 2**53 steps the numbers in between are no longer there.
    return sorted({number * step for number in range(first, last + 1)}) if last > first else [low, high]


def time_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """As `ticks`, for seconds since 1970."""
    raw = (high - low) / most
    if raw <= _TIME_STEPS[0]:
        return ticks(low, high, most=most)
    step = next((step for step in _TIME_STEPS if step >= raw), math.ceil(raw / _DAY) * _DAY)
    # Days are counted from the first one shown, not from 1970.
    unit = min(step, _DAY)
    first = math.floor(low / unit) * unit
    return [float(first + number * step) for number in range(math.ceil((high - first) / step) + 1)]


def number(value: float) -> str:
    """A number on an axis or in a label: few digits, thousands apart."""
    if value and (abs(value) >= _HUGE or abs(value) < _TINY):
        return f"{value:.3g}"
    return f"{value:,.4f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}"


def moment(value: float, span: float) -> str:
    """A time on an axis, in UTC; how exact it is depends on the seconds that the axis spans."""
    try:
        when = datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return number(value)
    if span > 3 * _DAY:
        return f"{when:%Y-%m-%d}"
    return f"{when:%m-%d %H:%M}" if span > _DAY / 2 else f"{when:%H:%M:%S}"


def _short(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}".removesuffix(".0") if math.isfinite(value) else "0"
