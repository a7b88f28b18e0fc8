"""A job shop in Pyomo with HiGHS; Pyomo swaps descriptors by itself for `tee=True`."""

from __future__ import annotations

import math

import pyomo.environ as pyo
from user import Answer, Problem, found, horizon, pairs, run


def solve(problem: Problem, limit: float) -> Answer:
    times, latest, conflicts, model = problem["duration_matrix"], horizon(problem), pairs(problem), pyo.ConcreteModel()
    places = [(i, p) for i, row in enumerate(times) for p in range(len(row))]
    model.start = pyo.Var(places, bounds=(0, latest))
    model.first = pyo.Var(range(len(conflicts)), domain=pyo.Binary)
    model.end = pyo.Var(bounds=(0, latest))
    model.objective = pyo.Objective(expr=model.end)
    model.rows = pyo.ConstraintList()
    for i, p in places:
        after = model.start[i, p + 1] if p + 1 < len(times[i]) else model.end
        model.rows.add(after >= model.start[i, p] + times[i][p])
    for number, ((i, p), (j, q)) in enumerate(conflicts):
        first = model.first[number]
        model.rows.add(model.start[j, q] >= model.start[i, p] + times[i][p] - latest * (1 - first))
        model.rows.add(model.start[i, p] >= model.start[j, q] + times[j][q] - latest * first)
    solver = pyo.SolverFactory("appsi_highs")
    # Loading a solution raises when none was found in time.
    result = solver.solve(model, tee=True, timelimit=limit, load_solutions=False)
    said = result.problem.upper_bound, result.problem.lower_bound
    best, bound = (None if value is None or math.isinf(value) else value for value in said)
    return found(best, status=str(result.solver.termination_condition), bound=bound)


run(solve)
