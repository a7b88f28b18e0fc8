"""Owns the reading of solvers' logs: text in, status, numbers and series of the last solve out.

Everything here is a pure function of the text, which may be cut off anywhere, lack its middle, hold other text
between its lines, or be hostile: each line is looked at once, up to a bounded length. A log is read only when it
contains the words of a solver, so that any other costs a search for a few texts.

A family of solvers is a line below and a module with a class that it calls `FAMILY`; see `solve.Solve` for what that
owes. It is imported when a log needs it: most programs never print a solver's log.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from nxtrack.solverlogs.solve import Reading, Solve

MOST_READ: Final = 2_000_000
"""Bytes at the beginning of a log, and at its end, in which a solver is looked for."""

NAMES: Final = ("solver", "status", "objective", "bound", "gap", "nodes", "iterations", "time", "solves")
"""All metrics that are read."""

# Modules, and the texts of which a log of theirs contains one.
_FAMILIES: dict[str, tuple[bytes, ...]] = {
    "cbc": (b"Welcome to the CBC", b"Cbc00"),
    "cpsat": (b"Starting CP-SAT solver", b"CpSolverResponse"),
    "gurobi": (b"Gurobi Optimizer version", b" Expl Unexpl |"),
    "highs": (b"Running HiGHS", b"Src  Proc. InQueue", b"Solving report", b"HiGHS run time"),
    "pyvrp": (b"PyVRP v", b"    Iters    Time |", b"Search terminated in "),
    "routing": (b"] Start search (", b"] Solution #", b"] End search ("),
    "scip": (b"SCIP Status", b"| primalbound "),
}
_LONGEST_LINE = 1000
"""Bytes of a line that are looked at; solvers' own are shorter, but for one that lists parameters."""
_SHORTEST_LINE = 8
"""Bytes of a line below which it says nothing, with its end."""


def read(log: bytes) -> Reading | None:
    """Reads the log of a run.

    Args:
        log: Its text, or its first and last parts.

    Returns:
        What the last solve in it says, or None when it holds no solver's log.
    """
    if not log:
        return None
    modules = [module for module, texts in _FAMILIES.items() if any(text in log for text in texts)]
    if not modules or sys.is_finalizing():  # A run may end when nothing can be imported any more.
        return None
    families = [cast("type[Solve]", import_module(f"{__name__}.{module}").FAMILY) for module in modules]
    current: Solve | None = None
    last: Solve | None = None
    solves = 0
    for raw in BytesIO(log):
        if len(raw) < _SHORTEST_LINE:
            continue
        line = raw[:_LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if "\r" in line:
            line = line.rpartition("\r")[2]
        for family in families:
            if family.begins(line, current):
                current = family()
                break
        if current is None or current.closed:
            continue
        current.take(line)
        if current.began and current is not last:
            last = current
            solves += 1
    return None if last is None else last.reading(solves)
