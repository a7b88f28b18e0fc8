"""What a benchmark gives: figures with their bounds, and the table of them."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: What was measured.
        value: The figure: a ratio, where anything but a ratio would tell more of the machine than of us.
        unit: What it counts; `x` is a ratio.
        most: The bound that it must not be above, if it has one.
        least: The bound that it must not be below, if it has one.
        context: Absolute figures, and what else should be known.
    """

    name: str
    value: float
    unit: str = "x"
    most: float | None = None
    least: float | None = None
    context: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None without a bound."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def bound(self) -> str:
        """The bound as the table shows it."""
        if self.most is not None:
            return f"≤ {shown(self.most, self.unit)}"
        return "" if self.least is None else f"≥ {shown(self.least, self.unit)}"

    def plain(self) -> dict[str, object]:
        """Returns the figure as JSON holds it."""
        return {**asdict(self), "value": None if math.isnan(self.value) else self.value, "met": self.met}


def shown(value: float, unit: str) -> str:
    """Returns a number with its unit, as precise as a measurement is."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {TIMES if unit == 'x' else unit}"


def time_shown(seconds: float) -> str:
    """Returns a span of time in the unit that suits it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return shown(seconds / size, unit)
    return shown(seconds * 1e6, "µs")


def median(values: Sequence[float]) -> float:
    """Returns the median."""
    return statistics.median(values)


def ratio(values: Sequence[float], references: Sequence[float]) -> float:
    """Returns the median of the ratios of values that were measured in turns, each right after its reference."""
    return median([value / reference for value, reference in zip(values, references, strict=True)])


_MARKS = "<!-- benchmarks -->\n", "<!-- end of benchmarks -->\n"


def put(text: str, readme: Path) -> None:
    """Puts a text between the marks of the benchmarks in the README, instead of what stands there."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(_MARKS[0])
    _, found, after = rest.partition(_MARKS[1])
    if not found:
        raise ValueError(f"{readme} has no marks {' and '.join(mark.strip() for mark in _MARKS)}")
    readme.write_text(f"{before}{_MARKS[0]}{text}\n{_MARKS[1]}{after}", encoding="utf-8")


def table(figures: Sequence[Figure]) -> str:
    """Returns the figures as a Markdown table."""
    lines = ["| measured | figure | bound | met | context |", "|---|--:|--:|---|---|"]
    for figure in figures:
        met = {None: "", True: "yes", False: "**no**"}[figure.met]
        lines.append(
            f"| {figure.name} | {shown(figure.value, figure.unit)} | {figure.bound} | {met} | {figure.context} |"
        )
    return "\n".join(lines)
