"""Owns the reading of logs of CBC, which PuLP and OR-tools' `MPSolver` print; seen: 2.10.

It minimises, so on its way it tells a maximised objective with the other sign, and only its result as it is.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, ClassVar

from nxtrack.charts import Points
from nxtrack.solverlogs.solve import Solve, count, number, verdict

if TYPE_CHECKING:
    from nxtrack.solverlogs.solve import Reading

_MESSAGE = re.compile(r"Cbc\d{4}[A-Z] ")
_SOLUTION = re.compile(r"Integer solution of (\S+) found by .{1,60} after (\d+) iterations and (\d+) nodes \((\S+) sec")
_TREE = re.compile(r"After (\d+) nodes, \d+ on tree, (\S+) best solution, best possible (\S+) \((\S+) sec")
_RESULT = re.compile(
    r"(Objective value|Lower bound|Upper bound|Enumerated nodes|Total iterations|Time \(Wallclock [Ss]econds\)): +(\S+)"
)
_LP = re.compile(r"(Optimal|PrimalInfeasible|DualInfeasible) objective (\S+) - (\d+) iterations time (\S+?),?(?: |$)")
_TOTAL = re.compile(r"Total time \(CPU seconds\): +\S+ +\(Wallclock seconds\): +(\S+)")


class Cbc(Solve):
    """A solve by CBC: messages on the way, then "Result - ..." and one value a line; an LP has one line."""

    NAME = "CBC"
    BANNERS: ClassVar = ("Welcome to the CBC",)

    _told = False
    _integer = False

    @classmethod
    def opens(cls, line: str) -> bool:
        """Says so of any message with a number."""
        return _MESSAGE.match(line) is not None

    def take(self, line: str) -> None:
        """Takes in a message, or a line of the result."""
        if line.startswith("Result - "):
            self.began = self._told = True
            self.status = verdict(line)
            self.objective = None
        elif line.startswith(("Problem is infeasible", "Problem proven infeasible")):
            self.began = self._told = True
            self.status = "infeasible"
        elif line.startswith("Total time"):
            total = _TOTAL.match(line)
            if total is not None:
                self.time = number(total[1])
                self.over = self.closed = self._told
        elif line.startswith("Continuous objective value is"):
            # What was told before was of the relaxation.
            self.began = self._integer = True
            self._told = False
            self.status, self.objective, self.iterations = "unknown", None, None
        elif self._told:
            self._result(line)
        else:
            self._message(line)

    def gap_base(self, objective: float, bound: float) -> float:
        """Returns the size of the bound."""
        del objective
        return abs(bound)

    def _result(self, line: str) -> None:
        found = _RESULT.match(line)
        if found is None:
            return
        name, value = found[1], found[2]
        if name == "Objective value":
            self.objective = number(value)
        elif name.endswith("bound"):
            self.bound = number(value)
        elif name == "Enumerated nodes":
            self.nodes = count(value)
        elif name == "Total iterations":
            self.iterations = count(value)
        else:
            self.time = number(value)

    def _message(self, line: str) -> None:
        head = _MESSAGE.match(line)
        text = line if head is None else line[head.end() :]
        if text.startswith("Integer solution of"):
            found = _SOLUTION.match(text)
            time = None if found is None else number(found[4])
            if found is not None and time is not None:
                self.iterations, self.nodes = count(found[2]), count(found[3])
                self.progress(time, number(found[1]), None)
        elif text.startswith("After "):
            self._tree(text, whole=head is not None)
        elif not self._integer:
            lp = _LP.match(line)
            if lp is not None:
                self.began = self._told = True
                self.status = {"Optimal": "optimal", "PrimalInfeasible": "infeasible"}.get(lp[1], "unbounded")
                self.objective = number(lp[2])
                self.iterations, self.time = count(lp[3]), number(lp[4])

    def _tree(self, text: str, *, whole: bool) -> None:
        """Takes in the state of the tree. Without its number the message may be of a smaller problem that is a part."""
        found = _TREE.match(text)
        time = None if found is None else number(found[4])
        if found is None or time is None:
            return
        best, known = number(found[2]), self.incumbents.last
        if whole or (best is not None and known is not None and best == known[1]):
            self.nodes = count(found[1])
            self.progress(time, best, number(found[3]))

    def reading(self, solves: int) -> Reading:
        """Returns what is known, with the signs that the result has."""
        last, result = self.incumbents.last, self.objective
        if last is not None and result and math.isclose(last[1], -result, rel_tol=1e-4):
            self.incumbents, self.bounds = _negated(self.incumbents), _negated(self.bounds)
        return super().reading(solves)


def _negated(points: Points) -> Points:
    mirrored = Points()
    for place, value in points.listed():
        mirrored.add(place, 0.0 - value)
    return mirrored


FAMILY = Cbc
