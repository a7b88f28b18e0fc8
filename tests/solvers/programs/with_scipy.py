"""A job shop in scipy's `milp`, which is HiGHS built into scipy."""

from __future__ import annotations

from matrices import job_shop
from scipy.optimize import Bounds, LinearConstraint, milp
from user import Answer, Problem, found, run


def solve(problem: Problem, limit: float) -> Answer:
    rows, least, most, whole = job_shop(problem)
    cost = [0.0] * (len(most) - 1) + [1.0]
    options = {"disp": True, "time_limit": limit}
    result = milp(
        cost, integrality=whole, bounds=Bounds(0, most), constraints=LinearConstraint(rows, least), options=options
    )
    status = {0: "optimal", 1: "time limit", 2: "infeasible"}.get(result.status, "other")
    return found(
        result.fun, status=status, bound=result.mip_dual_bound, gap=result.mip_gap, nodes=result.mip_node_count
    )


run(solve)
