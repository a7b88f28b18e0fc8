"""What a restart finds: runs that a killed platform executed, runs that wait, and data of older versions."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from support.solvers import alive, final, first_line, instance, started, state, until

import nxtrack
from nxtrack.server.data import database
from nxtrack.server.data.database import Database
from nxtrack.server.data.queue import RunQueue
from nxtrack.server.execution import processes

PROGRAM = """
import sys
from pathlib import Path
from nxtrack.server.options import Instance
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import serve
solver = Instance(name="solver", command=tuple(sys.argv[2:]))
sys.exit(serve(ServeOptions(port=0, data=Path(sys.argv[1]), instances=(solver,), jobs=1)))
"""
# Leaves a child in its group, one outside of it, and one with no trace of the run in its environment.
SLOW = """
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
told = json.load(sys.stdin)
if told.get("quick"):
    print(json.dumps(told))
    sys.exit()
children = []
for apart, environment in [(False, None), (True, None), (False, {})]:
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(120)"],
                             start_new_session=apart, env=environment)
    children.append(child)
print(os.getpid(), *[child.pid for child in children], os.getcwd(), file=sys.stderr)
time.sleep(120)
"""


@pytest.fixture
def platform(tmp_path):
    """Starts the platform as a process of its own."""
    solver = instance(tmp_path, SLOW)
    begun = []

    def _platform():
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), *solver.command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(nxtrack.__path__[0]).parent), "PYTHONWARNINGS": "error"},
        )
        begun.append(process)
        line = process.stdout.readline()
        assert line.startswith("Local platform on "), line + process.stderr.read()
        return process, line.split()[3]

    yield _platform
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.fixture
def at(tmp_path):
    """A client of the platform at an address."""
    with contextlib.ExitStack() as stack:

        def _at(url):
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            return Client(url, session)

        yield _at


class Client:
    """As much of the API as these tests need."""

    def __init__(self, url, session):
        self.base, self.session = f"{url}/v1/applications/a/runs", session

    def runs(self, path="", *, app=None, **more):
        return self.session.get(f"{self.base}{path}", headers={"Authorization": "Bearer k"}, timeout=30, **more)

    def post(self, body, *, app=None, instance=None):
        return self.session.post(self.base, headers={"Authorization": "Bearer k"}, json=body, timeout=30)


def test_after_a_kill_runs_are_failed_and_queued_ones_go_on(platform, at):
    process, url = platform()
    api = at(url)
    run_id = started(api)
    waiting = [started(api, {"input": {"quick": number}}) for number in (1, 2, 3)]
    *pids, folder = first_line(api, run_id).split()
    assert [pid for pid in pids if not alive(pid)] == []
    process.kill()
    process.communicate(timeout=20)
    # Nobody was there to end them.
    assert [pid for pid in pids if not alive(pid)] == []
    assert Path(folder).is_dir()

    process, url = platform()
    api = at(url)
    assert [pid for pid in pids if alive(pid)] == []
    assert not Path(folder).exists()
    result = api.runs(f"/{run_id}").json()
    assert result["metadata"]["status_v2"] == "failed"
    assert result["metadata"]["error"] == "The platform was stopped while it ran."
    assert result["error_log"]["stderr"] == f"{' '.join(pids)} {folder}\n"
    assert 0 <= result["metadata"]["duration"] < 60_000
    assert [final(api, name)["output"] for name in waiting] == [{"quick": 1}, {"quick": 2}, {"quick": 3}]
    process.terminate()
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_a_signal_stops_the_platform_and_its_programs_promptly(platform, at):
    process, url = platform()
    api = at(url)
    run_id, waits = started(api), started(api, {"input": {"quick": 1}})
    *pids, folder = first_line(api, run_id).split()
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 8
    assert (process.returncode, out, err) == (0, "", "")
    assert [pid for pid in pids if alive(pid)] == []
    assert not Path(folder).exists()
    process, url = platform()
    api = at(url)
    assert state(api, run_id) == "failed"
    assert final(api, waits)["output"] == {"quick": 1}


def test_a_queue_outlives_its_instance(start, tmp_path):
    slow, other = instance(tmp_path, SLOW, "slow"), instance(tmp_path, "print('{}')", "other")
    with contextlib.ExitStack() as first:
        api = start(instances=(slow, other), jobs=1, session_of=first)
        run_id = started(api, instance="slow")
        waits, lost = started(api, {"input": {}}, instance="other"), started(api, instance="slow")
        until(lambda: state(api, run_id) == "running")
    again = start(instances=(other,))
    assert final(again, waits)["metadata"]["status_v2"] == "succeeded"
    assert "No instance slow is registered any more" in final(again, lost)["metadata"]["error"]


def orphan(environment):
    return subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(120)"], env=environment, start_new_session=True
    )


def test_a_process_that_is_another_by_now_is_left_alone(start, tmp_path):
    """The pid of a run that was executed may be anybody's when the platform starts again."""
    with contextlib.ExitStack() as first:
        api = start(session_of=first)
        api.track()
    mark, innocent = processes.new_mark(), orphan({})
    ours = orphan({"NXTRACK_RUN_MARK": mark})
    try:
        kept = tmp_path / "kept"
        kept.mkdir()
        file = sqlite3.connect(tmp_path / "data" / "platform.db")
        with contextlib.closing(file), file:
            for run, (pid, born) in enumerate([(innocent.pid, "another boot 1"), (os.getpid(), None), (2**22, "x")]):
                file.execute(
                    "INSERT INTO executions VALUES (?, ?, ?, ?, ?, ?)", (run + 10, mark, str(kept), "logs", pid, born)
                )
        api = start()
        assert ours.wait(20) == -signal.SIGKILL
        assert innocent.poll() is None
        assert kept.is_dir()
        assert len(api.runs().json()["runs"]) == 1
    finally:
        for process in (innocent, ours):
            process.kill()
            process.wait(20)


