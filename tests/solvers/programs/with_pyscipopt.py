"""A job shop in SCIP, by PySCIPOpt: with `optimize()`, which holds the GIL, or `optimizeNogil()`."""

from __future__ import annotations

import threading

from pyscipopt import SCIP_PARAMSETTING, Model
from user import Answer, Problem, found, horizon, pairs, run


def solve(problem: Problem, limit: float) -> Answer:
    times, latest, model = problem["duration_matrix"], horizon(problem), Model()
    model.setParam("limits/time", limit)
    # Without these it is done sooner; and a line for each node is more than a pipe holds, so that whoever reads a pipe
    # by a Python thread never sees the end.
    model.setSeparating(SCIP_PARAMSETTING.OFF)
    model.setHeuristics(SCIP_PARAMSETTING.OFF)
    model.setParam("display/freq", 1)
    starts = [[model.addVar(lb=0, ub=latest) for _ in row] for row in times]
    end = model.addVar(lb=0, ub=latest)
    for row, durations in zip(starts, times, strict=True):
        for at in range(1, len(row)):
            model.addCons(row[at] >= row[at - 1] + durations[at - 1])
        model.addCons(end >= row[-1] + durations[-1])
    for (i, p), (j, q) in pairs(problem):
        first = model.addVar(vtype="B")
        model.addCons(starts[j][q] >= starts[i][p] + times[i][p] - latest * (1 - first))
        model.addCons(starts[i][p] >= starts[j][q] + times[j][q] - latest * first)
    model.setObjective(end)
    solved, turns = threading.Event(), 0

    def take_turns() -> None:
        nonlocal turns
        while not solved.wait(0.001):
            turns += 1

    other = threading.Thread(target=take_turns, daemon=True)
    other.start()
    before = turns
    getattr(model, problem["method"])()
    taken = turns - before
    solved.set()
    other.join()
    return found(
        model.getObjVal() if model.getNSols() else None,
        status=model.getStatus(),
        bound=model.getDualbound(),
        gap=model.getGap(),
        nodes=model.getNNodes(),
        iterations=model.getNLPIterations(),
        time=model.getSolvingTime(),
        turns_of_another_thread=taken,
    )


run(solve)
