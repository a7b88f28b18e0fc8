"""Owns the reading of logs of Gurobi, as gurobipy, Pyomo and PuLP print them; seen: 13."""

from __future__ import annotations

import re
from typing import ClassVar

from nxtrack.solverlogs.solve import Solve, count, number, seconds, verdict

_BEST = re.compile(r"Best objective (\S+), best bound (\S+), gap ")
_EXPLORED = re.compile(r"Explored (\d+) nodes? \((\d+) simplex iterations?\) in (\S+) seconds")
_LP = re.compile(r"(?:Barrier s|S)(?:olved|topped)(?: model)? in (\d+) iterations(?: \S+ \S+)? and (\S+) seconds")
_OPTIMUM = re.compile(r"Optimal objective +(\S+)$")
_FOUND = re.compile(r"Found heuristic solution: objective (\S+)$")
_ENDS = (
    *("Optimal solution found", "Optimal objective ", "Suboptimal", "Sub-optimal"),
    *("Model is infeasible", "Model is unbounded", "Infeasible model", "Unbounded model", "Infeasible or unbounded"),
    *("Time limit reached", "Node limit reached", "Solution limit reached", "Iteration limit reached"),
    *("Work limit reached", "Memory limit reached", "User objective limit reached", "Numerical trouble"),
    "Solve interrupted",
)
_LEAST_COLUMNS = 7
_MARKS = "H*"


class Gurobi(Solve):
    """A solve by Gurobi: a table for a MIP, the verdict, and "Best objective ..."."""

    NAME = "Gurobi"
    BANNERS: ClassVar = ("Gurobi Optimizer version",)
    OPENINGS: ClassVar = ("Optimize a model with", " Expl Unexpl |")
    ENDINGS: ClassVar = ("Explored ",)

    def take(self, line: str) -> None:
        """Takes in a row of the table, or a line of the end."""
        if line.endswith("s") and line[:1] in " H*":
            self._row(line)
        elif line.startswith(_ENDS):
            self._end(line)
        elif line.startswith("Best objective "):
            found = _BEST.match(line)
            if found is not None:
                self.began = self.over = self.closed = True
                self.objective, self.bound = number(found[1]), number(found[2])
        elif line.startswith("Explored "):
            found = _EXPLORED.match(line)
            if found is not None:
                self.nodes, self.iterations, self.time = count(found[1]), count(found[2]), number(found[3])
        elif line.startswith("Optimize a model with"):
            self.began = True
        elif line.startswith("Found heuristic solution"):
            found = _FOUND.match(line)
            self.objective = self.objective if found is None else number(found[1])
        else:
            found = _LP.match(line)
            if found is not None:
                self.iterations, self.time = count(found[1]), number(found[2])

    def _end(self, line: str) -> None:
        self.began = True
        self.status = verdict(line)
        optimum = _OPTIMUM.match(line)
        if optimum is not None:
            self.objective = number(optimum[1])

    def _row(self, line: str) -> None:
        columns = (line[1:] if line[0] in _MARKS else line).split()
        time = seconds(columns[-1])
        if len(columns) < _LEAST_COLUMNS or time is None or not (columns[-3] == "-" or columns[-3].endswith("%")):
            return
        nodes = count(columns[0])
        if nodes is None or count(columns[1]) is None:
            return
        self.nodes = nodes
        self.progress(time, number(columns[-5]), number(columns[-4]))


FAMILY = Gurobi
