"""The examples run as they stand, and what they tracked arrives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nxtrack
from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(tmp_path):
    """Runs an example in a process of its own."""

    def run(name, status=0):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / f"{name}.py")],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"NXTRACK_DURABILITY": "process"},
        )
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture
def delivered(tmp_path):
    """Flushes the spool to a platform; gives its runs with their input, output and logs, oldest first."""

    def flush(app_id):
        with running(ServeOptions(port=0, data=tmp_path / "platform")) as platform:
            nxtrack.configure(endpoint=platform.url, api_key="any", rate=0)
            report = nxtrack.flush()
            assert (report.rejected, report.pending, report.problems) == ([], 0, [])
            with Client(api_key="any", endpoint=platform.url) as client:
                application = Application(app_id, client)
                runs = [
                    (
                        application.run_result(run.run_id),
                        application.run_input(run.run_id),
                        application.run_logs(run.run_id),
                    )
                    for run in sorted(report.synced, key=lambda run: run.id)
                ]
        return runs

    return flush


def test_each_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "job_shop",
        "mip_with_block",
        "async_service",
        "failing",
    }


def test_job_shop(example, delivered):
    done = example("job_shop")
    assert done.stdout.splitlines()[-1] == "makespan 55"
    assert done.stderr == ""
    ((result, given, logs),) = delivered("job-shop")
    assert result.metadata.status_v2 == "succeeded"
    assert result.metadata.metrics["makespan"] == 55
    assert result.output["makespan"] == 55
    assert b'"name":"ft06"' in given
    assert done.stdout == logs + "makespan 55\n"  # all that the solver printed, and nothing else
    assert logs.startswith("Running HiGHS")
    assert "MIP has 216 rows" in logs


def test_mip_with_block(example, delivered):
    done = example("mip_with_block")
    ((result, given, logs),) = delivered("shift-balance")
    assert result.name == "la01 in three shifts"
    busiest = result.metadata.metrics["busiest"]
    assert 950 <= busiest <= 950 / 0.99  # the best there is, or 1 % from it: the example asks for no more
    assert f"busiest shift {busiest:.0f}, run " in done.stdout
    assert b'"shifts":3' in given
    assert re.search(r"^work of each shift: ", logs, re.MULTILINE)


def test_async_service(example, delivered):
    done = example("async_service")
    runs = delivered("dispatching")
    assert {result.name for result, _, _ in runs} == {"ft06", "ft10", "la01", "abz5"}
    for result, given, logs in runs:
        assert f'"name":"{result.name}"'.encode() in given
        makespan = result.metadata.metrics["makespan"]
        assert logs.startswith(f"{result.name}: makespan {makespan}, optimum ")
        assert logs.count("\n") == 1  # the others' lines are in the others' logs
        assert f"{result.name} {makespan}" in done.stdout.splitlines()[-1]


def test_failing(example, delivered):
    done = example("failing", status=1)
    assert done.stderr.splitlines()[-1].endswith("Infeasible: no schedule ends by 40")
    (fine, _, _), (failed, _, logs) = delivered("job-shop")
    assert fine.metadata.status_v2 == "succeeded"
    assert failed.metadata.status_v2 == "failed"
    assert failed.metadata.error == "Infeasible: no schedule ends by 40"
    assert logs.startswith("looking for a schedule by 40 ...\nTraceback (most recent call last):")
