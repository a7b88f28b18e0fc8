"""A job shop in SCIP or CBC, by OR-tools' MPSolver; the problem names the solver."""

from __future__ import annotations

from ortools.linear_solver import pywraplp
from user import Answer, Problem, found, horizon, pairs, run


def solve(problem: Problem, limit: float) -> Answer:
    times, latest = problem["duration_matrix"], horizon(problem)
    solver = pywraplp.Solver.CreateSolver(problem["solver"])
    solver.EnableOutput()
    if problem["solver"] == "SCIP":  # Cuts take most of its time here.
        solver.SetSolverSpecificParametersAsString("separating/maxrounds = 0\nseparating/maxroundsroot = 0\n")
    solver.SetTimeLimit(round(limit * 1000))
    starts = [[solver.NumVar(0, latest, "") for _ in row] for row in times]
    end = solver.NumVar(0, latest, "end")
    for row, durations in zip(starts, times, strict=True):
        for at in range(1, len(row)):
            solver.Add(row[at] >= row[at - 1] + durations[at - 1])
        solver.Add(end >= row[-1] + durations[-1])
    for (i, p), (j, q) in pairs(problem):
        first = solver.BoolVar("")
        solver.Add(starts[j][q] >= starts[i][p] + times[i][p] - latest * (1 - first))
        solver.Add(starts[i][p] >= starts[j][q] + times[j][q] - latest * first)
    solver.Minimize(end)
    status = {0: "optimal", 1: "feasible", 2: "infeasible"}.get(solver.Solve(), "other")
    return found(
        solver.Objective().Value() if status in {"optimal", "feasible"} else None,
        status=status,
        bound=solver.Objective().BestBound(),
        nodes=solver.nodes(),
        # SCIP's log tells them only in its table, the last line of which is not the end.
        iterations=None if problem["solver"] == "SCIP" else solver.iterations(),
    )


run(solve)
