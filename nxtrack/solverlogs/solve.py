"""Owns what is known of one solve, whichever solver it was, and how numbers and verdicts in logs are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from nxtrack.charts import Points, chart_asset, line_chart

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

INFINITE: Final = 1e20
"""From here on solvers mean infinity: HiGHS and SCIP have 1e20, Gurobi 1e30, CBC 1e50."""

_BACK_IN_TIME = 1.0
_SCALES: Final = {"k": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "T": 1e12}
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# Parts of what solvers say, and our words for it. The first that fits wins, so a longer part stands before a shorter.
_VERDICTS: Final = (
    ("infeasible or unbounded", "infeasible_or_unbounded"),
    ("unbounded or infeasible", "infeasible_or_unbounded"),
    ("infeasible", "infeasible"),
    ("unbounded", "unbounded"),
    ("time limit", "time_limit"),
    ("node limit", "node_limit"),
    ("gap limit", "gap_limit"),
    ("solution limit", "solution_limit"),
    ("improvement limit", "solution_limit"),
    ("iteration limit", "iteration_limit"),
    ("memory limit", "memory_limit"),
    ("objective limit", "objective_limit"),
    ("primal limit", "objective_limit"),
    ("dual limit", "objective_limit"),
    ("objective reached", "objective_limit"),
    ("limit", "other_limit"),
    ("interrupt", "interrupted"),
    ("ctrl-c", "interrupted"),
    ("termination signal", "interrupted"),
    ("suboptimal", "feasible"),
    ("sub-optimal", "feasible"),
    ("optimal", "optimal"),
    ("feasible", "feasible"),
    ("error", "error"),
    ("invalid", "error"),
    ("difficulties", "error"),
    ("numerical trouble", "error"),
)
_WITHOUT_SOLUTION = frozenset({"infeasible", "unbounded", "infeasible_or_unbounded", "error"})


def verdict(text: str) -> str:
    """Returns our word for how a solver says it ended; `unknown` for what we do not know."""
    lowered = text.lower()
    return next((word for part, word in _VERDICTS if part in lowered), "unknown")


def number(text: str) -> float | None:
    """Returns a number as solvers print it, or None for what is none, or infinite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value + 0.0 if abs(value) < INFINITE else None  # -0.0 becomes 0.0; NaN is no less than anything


def count(text: str) -> int | None:
    """Returns how many, such as `1234` or `12k`, or None for what is no count."""
    scale = _SCALES.get(text[-1:], 1.0)
    value = number(text if scale == 1.0 else text[:-1])
    return int(value * scale) if value is not None and value >= 0 else None


def seconds(text: str) -> float | None:
    """Returns a time such as `12.3s`, or `15.0m` as SCIP has it after a while; None for what is no time."""
    unit = _UNITS.get(text[-1:])
    value = None if unit is None else number(text[:-1])
    return value * unit if unit is not None and value is not None and value >= 0 else None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a log says.

    Attributes:
        solver: The solver's name.
        metrics: `solver`, `status`, `solves`, and what is known of `objective`, `bound`, `gap`, `nodes`, `iterations`
            and `time` (seconds).
        series: `objective` and `bound` as (seconds, value), as far as the log tells their way.
        over: The solver told how the solve ended.
    """

    solver: str
    metrics: Mapping[str, Any]
    series: Mapping[str, list[tuple[float, float]]]
    over: bool

    def chart(self, names: Collection[str]) -> dict[str, Any] | None:
        """Returns the chart of those series that are named, as an asset, or None where there is nothing to draw."""
        lines = {name: points for name, points in self.series.items() if name in names}
        if not any(len(points) > 1 for points in lines.values()):
            return None
        return chart_asset(f"{self.solver} progress", "Solver", [line_chart("seconds", lines)])


class Solve:
    """One solve as its log tells it so far; each solver has a class of its own.

    A class names the beginnings of lines with which a solve begins whatever came before (`BANNERS`), with which one
    begins when none of its own is going on (`OPENINGS`), as a solver may print no banner every time, and those of
    its end, which show one only when none of its own came before (`ENDINGS`): a log may have lost its beginning, and
    programs print a result again.

    Attributes:
        began: There is more than a banner.
        over: The solver has told how it ended; more of its report may follow.
        closed: The report is at its end; a line that looks like one of it is the program's own.
    """

    NAME: ClassVar[str]
    BANNERS: ClassVar[tuple[str, ...]] = ()
    OPENINGS: ClassVar[tuple[str, ...]] = ()
    ENDINGS: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.began = False
        self.over = False
        self.closed = False
        self.status = "unknown"
        self.objective: float | None = None
        self.bound: float | None = None
        self.nodes: int | None = None
        self.iterations: int | None = None
        self.time: float | None = None
        self.incumbents = Points()
        self.bounds = Points()

    @classmethod
    def begins(cls, line: str, current: Solve | None) -> bool:
        """Says whether a solve begins with this line."""
        if cls.BANNERS and line.startswith(cls.BANNERS):
            return True
        if isinstance(current, cls):
            return current.over and cls.opens(line)
        return cls.opens(line) or line.startswith(cls.ENDINGS)

    @classmethod
    def opens(cls, line: str) -> bool:
        """Says whether a line is of a solve, when none was known to go on."""
        return line.startswith(cls.OPENINGS)

    def take(self, line: str) -> None:
        """Takes in one line that is not empty; most are none of the solver's, or say nothing that is wanted."""
        raise NotImplementedError

    def progress(self, time: float, objective: float | None, bound: float | None) -> None:
        """Takes in what the solver says on its way.

        When the clock runs back, the lines before were of another solve, and what lay between is not in the log.
        """
        self.began = True
        if self.time is not None and time < self.time - _BACK_IN_TIME:
            self.incumbents, self.bounds = Points(), Points()
        self.time = time
        if objective is not None:
            self.incumbents.add(time, objective)
        if bound is not None:
            self.bounds.add(time, bound)

    def reading(self, solves: int) -> Reading:
        """Returns what is known, of the last of so many solves."""
        objective, bound = self.objective, self.bound
        if not self.over:
            # The log ends in the middle of the solve: what it had got to.
            objective = objective if self.incumbents.last is None else self.incumbents.last[1]
            bound = bound if self.bounds.last is None else self.bounds.last[1]
        if self.status in _WITHOUT_SOLUTION:
            objective = bound = None
        elif self.status == "optimal" and bound is None:
            bound = objective
        found = {
            "solver": self.NAME,
            "status": self.status,
            "objective": objective,
            "bound": bound,
            "gap": self._gap(objective, bound),
            "nodes": self.nodes,
            "iterations": self.iterations,
            "time": self.time,
            "solves": solves,
        }
        lines = {"objective": self.incumbents.listed(), "bound": self.bounds.listed()}
        return Reading(
            solver=self.NAME,
            metrics={name: value for name, value in found.items() if value is not None},
            series={name: points for name, points in lines.items() if points},
            over=self.over,
        )

    def gap_base(self, objective: float, bound: float) -> float:
        """Returns what the distance between both is measured by, as the solver does; 0 where that makes no sense."""
        del bound
        return abs(objective)

    def _gap(self, objective: float | None, bound: float | None) -> float | None:
        """Returns the relative gap: computed, as logs round it to a few digits. None where it is infinite."""
        if objective is None or bound is None:
            return None
        if objective == bound:
            return 0.0
        base = self.gap_base(objective, bound)
        value = abs(objective - bound) / base if base else math.inf
        return value if math.isfinite(value) else None
