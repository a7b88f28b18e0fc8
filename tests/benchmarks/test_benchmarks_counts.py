"""Guards what the benchmarks measure by counting what does not depend on the machine's mood."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from benchmarks.distant import platform
from benchmarks.traces import MARK, traced, traced_command
from faults.processes.strace import needs
from support.programs import environment, run

import nxtrack
from nxtrack.spool import ids
from nxtrack.spool.store import Spool

WHY_NOT = needs()
strace = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
# What is counted are our own calls: measuring adds its own files and memory.
pytestmark = pytest.mark.no_cover

SOLVER = f"""
    import nxtrack
    solve = nxtrack.track(lambda problem: {{"value": 1}})
    problem = {{"stops": [{{"id": number}} for number in range(80)]}}
    for _ in range(100):
        solve(problem)
    {MARK}
    for _ in range(20):
        solve(problem)
    {MARK}
"""


def of_a_call(calls):
    """How often each system call was made for one of the 20 tracked calls."""
    return {name: number / 20 for name, number in Counter(call.name for call in calls).items()}


@strace
def test_a_tracked_call_makes_ten_system_calls(tmp_path):
    counts = of_a_call(traced(tmp_path, SOLVER, NXTRACK_DURABILITY="process", NXTRACK_CAPTURE="off"))
    assert {name for name, number in counts.items() if number >= 0.5} <= {
        *("openat", "flock", "newfstatat", "fstat", "write", "fchmod", "close"),
        *("getrandom", "getpid"),
    }
    assert (round(counts["write"]), round(counts["openat"])) == (2, 1)
    assert sum(counts.values()) <= 11  # ten, and what tells how full the spool is, ever less often


@pytest.mark.parametrize(("capture", "most"), [("off", 70), ("sys", 80), ("auto", 155)])
def test_a_tracked_call_goes_through_few_functions(python, capture, most):
    """Each takes a microsecond or two where a solver has run in between; the solver's own is one of them."""
    program = """
        import sys

        import nxtrack

        solve = nxtrack.track(lambda problem: {"value": 1})
        problem = {"stops": [{"id": number} for number in range(80)]}
        for _ in range(100):
            solve(problem)
        calls = 0

        def count(frame, event, argument):
            global calls
            calls += event == "call"

        sys.setprofile(count)
        solve(problem)
        sys.setprofile(None)
        print(calls)
    """
    done = python(program, NXTRACK_CAPTURE=capture)
    assert most / 2 < int(done.stdout) <= most


@strace
def test_a_call_whose_descriptors_are_captured_makes_twenty_more_system_calls(tmp_path):
    calls = traced(tmp_path, SOLVER, NXTRACK_DURABILITY="process")
    counts = of_a_call(calls)
    # Each of the two descriptors is kept, led to its file, and back; the files are those of the run before.
    assert (counts["dup2"], counts["fcntl"], counts["waitid"]) == (4, 2, 1)
    assert (round(counts["write"]), round(counts["openat"]), round(counts["close"])) == (2, 1, 3)
    # Twelve, and what the thread that shows the log looks at. Two ask how many threads there are: only alone it is safe
    # to have C write all that it holds back, before the run and at its end.
    assert sum(number for name, number in counts.items() if "fstat" in name) <= 13
    assert sum(number for name, number in counts.items() if name != "futex") <= 31


@strace
def test_a_payload_in_a_run_s_file_is_written_by_one_call_and_takes_no_memory_from_the_system(tmp_path):
    program = f"""
        import nxtrack
        solve = nxtrack.track(lambda problem: None)
        problem = ["x" * 1000] * 100
        for _ in range(20):
            solve(problem)
        {MARK}
        for _ in range(20):
            solve(problem)
        {MARK}
    """
    calls = traced(
        tmp_path, program, asks=frozenset({"brk", "mmap"}), NXTRACK_DURABILITY="process", NXTRACK_CAPTURE="off"
    )
    counts = of_a_call(calls)
    assert (counts["writev"], round(counts["write"])) == (1, 1)
    assert counts.get("brk", 0) + counts.get("mmap", 0) < 1


