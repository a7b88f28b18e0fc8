"""Owns the reading of logs of OR-tools' CP-SAT with `log_search_progress`; seen: 9.15.

The log does not tell what ended a solve without a proof: that was its time limit when it took that long, and when no
other limit was set, somebody who stopped it. Its branches stand for nodes.
"""

from __future__ import annotations

import re
from typing import ClassVar

from nxtrack.solverlogs.solve import Solve, count, number, seconds, verdict

_PROGRESS = re.compile(r"#(?:\d+|Bound) +(\d[\d.e+-]*s) +best:(\S+) +next:\[(?:([^,\]\s]+),([^,\]\s]+))?\]")
_TIME_LIMIT = re.compile(r"\bmax_time_in_seconds: (\S+)")
_OTHER_LIMITS = ("max_deterministic_time:", "max_number_of_conflicts:", "max_memory_in_mb:", "stop_after_")
_ALMOST = 0.98


class CpSat(Solve):
    """A solve by CP-SAT: lines that begin with `#`, and a response with one value a line.

    Attributes:
        searched: The solver told of its search, so the response is its own and not the program's.
    """

    NAME = "CP-SAT"
    BANNERS: ClassVar = ("Starting CP-SAT solver",)

    searched = False
    _time_limit: float | None = None
    _limited = False

    @classmethod
    def begins(cls, line: str, current: Solve | None) -> bool:
        """Says so of a response that a program printed as well, unless the solver itself told of that solve."""
        if line.startswith("CpSolverResponse"):
            return not isinstance(current, cls) or (current.closed and not current.searched)
        return super().begins(line, current)

    def take(self, line: str) -> None:
        """Takes in a line of the search, or of the response."""
        if line.startswith("#"):
            self._search(line)
        elif line.startswith("CpSolverResponse"):
            self.began = self.over = True
        elif self.over:
            self._response(*line.partition(": ")[::2])
        elif line.startswith("Parameters: "):
            self.began = self.searched = True
            limit = _TIME_LIMIT.search(line)
            self._time_limit = None if limit is None else number(limit[1])
            self._limited = any(name in line for name in _OTHER_LIMITS)

    def _search(self, line: str) -> None:
        found = None if self.over else _PROGRESS.match(line)
        time = None if found is None else seconds(found[1])
        if found is None or time is None:
            return
        best, low, high = found[2], found[3], found[4]
        objective = number(best)
        if low is None:
            bound = objective
        elif objective is None:
            # Nothing found yet: what is being minimised is infinite, what is being maximised minus infinite.
            bound = number(high if best.startswith("-") else low)
        else:
            # What may come next lies on one side of the best: below it when minimising.
            top = number(high)
            bound = number(low) if top is not None and top <= objective else top
        self.progress(time, objective, bound)

    def gap_base(self, objective: float, bound: float) -> float:
        """Returns the objective's size, or 1 when it is smaller."""
        del bound
        return max(1.0, abs(objective))

    def _response(self, name: str, value: str) -> None:
        if name == "status":
            self.status = verdict(value)
        elif name == "objective":
            self.objective = number(value)
        elif name == "best_bound":
            self.bound = number(value)
        elif name == "branches":
            self.nodes = count(value)
        elif name == "lp_iterations":
            self.iterations = count(value)
        elif name == "walltime":
            self.time = number(value)
            self.closed = True
            self._judge()

    def _judge(self) -> None:
        """Finds out what ended a solve without a proof."""
        if self.status not in {"feasible", "unknown"}:
            return
        if self.status == "unknown":
            # Without a solution it tells 0, and the same of a bound that it did not get to.
            self.objective, self.bound = None, self.bound if self.bounds else None
        limit = self._time_limit
        if limit is not None and self.time is not None and self.time >= _ALMOST * limit:
            self.status = "time_limit"
        elif self.searched and not self._limited:
            self.status = "interrupted"


FAMILY = CpSat
