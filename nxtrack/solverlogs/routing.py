"""Owns the reading of logs of OR-tools' routing solver with `log_search`; seen: 9.12.

It minimises, tells no bound, and does not tell what ended a search. Guided local search goes to worse solutions on its
way, so the best is the least of all. Its branches stand for nodes.
"""

from __future__ import annotations

import re

from nxtrack.solverlogs.solve import Solve, count, number

_LINE = re.compile(
    r"[IWEF]\d{4} \S+ +\d+ [\w.]{1,40}:\d+\] (Start search|Solution #\d+|Finished search tree|End search) "
)
_COST = re.compile(r"\((\S+?)[ ,]")
_LEAST = re.compile(r", minimum = (\S+?)[ ,]")
_TIME = re.compile(r"time = (\d+) ms, branches = (\d+)")


class Routing(Solve):
    """A search by the routing solver: a line for each solution, and one at its end."""

    NAME = "OR-tools routing"

    @classmethod
    def begins(cls, line: str, current: Solve | None) -> bool:
        """Says so of the start of a search, and of what follows it when that is missing."""
        found = _LINE.match(line)
        return found is not None and (found[1] == "Start search" or not isinstance(current, cls) or current.over)

    def take(self, line: str) -> None:
        """Takes in a line of the solver's."""
        found = _LINE.match(line)
        if found is None:
            return
        self.began = True
        text = line[found.end() :]
        clock = _TIME.search(text)
        if clock is not None:
            self.time, self.nodes = int(clock[1]) / 1000, count(clock[2])
        if found[1] == "End search":
            self.over = self.closed = True
            self.status = "unknown" if self.objective is None else "feasible"
        elif found[1].startswith("Solution") and clock is not None:
            self._solution(text)

    def _solution(self, text: str) -> None:
        cost, least = _COST.match(text), _LEAST.search(text)
        costs = [number(one[1]) for one in (cost, least) if one is not None]
        found = [value for value in (*costs, self.objective) if value is not None]
        if found and self.time is not None:
            self.objective = min(found)
            self.progress(self.time, self.objective, None)


FAMILY = Routing