@strace
def test_a_durable_call_syncs_its_file_once_and_its_folder_where_that_is_needed(tmp_path):
    calls = traced(tmp_path, SOLVER, NXTRACK_DURABILITY="power", NXTRACK_CAPTURE="off")
    counts = of_a_call(calls)
    device = os.stat(tmp_path).st_dev
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    (kind,) = {
        after.split()[0] for before, after in mounts if before.split()[2] == f"{os.major(device)}:{os.minor(device)}"
    } or {"unknown"}
    folders = 0 if kind in {"ext4", "xfs"} else 1
    assert counts["fsync"] == 1 + folders
    assert sum("/runs>" in call.text and call.name == "fsync" for call in calls) == 20 * folders
    assert sum(counts.values()) <= 12 + 3 * folders


@strace
def test_a_recovery_syncs_its_folder_once_for_all_runs(tmp_path):
    spool = tmp_path / "spool"
    program = """
        import os, signal
        import nxtrack
        for number in range(7):
            nxtrack.track(input=number).__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(tmp_path, program).returncode == -9
    calls = traced_command(tmp_path, "flush", "--timeout", "0", status=75, NEXTMV_API_KEY="counted-key")
    synced = [call.text for call in calls if call.name in {"fsync", "fdatasync"} and f"<{spool}" in call.text]
    assert len([text for text in synced if ".active" in text]) == 7
    assert len(synced) <= 8


@strace
def test_calls_wait_for_no_lock_and_share_no_file(tmp_path):
    program = f"""
        import threading
        import nxtrack
        solve = nxtrack.track(lambda problem: None)
        def work():
            for _ in range(10):
                solve(1)
        solve(1)
        {MARK}
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        {MARK}
    """
    calls = traced(tmp_path, program, NXTRACK_DURABILITY="process")
    locks = [call.text for call in calls if call.name in {"flock", "fcntl"} and "LOCK" in call.text.upper()]
    assert len(locks) >= 40
    assert [text for text in locks if "LOCK_NB" not in text] == []
    # Each run has a file of its own; how full the spool is, is told ever less often.
    shared = [
        call.text for call in calls if call.name == "openat" and "spool" in call.text and "/runs/" not in call.text
    ]
    assert len(shared) <= 8


@strace
def test_a_large_payload_is_written_once_and_never_read_again(tmp_path):
    program = f"""
        import nxtrack
        solve = nxtrack.track(lambda problem: None)
        solve(1)
        problem = ["x" * 1000] * 3000
        {MARK}
        solve(problem)
        {MARK}
    """
    calls = traced(tmp_path, program)
    moved = {"write": 0, "read": 0}
    for call in calls:
        if call.name in moved and "spool" in call.text:
            moved[call.name] += int(call.text.rpartition("= ")[2].split()[0])
    assert 3_009_001 <= moved["write"] <= 3_009_001 + 4096
    assert moved["read"] <= 4096


def test_tracking_a_large_input_takes_little_more_memory_than_its_json():
    problem = ["x" * 1000] * 20_000
    size = len(msgspec.json.encode(problem))
    solve = nxtrack.track(lambda problem: None)
    solve(1)
    tracemalloc.start()
    try:
        solve(problem)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # msgspec's buffer grows by half, of which the system gives only what is written; a copy would make it twice.
    assert size < peak < 1.6 * size


def test_delivering_a_large_payload_takes_little_memory(tmp_path):
    solve = nxtrack.track(lambda problem: None)
    solve(["x" * 1000] * 40_000)
    with platform() as where:
        nxtrack.configure(endpoint=where.url, api_key="counted-key", app_id="counted")
        nxtrack.flush(limit=0)
        tracemalloc.start()
        try:
            report = nxtrack.flush()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (len(report.synced), report.pending) == (1, 0)
        assert where.counts().received > 40_000_000
    assert peak < 6_000_000


def test_a_flush_makes_seven_requests_a_run_over_as_many_connections_as_jobs(tmp_path):
    program = """
        import nxtrack

        @nxtrack.track(app_id="counted")
        def solve(problem):
            nxtrack.current_run().log("found")
            return {"value": 1}

        @nxtrack.track(app_id="counted", capture="off")
        def silent(problem):
            return {"value": 1}

        for _ in range(15):
            solve({"stops": 1})
            silent({"stops": 1})
        report = nxtrack.flush()
        assert len(report.synced) == 30, report
    """
    with platform(latency=0.005) as where:
        done = run(tmp_path, program, NXTRACK_JOBS="3", NXTRACK_RATE="0", NXTRACK_REQUEST_RATE="0", **where.variables())
        assert done.returncode == 0, done.stderr
        counts = where.counts()
    assert counts.requests == 15 * 7 + 15 * 5
    assert counts.connections <= 3
    assert len(counts.posted) == 30


def test_a_limited_flush_is_not_refused_twice(tmp_path):
    program = """
        import nxtrack
        solve = nxtrack.track(lambda problem: None)
        for _ in range(14):
            solve(1)
        report = nxtrack.flush()
        assert len(report.synced) == 14, report
    """
    with platform(rate=5) as where:
        done = run(tmp_path, program, NXTRACK_DURABILITY="process", **where.variables())
        assert done.returncode == 0, done.stderr
        counts = where.counts()
    assert len(counts.refused) <= 1
    # Never above the platform's limit, and never far below: the pace is a matter of our own clock, not of the load.
    assert (len(counts.posted) - 1) / (counts.posted[-1] - counts.posted[0]) <= 5.2


def filled(spool: Path, number: int, state: str = "ready") -> None:
    """Makes files that look like runs in a state, to whoever does not open them."""
    Spool(str(spool)).prepare()
    for _ in range(number):
        (spool / "runs" / f"{ids.new_id()}.{state}").touch(mode=0o600)


@strace
@pytest.mark.parametrize(
    ("command", "opened"), [("status", 0), ("status --json", 0), ("list --limit 5", 5), ("list --limit 5 --json", 5)]
)
def test_commands_open_no_more_runs_than_they_show(tmp_path, command, opened):
    if opened:  # Whoever counts the active runs must look at each; who shows others need not.
        filled(tmp_path / "spool", 20, "active")
    filled(tmp_path / "spool", 200)
    calls = traced_command(tmp_path, *command.split())
    assert sum(call.name == "openat" and "/runs/" in call.text for call in calls) == opened
    # The names are listed, and for their sizes once more; nothing is done for each run but to ask for its size.
    assert sum(".ready" in call.text for call in calls) <= 200 + 8 * opened


@strace
def test_a_flush_opens_no_run_before_it_delivers_it(tmp_path):
    filled(tmp_path / "spool", 200)
    calls = traced_command(tmp_path, "flush", "--timeout", "0", status=75, NEXTMV_API_KEY="counted-key")
    assert any("/runs" in call.text for call in calls)
    assert not [call for call in calls if call.name == "openat" and ".ready" in call.text]


def test_the_queue_of_a_flush_takes_little_memory_for_each_run(tmp_path):
    filled(tmp_path / "spool", 4000)
    spool = Spool(str(tmp_path / "spool"))
    tracemalloc.start()
    try:
        entries = list(spool.entries("ready"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(entries) == 4000
    assert peak / 4000 < 600


HEAVY = {"requests", "urllib3", "typer", "rich", "yaml", "msgspec", "wrapt", "platformdirs", "logging"}


def loaded(folder: Path, code: str) -> set[str]:
    """Returns which of the heavy packages a program has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return HEAVY & set(done.stdout.split())


def test_importing_nxtrack_loads_no_other_package(tmp_path):
    assert loaded(tmp_path, "import nxtrack") == set()


def test_tracking_loads_nothing_that_delivers(tmp_path):
    code = "import nxtrack; nxtrack.track(lambda problem: None)(1)"
    assert loaded(tmp_path, code) <= {"msgspec", "wrapt", "platformdirs", "logging"}


def test_status_loads_nothing_that_delivers(tmp_path):
    code = "from nxtrack.cli.main import main; main(['status']); main(['status', '--json'])"
    assert loaded(tmp_path, code) <= {"msgspec", "platformdirs"}
