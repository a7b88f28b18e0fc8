"""Owns the reading of logs of SCIP, which PySCIPOpt and OR-tools' `MPSolver` print; seen: 10.

It prints no banner and ends with "SCIP Status". It tells its LP iterations only in the table, so they are those of the
last row.
"""

from __future__ import annotations

import re
from typing import ClassVar

from nxtrack.solverlogs.solve import Solve, count, number, seconds, verdict

_END = re.compile(r"(SCIP Status|Solving Time|Solving Nodes|Primal Bound|Dual Bound|Gap)(?: \(sec\))? *: *(\S.*)")
_TOTAL = re.compile(r"\(total of (\d+) nodes")
_COLUMNS = ("time", "node", "LP iter", "dualbound", "primalbound")


class Scip(Solve):
    """A solve by SCIP: a table whose head names its columns, and the statistics at the end."""

    NAME = "SCIP"
    OPENINGS: ClassVar = ("presolving:", "original problem has")
    ENDINGS: ClassVar = ("SCIP Status",)

    _places: tuple[int, ...] = ()

    @classmethod
    def opens(cls, line: str) -> bool:
        """Says so of the table's head as well."""
        return super().opens(line) or _is_head(line)

    def take(self, line: str) -> None:
        """Takes in a row of the table, its head, or a line of the statistics."""
        if "|" in line:
            if not self.over:
                self._row(line)
        elif line == "presolving:":
            self.began = True
        else:
            self._end(line)

    def gap_base(self, objective: float, bound: float) -> float:
        """Returns the smaller of both, and 0 when zero lies between them."""
        return min(abs(objective), abs(bound)) if objective * bound > 0 else 0.0

    def _row(self, line: str) -> None:
        cells = line.split("|")
        if _is_head(line):
            cells = [cell.strip() for cell in cells]
            self.began = True
            self._places = tuple(cells.index(name) if name in cells else -1 for name in _COLUMNS)
            return
        if not self._places or len(cells) <= max(self._places):
            return
        clock, node, iterations, bound, objective = [
            cells[place].strip() if place >= 0 else "" for place in self._places
        ]
        # A letter in front of the time tells which heuristic found a solution.
        time = seconds(clock.rpartition(" ")[2] if clock[:1].isdigit() or " " in clock else clock[1:])
        if time is None or count(node) is None:
            return
        self.nodes = count(node)
        self.iterations = count(iterations)
        self.progress(time, number(objective), number(bound))

    def _end(self, line: str) -> None:
        found = _END.match(line)
        if found is None or not (self.over or found[1] == "SCIP Status"):
            return
        name, value = found[1], found[2]
        first = value.split(maxsplit=1)[0]
        if name == "SCIP Status":
            self.began = self.over = True
            self.status = verdict(value.partition("[")[2] or value)
        elif name == "Solving Time":
            self.time = number(first)
        elif name == "Solving Nodes":
            total = _TOTAL.search(value)
            self.nodes = count(first if total is None else total[1])
        elif name == "Primal Bound":
            self.objective = number(first)
        elif name == "Dual Bound":
            self.bound = number(first)
        else:
            self.closed = True


def _is_head(line: str) -> bool:
    return "|  dualbound   |" in line


FAMILY = Scip
