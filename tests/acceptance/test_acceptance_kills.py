"""No run lost, none delivered twice: real processes, killed for real."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support import programs

if TYPE_CHECKING:
    from pathlib import Path

SOLVER = """
    import ctypes, os, signal, sys, time
    from nxtrack import current_run, track

    @track(app_id="routing")
    def solve(problem):
        print("incumbent 57", flush=True)
        print("bound 55", file=sys.stderr)
        current_run().log_metric("gap", 0.035)
        current_run().name = "night shift"
        {die}

    solve({{"jobs": [1, 2, 3]}})
"""

DEATHS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)",
    "SIGABRT": "os.abort()",
    "segfault": "ctypes.string_at(0)",
    "_exit": "os._exit(3)",
}

FLUSH = "import nxtrack; report = nxtrack.flush(); print(len(report.synced), report.pending, report.recovered)"


def flush(folder: Path, url: str, **more: str):
    return programs.run(
        folder, FLUSH, NEXTMV_ENDPOINT=url, NEXTMV_API_KEY="key", NXTRACK_RATE="0", NXTRACK_SETTLE="1", **more
    )


@pytest.mark.parametrize("death", DEATHS)
def test_a_process_that_dies_while_solving_leaves_a_failed_run(tmp_path, platform, application, death):
    died = programs.run(tmp_path, SOLVER.format(die=DEATHS[death]))
    assert died.returncode != 0
    told = flush(tmp_path, platform.url)
    assert told.stdout.startswith("1 0 ['1 run recovered from a process that died (pid "), told.stderr
    (item,) = application.list_runs()
    run = application.run_result(item.id)
    assert run.metadata.status_v2 == "failed"
    assert run.metadata.error == "process died: killed while solving"
    assert run.name == "night shift"
    assert application.run_input(item.id) == b'{"jobs":[1,2,3]}'
    assert application.run_logs(item.id).startswith("incumbent 57\nbound 55\n")
    assert run.output == {"metrics": {"gap": 0.035}}


def test_a_run_is_known_to_have_lasted_to_its_last_word(tmp_path, platform, application):
    die = "time.sleep(0.4); print('last word', flush=True); time.sleep(0.05); os.kill(os.getpid(), signal.SIGKILL)"
    programs.run(tmp_path, SOLVER.format(die=die))
    flush(tmp_path, platform.url)
    (item,) = application.list_runs()
    assert 350 <= application.run_metadata(item.id).metadata.execution_duration < 5000


def test_a_living_run_is_left_alone(tmp_path, platform, application):
    with programs.start(tmp_path, SOLVER.format(die="time.sleep(60)")) as process:
        assert process.stdout.readline() == "incumbent 57\n"
        assert flush(tmp_path, platform.url).stdout == "0 0 []\n"
        process.kill()
    assert flush(tmp_path, platform.url).stdout.startswith("1 0")


def test_a_flusher_killed_again_and_again_delivers_each_run_once(tmp_path, platform, application):
    made = programs.run(
        tmp_path,
        """
        from nxtrack import track

        @track(app_id="routing")
        def solve(problem):
            print("x" * 1000)
            return {"half": problem["n"] / 2, "blob": "y" * 100_000}

        for n in range(60):
            solve({"n": n})
        """,
        NXTRACK_DURABILITY="process",
    )
    assert made.returncode == 0, made.stderr
    chance = random.Random(5)
    access = {"NEXTMV_ENDPOINT": platform.url, "NEXTMV_API_KEY": "key", "NXTRACK_RATE": "0", "NXTRACK_SETTLE": "1"}
    for _ in range(12):
        with programs.start(tmp_path, FLUSH, **access) as process:
            time.sleep(0.25 + chance.random() * 0.4)
            process.send_signal(signal.SIGKILL)
    for _ in range(10):
        told = flush(tmp_path, platform.url)
        if told.stdout.split()[1] == "0":
            break
        time.sleep(1.1)
    items = list(application.list_runs())
    assert len(items) == 60
    assert len({item.description for item in items}) == 60
    inputs = sorted(json.loads(application.run_input(item.id))["n"] for item in items)
    assert inputs == list(range(60))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_children_of_a_killed_run_do_not_keep_it_from_being_delivered(tmp_path, platform, application):
    """A child that was forked in C keeps the lock: recovery goes by the process id then."""
    fork = (
        "libc = ctypes.CDLL(None); pid = libc.fork()\n"
        "        if pid == 0:\n"
        "            time.sleep(20); os._exit(0)\n"
        "        print('child', pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)"
    )
    with programs.start(tmp_path, SOLVER.format(die=fork)) as process:
        child = [process.stdout.readline() for _ in range(2)][1]
        process.wait()
        try:
            assert flush(tmp_path, platform.url).stdout.startswith("1 0")
            assert flush(tmp_path, platform.url).stdout == "0 0 []\n"
        finally:
            import os

            os.kill(int(child.split()[1]), signal.SIGKILL)
    assert len(list(application.list_runs())) == 1
