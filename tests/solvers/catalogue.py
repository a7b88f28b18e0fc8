"""All cases: the solvers, what each is given, how its log begins, and which metrics its log tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from solvers.instances import ROUTES

STATUS, OBJECTIVE, BOUND, GAP = "status", "objective", "bound", "gap"
NODES, ITERATIONS, SECONDS = "nodes", "iterations", "time"
"""What the metrics are called."""

METRICS = (STATUS, OBJECTIVE, BOUND, GAP, NODES, ITERATIONS, SECONDS)
"""What the logs tell that nxtrack reads."""


@dataclass(frozen=True)
class Case:
    """One solver.

    Attributes:
        name: What the table calls it.
        program: Its file in `programs`, without `with_` and `.py`.
        packages: What has to be installed, as pip names it; the first one's version is told.
        begun: What its log shows once the solver is at work.
        metrics: Which metrics its log tells; none of a log that nxtrack does not read.
        instance: What is solved to its optimum.
        hard: What it is killed and interrupted at.
        options: What the program is told besides.
        child: The solver is a child process, which has buffers of its own and may outlive the call.
        enough: What it is told besides so that it ends at the optimum, where it can't know by itself.
        holds_gil: No other Python thread runs while it solves: the table says so, so it is looked at. Its log shows
            at the terminal when it lets go.
    """

    name: str
    program: str
    packages: tuple[str, ...]
    begun: bytes
    metrics: tuple[str, ...] = ()
    instance: str = "ft06"
    hard: str = "ft10"
    options: dict[str, Any] = field(default_factory=dict)
    enough: dict[str, Any] = field(default_factory=dict)
    holds_gil: bool = False
    child: bool = False


_AT_HIGHS = b"BestBound"

CASES = (
    Case("highspy", "highspy", ("highspy",), _AT_HIGHS, METRICS),
    Case(
        "highspy, `HandleUserInterrupt`", "highspy", ("highspy",), _AT_HIGHS, METRICS, options={"interruptible": True}
    ),
    Case("scipy `milp`", "scipy", ("scipy",), _AT_HIGHS, METRICS),
    Case("OR-tools CP-SAT", "cpsat", ("ortools",), b"Starting search", METRICS, hard="ta40"),
    Case(
        "OR-tools routing",
        "routing",
        ("ortools",),
        b"Solution #",
        (STATUS, OBJECTIVE, NODES, SECONDS),
        ROUTES,
        ROUTES,
        enough={"solutions": 100},
    ),
    Case("OR-tools MPSolver, SCIP", "pywraplp", ("ortools",), b"dualbound", METRICS, options={"solver": "SCIP"}),
    Case(
        "OR-tools MPSolver, CBC", "pywraplp", ("ortools",), b"Continuous objective", METRICS, options={"solver": "CBC"}
    ),
    Case("PuLP, CBC", "pulp", ("pulp",), b"Continuous objective", METRICS, child=True),
    Case(
        "PySCIPOpt `optimize()`, which holds the GIL",
        "pyscipopt",
        ("pyscipopt",),
        b"dualbound",
        METRICS,
        options={"method": "optimize"},
        holds_gil=True,
    ),
    Case(
        "PySCIPOpt `optimizeNogil()`",
        "pyscipopt",
        ("pyscipopt",),
        b"dualbound",
        METRICS,
        options={"method": "optimizeNogil"},
    ),
    Case("gurobipy", "gurobipy", ("gurobipy",), b"BestBd", METRICS),
    Case(
        "PyVRP",
        "pyvrp",
        ("pyvrp",),
        b"Iters",
        (STATUS, OBJECTIVE, ITERATIONS, SECONDS),
        ROUTES,
        ROUTES,
        enough={"iterations": 1000},
    ),
    Case("Pyomo, HiGHS", "pyomo", ("pyomo", "highspy"), _AT_HIGHS, METRICS),
    Case("CVXPY, HiGHS", "cvxpy", ("cvxpy", "highspy"), _AT_HIGHS, METRICS),
)
