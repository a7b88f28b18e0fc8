"""A job shop of few jobs, by trying all orders in Python: to try the harness with, where no solver is installed."""

from __future__ import annotations

import itertools
import os
import time

from user import Answer, Problem, found, run


def makespan(problem: Problem, orders: dict[int, tuple[int, ...]]) -> float:
    """Returns when all is done if each machine takes the jobs in its order, which may be never."""
    times, machines = problem["duration_matrix"], problem["machines_matrix"]
    done, free, job_free = dict.fromkeys(orders, 0), dict.fromkeys(orders, 0), [0] * len(times)
    position = [0] * len(times)
    while True:
        for machine, order in orders.items():
            job = order[done[machine]] if done[machine] < len(order) else -1
            if job >= 0 and position[job] < len(times[job]) and machines[job][position[job]] == machine:
                end = max(free[machine], job_free[job]) + times[job][position[job]]
                free[machine] = job_free[job] = end
                done[machine] += 1
                position[job] += 1
                break
        else:
            return max(job_free) if all(map(len(times).__eq__, done.values())) else float("inf")


def solve(problem: Problem, limit: float) -> Answer:
    machines = {machine for row in problem["machines_matrix"] for machine in row}
    jobs = range(len(problem["duration_matrix"]))
    began, best = time.monotonic(), float("inf")
    while True:
        for orders in itertools.product(itertools.permutations(jobs), repeat=len(machines)):
            end = makespan(problem, dict(zip(machines, orders, strict=True)))
            if end < best:
                best = end
                print(f"incumbent {best}", flush=True)
                if problem.get("below_python"):
                    os.write(1, b"This is written past Python.\n")
        if not problem.get("endless") or time.monotonic() - began > limit:
            return found(best, status="optimal")


run(solve)
