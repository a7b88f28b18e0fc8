"""Owns the reading of logs of PyVRP; seen: 0.14.

It is a heuristic: it proves nothing, and does not tell what ended a search. While it searches it tells whole seconds.
"""

from __future__ import annotations

import re
from typing import ClassVar

from nxtrack.solverlogs.solve import Solve, count, number, seconds

_ROW = re.compile(r"[H ] +(\d+) +(\d+s) \| .{1,80} (\S+) +([YN])$")
_END = re.compile(r"Search terminated in (\S+s) after (\d+) iterations\.")
_COST = re.compile(r"Best-found solution has cost (\S+)\.$")


class PyVrp(Solve):
    """A search by PyVRP: a row every few seconds, its last columns of the best solution, and a summary."""

    NAME = "PyVRP"
    BANNERS: ClassVar = ("PyVRP v",)
    OPENINGS: ClassVar = ("    Iters    Time |",)
    ENDINGS: ClassVar = ("Search terminated in",)

    def take(self, line: str) -> None:
        """Takes in a row, or a line of the summary."""
        if line.startswith(("Solving an instance with", "    Iters    Time |")):
            self.began = True
        elif line.startswith("Search terminated in"):
            self._end(line)
        elif self.over:
            if (cost := _COST.match(line)) is not None:
                self.objective = number(cost[1])
                if self.objective is not None and self.time is not None:
                    self.status = "feasible"
                    self.incumbents.add(self.time, self.objective)
            self.closed = cost is not None or line.startswith("Solution results")
        elif (row := _ROW.match(line)) is not None and (time := seconds(row[2])) is not None:
            self.iterations = count(row[1])
            self.progress(time, number(row[3]) if row[4] == "Y" else None, None)

    def _end(self, line: str) -> None:
        found = _END.match(line)
        if found is not None:
            self.began = self.over = True
            self.time, self.iterations = seconds(found[1]), count(found[2])


FAMILY = PyVrp
