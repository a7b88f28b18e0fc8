"""A job shop in Gurobi, which logs through `sys.stdout`; small enough for the licence that its package brings."""

from __future__ import annotations

import gurobipy
from user import Answer, Problem, found, horizon, pairs, run


def solve(problem: Problem, limit: float) -> Answer:
    times, latest, model = problem["duration_matrix"], horizon(problem), gurobipy.Model()
    model.Params.TimeLimit = limit
    model.Params.Threads = 1
    starts = [[model.addVar(ub=latest) for _ in row] for row in times]
    end = model.addVar(ub=latest, obj=1)
    for row, durations in zip(starts, times, strict=True):
        for at in range(1, len(row)):
            model.addConstr(row[at] >= row[at - 1] + durations[at - 1])
        model.addConstr(end >= row[-1] + durations[-1])
    for (i, p), (j, q) in pairs(problem):
        first = model.addVar(vtype="B")
        model.addConstr(starts[j][q] >= starts[i][p] + times[i][p] - latest * (1 - first))
        model.addConstr(starts[i][p] >= starts[j][q] + times[j][q] - latest * first)
    model.optimize()
    names = {2: "optimal", 3: "infeasible", 9: "time limit", 11: "interrupted"}
    return found(
        model.ObjVal if model.SolCount else None,
        status=names.get(model.Status, str(model.Status)),
        bound=model.ObjBound,
        gap=model.MIPGap if model.SolCount else None,
        nodes=model.NodeCount,
        iterations=model.IterCount,
        time=model.Runtime,
    )


run(solve)
