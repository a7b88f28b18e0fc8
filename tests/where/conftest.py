"""What every way of running solvers has to give: one run a call, with its own input, output and log."""

from __future__ import annotations

import pytest


@pytest.fixture
def one_run_per_call(recorded):
    """Checks that each problem was recorded as often as it was solved, and each run has what is its own.

    The programs' solver prints `solving N` and returns `2 * N`; it fails for those that are named as failing.
    """

    def check(problems, *, failed=(), logs=True):
        runs = recorded()
        assert sorted(run.input for run in runs) == sorted([*problems, *failed])
        for run in runs:
            assert run.state == "ready"
            if run.input in failed:
                assert (run.status, run.output) == ("failed", None)
            else:
                assert (run.status, run.output) == ("succeeded", {"solution": 2 * run.input})
            if logs:
                assert run.logs.startswith(f"solving {run.input}\n")
                assert run.logs.count("solving") == 1, "another run's text"
        assert len({run.id for run in runs}) == len(runs)
        return runs

    return check
