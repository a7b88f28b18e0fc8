"""A job shop in HiGHS, by its own Python interface."""

from __future__ import annotations

import highspy
from user import Answer, Problem, found, horizon, pairs, run


def solve(problem: Problem, limit: float) -> Answer:
    times, latest = problem["duration_matrix"], horizon(problem)
    highs = highspy.Highs()
    highs.setOptionValue("time_limit", limit)
    highs.setOptionValue("threads", 1)
    highs.HandleUserInterrupt = problem.get("interruptible", False)
    starts = [[highs.addVariable(lb=0, ub=latest) for _ in row] for row in times]
    end = highs.addVariable(lb=0, ub=latest)
    for row, durations in zip(starts, times, strict=True):
        for at in range(1, len(row)):
            highs.addConstr(row[at] >= row[at - 1] + durations[at - 1])
        highs.addConstr(end >= row[-1] + durations[-1])
    for (i, p), (j, q) in pairs(problem):
        first = highs.addBinary()
        highs.addConstr(starts[j][q] >= starts[i][p] + times[i][p] - latest * (1 - first))
        highs.addConstr(starts[i][p] >= starts[j][q] + times[j][q] - latest * first)
    highs.minimize(end)
    info = highs.getInfo()
    return found(
        info.objective_function_value,
        status=highs.modelStatusToString(highs.getModelStatus()).lower(),
        bound=info.mip_dual_bound,
        gap=info.mip_gap,
        nodes=info.mip_node_count,
        iterations=info.simplex_iteration_count,
        time=highs.getRunTime(),
    )


run(solve)
