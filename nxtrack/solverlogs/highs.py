"""Owns the reading of logs of HiGHS, which highspy, scipy, cvxpy, Pyomo and PuLP print; seen: 1.12 and 1.16.

It prints its banner once a process, so the log of most runs has none.
"""

from __future__ import annotations

import re
from typing import ClassVar

from nxtrack.solverlogs.solve import Solve, count, number, seconds, verdict

_MODEL = re.compile(r"(?:LP|MIP|QP) (?:\S+ )?has \d+ rows?;")
_REPORT = re.compile(r" {2}(Status|Primal bound|Dual bound|Timing|Nodes|LP iterations) {2,}(\S.*)")
_SUMMARY = re.compile(r"(Model +status|\w+ +iterations|Objective value|HiGHS run time) *: *(\S.*)")
_LEAST_COLUMNS = 11


class Highs(Solve):
    """A solve by HiGHS: a MIP with a table and a "Solving report", or an LP with a few lines at its end."""

    NAME = "HiGHS"
    BANNERS: ClassVar = ("Running HiGHS",)
    OPENINGS: ClassVar = ("Coefficient ranges:", "Presolving model", "Src  Proc. InQueue")
    ENDINGS: ClassVar = ("Solving report", "Model status  ")

    _reporting = False

    @classmethod
    def opens(cls, line: str) -> bool:
        """Says so of the model's size as well, the first line of any solve but the first."""
        return super().opens(line) or _MODEL.match(line) is not None

    def take(self, line: str) -> None:
        """Takes in a row of the table, or a line of the report."""
        if line.endswith("s") and line.count("%") and not self.over:
            self._row(line.split())
        elif line == "Solving report":
            self.began = self.over = self._reporting = True
        elif line.startswith(("LP ", "MIP ", "QP ", "Presolving model")):
            self.began = self.began or line == "Presolving model" or _MODEL.match(line) is not None
        elif line.startswith("ERROR:   Exception KeyboardInterrupt"):
            self.status = "interrupted"
        elif self._reporting:
            self._report(line)
        else:
            self._summary(line)

    def _row(self, columns: list[str]) -> None:
        explored = next((place for place, text in enumerate(columns) if text.endswith("%")), 0)
        time = seconds(columns[-1])
        if len(columns) < _LEAST_COLUMNS or explored not in (3, 4) or time is None:
            return
        nodes, iterations = count(columns[explored - 3]), count(columns[-2])
        if nodes is None or iterations is None:
            return
        self.nodes, self.iterations = nodes, iterations
        self.progress(time, number(columns[explored + 2]), number(columns[explored + 1]))

    def _report(self, line: str) -> None:
        found = _REPORT.match(line)
        if found is None:
            return
        name, value = found[1], found[2]
        first = value.split(maxsplit=1)[0]
        if name == "Status":
            self.status = verdict(value)
        elif name == "Primal bound":
            self.objective = number(first)
        elif name == "Dual bound":
            self.bound = number(first)
        elif name == "Timing":
            self.time = number(first)
        elif name == "Nodes":
            self.nodes = count(first)
        else:
            self.iterations = count(first)
            self.closed = True

    def _summary(self, line: str) -> None:
        """Takes in the end of an LP. The objective of one that is not solved is of no solution, so it is left out."""
        found = _SUMMARY.match(line)
        if found is None:
            return
        name, value = found[1], found[2]
        if name.startswith("Model"):
            self.began = self.over = True
            self.status = verdict(value)
            self.iterations = None
        elif not self.over:
            return
        elif name.endswith("iterations"):
            if name.startswith("Crossover"):
                return
            self.iterations = (self.iterations or 0) + (count(value) or 0)
        elif name == "HiGHS run time":
            self.time = number(value)
            self.closed = True
        elif self.status == "optimal":
            self.objective = number(value)


FAMILY = Highs