def test_an_execution_before_its_process_is_found_by_its_mark_alone(start, tmp_path):
    """A platform can be killed between starting a program and noting its pid."""
    solver = instance(tmp_path, "print('{}')")
    with contextlib.ExitStack() as first:
        api = start(session_of=first, instances=(solver,))
        final(api, started(api))
    mark = processes.new_mark()
    ours = orphan({"NXTRACK_RUN_MARK": mark})
    data = Database(tmp_path / "data")
    with data.write() as db:
        db.execute("UPDATE runs SET status = 'queued'")
    assert RunQueue(data).take(mark=mark, folder=str(tmp_path / "nxtrack-run-x"), logs="none", now=5) is not None
    data.close()
    (tmp_path / "nxtrack-run-x").mkdir()
    api = start(instances=(solver,))
    assert ours.wait(20) == -signal.SIGKILL
    (run,) = api.runs().json()["runs"]
    assert run["status_v2"] == "failed"
    assert not (tmp_path / "nxtrack-run-x").exists()


def test_data_of_the_first_version_is_taken_over(start, tmp_path, monkeypatch):
    with monkeypatch.context() as old:
        old.setattr(database, "_MIGRATIONS", database._MIGRATIONS[:1])
        (tmp_path / "data").mkdir()
        first = Database(tmp_path / "data")
        with first.write() as db:
            db.execute("INSERT INTO applications VALUES ('routing', 'Routing', '', NULL, 1)")
            for name in ("old-1", "old-2"):
                db.execute(
                    "INSERT INTO runs (id, application, instance, name, description, status, created_at, duration, "
                    "error, run_type, input_format, output_format, execution_class, options) VALUES "
                    "(?, 'routing', '', '', '', 'succeeded', 5, 7, '', 'external', 'json', 'json', '', '{}')",
                    (name,),
                )
        first.close()
    api = start(instances=(instance(tmp_path, "print('{}')"),))
    assert [run["id"] for run in api.runs().json()["runs"]] == ["old-2", "old-1"]
    assert api.runs("/old-1").json()["metadata"]["duration"] == 7
    assert final(api, started(api))["metadata"]["status_v2"] == "succeeded"


def test_the_history_has_its_indexes(tmp_path):
    """What the run history asks for is never sorted: at 100,000 runs that would take a second."""
    data = Database(tmp_path)
    try:
        with data.read() as db:
            for where, order in [
                ("", "number"),
                ("", "duration DESC, number"),
                ("WHERE status = 'failed'", "number"),
                ("WHERE application = 'a'", "number"),
                ("WHERE application = 'a'", "duration DESC, number"),
                ("WHERE application = 'a' AND status = 'failed'", "number"),
                ("WHERE experiment = 'x'", "number"),
                ("WHERE application = 'a' AND experiment = 'x'", "number"),
            ]:
                plan = db.execute(f"EXPLAIN QUERY PLAN SELECT * FROM runs {where} ORDER BY {order} DESC LIMIT 51")
                steps = [row["detail"] for row in plan]
                assert len(steps) == 1, steps
                assert not where or "USING INDEX" in steps[0], steps
    finally:
        data.close()
