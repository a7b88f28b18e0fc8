"""A job shop in PuLP, whose CBC is a child process."""

from __future__ import annotations

import pulp
from user import Answer, Problem, found, horizon, pairs, run


def solve(problem: Problem, limit: float) -> Answer:
    times, latest = problem["duration_matrix"], horizon(problem)
    model = pulp.LpProblem("job_shop", pulp.LpMinimize)
    starts = [[pulp.LpVariable(f"s_{i}_{p}", 0, latest) for p in range(len(row))] for i, row in enumerate(times)]
    end = pulp.LpVariable("end", 0, latest)
    model += end
    for row, durations in zip(starts, times, strict=True):
        for at in range(1, len(row)):
            model += row[at] >= row[at - 1] + durations[at - 1]
        model += end >= row[-1] + durations[-1]
    for (i, p), (j, q) in pairs(problem):
        first = pulp.LpVariable(f"f_{i}_{p}_{j}_{q}", cat="Binary")
        model += starts[j][q] >= starts[i][p] + times[i][p] - latest * (1 - first)
        model += starts[i][p] >= starts[j][q] + times[j][q] - latest * first
    model.solve(pulp.PULP_CBC_CMD(msg=True, timeLimit=limit))
    return found(pulp.value(model.objective), status=pulp.LpStatus[model.status].lower())


run(solve)
