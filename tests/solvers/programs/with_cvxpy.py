"""A job shop in CVXPY with HiGHS: CVXPY's own lines come by Python's logging, those of HiGHS from C."""

from __future__ import annotations

import cvxpy as cp
from matrices import job_shop
from user import Answer, Problem, found, run


def solve(problem: Problem, limit: float) -> Answer:
    rows, least, most, whole = job_shop(problem)
    plain = [number for number, is_whole in enumerate(whole) if not is_whole]
    places, choices = cp.Variable(len(plain)), cp.Variable(int(whole.sum()), boolean=True)
    constraints = [
        rows[:, plain] @ places + rows[:, whole] @ choices >= least,
        places >= 0,
        places <= most[plain],
    ]
    model = cp.Problem(cp.Minimize(places[-1]), constraints)
    model.solve(solver=cp.HIGHS, verbose=True, time_limit=limit, threads=1)
    return found(None if model.value is None else float(model.value), status=model.status)


run(solve)
