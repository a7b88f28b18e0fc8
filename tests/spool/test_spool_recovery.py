"""Recovery: every run whose process died is delivered once, as it ended or as failed, and no live one is touched."""

import fcntl
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from nxtrack.errors import RunCorrupt, RunNotFound, SpoolUnavailable
from nxtrack.spool import claims, frames, ids, owner, recovery
from nxtrack.spool.listing import Entry
from nxtrack.spool.records import End, Metric, Output, Owner, now
from nxtrack.spool.recovery import NEWBORN_SECONDS, Recovery, recover
from nxtrack.spool.store import DIED, Spool

BIG = b'"' + b"x" * 300_000 + b'"'
ELSEWHERE = Owner(pid=1, started=1, boot="another", pidns=1, host="another")

ORPHANED = """
    # As a library that forks past Python's own fork: the child keeps a copy of the run's descriptor.
    run = begin(store, b'"' + b"x" * 300_000 + b'"')
    run.log(b"log")
    run.append(Metric(name="gap", value=0.5))
    if "end" in sys.argv:
        run.append(End(status="succeeded", at=now(), duration_ms=7))
    if "torn" in sys.argv:
        os.write(run._descriptor, b"0bad")
    writer._live.clear()
    child = os.fork()
    if child == 0:
        sys.stdin.readline()
        os._exit(0)
    say(run.run_id, child)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def orphaned(start_program):
    """Makes a run whose process is dead, and whose file a child of it keeps locked."""

    def make(*words):
        program = start_program(ORPHANED, *words)
        run_id, child = program.stdout.readline().split()
        program.wait()
        return run_id, int(child), program

    return make


@pytest.fixture
def dead(begin):
    """Makes runs whose process died, as far as their locks tell."""

    def make(*records, **fields):
        run = begin(**fields)
        run.append(*records)
        run.close()
        return run.run_id

    return make


def read(store, run_id, state="ready"):
    return store.read(Entry(run_id, state))


KILLS = {
    "begun": "",
    "logged": "run.log(b'log\\n'); run.append(Metric(name='gap', value=1))",
    "large": "run.append(run.payload(Output, Content(b'\"' + b'x' * 100000 + b'\"')))",
    "torn": 'os.write(run._descriptor, b\'0bad {"t":"met\')',
    "threads": "[threading.Thread(target=lambda: [run.log(b'x') for _ in iter(int, 1)]).start() for _ in range(3)]",
}


@pytest.mark.parametrize("when", KILLS)
def test_a_killed_process_leaves_a_failed_run(store, run_program, when):
    out = run_program(
        f"""
        run = begin(store, b'[1]', app_id="routing")
        say(run.run_id)
        {KILLS[when]}
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        status=-9,
    )
    run_id = out.strip()
    assert [*store.entries()] == [Entry(run_id, "ready", died=True)]
    told = store.read(Entry(run_id, "ready", died=True))
    report = recover(store)
    assert [found for found, _ in report.recovered] == [run_id]
    found = read(store, run_id)
    assert (found.end.status, found.end.error, found.end.recovered) == ("failed", DIED, True)
    assert found.end.at >= found.start.at
    assert told.end.error == DIED
    assert store.artefact(found, "input").read() == b"[1]"
    if when == "logged":
        assert store.artefact(found, "logs").read() == b"log\n"
        assert found.metrics[0].value == 1
    assert recover(store) == Recovery()
    claims.claim(store, run_id, "ready").release()


def test_a_run_that_was_killed_before_its_rename_is_ready_as_it_ended(store, dead, ended):
    run_id = dead(Output(data=frames.msgspec.Raw(b"{}")), ended)
    recover(store)
    found = read(store, run_id)
    assert found.end == ended
    assert not found.end.recovered


def test_how_long_a_dead_run_is_known_to_have_run(store, begin):
    run = begin()
    run.log(b"a")
    run.close()
    at = read(store, run.run_id, "active").start.at.timestamp()
    os.utime(store.paths.run(run.run_id, "active"), (at, at + 2))
    os.utime(store.paths.log(run.run_id), (at, at + 5))
    recover(store)
    end = read(store, run.run_id).end
    assert end.duration_ms == pytest.approx(5000, abs=2)
    assert end.at.timestamp() == pytest.approx(at + 5, abs=0.01)


def test_a_clock_that_was_set_back_makes_no_negative_duration(store, begin):
    run = begin()
    run.close()
    os.utime(store.paths.run(run.run_id, "active"), (1, 1))
    recover(store)
    found = read(store, run.run_id)
    assert found.end.duration_ms == 0
    assert found.end.at == found.start.at


def test_a_clock_that_was_set_forward_makes_no_duration_of_years(store, begin):
    run = begin(monotonic=time.monotonic() - 3)
    run.close()
    ahead = time.time() + 400 * 86400
    os.utime(store.paths.run(run.run_id, "active"), (ahead, ahead))
    recover(store)
    found = read(store, run.run_id)
    assert 3000 <= found.end.duration_ms < 60_000
    assert (found.end.at - found.start.at).total_seconds() < 60


def test_live_runs_are_left_alone(store, begin, start_program, ended):
    ours = begin()
    program = start_program(
        """
        run = begin(store)
        say(run.run_id)
        sys.stdin.readline()
        run.finish(End(status="succeeded", at=now(), duration_ms=1))
        """
    )
    theirs = program.stdout.readline().strip()
    assert recover(store) == Recovery()
    assert {entry.state for entry in store.entries()} == {"active"}
    program.communicate("go\n")
    ours.finish(ended)
    assert {read(store, run_id).end.status for run_id in (ours.run_id, theirs)} == {"succeeded"}


def test_a_run_whose_pid_is_anothers_by_now_is_dead(store, dead, start_program):
    """The lock is held by whoever inherited it, and the pid lives: the start time tells."""
    ours = owner.this_process()
    run_id = dead(owner=frames.msgspec.structs.replace(ours, started=ours.started - 1))
    holder = os.open(store.paths.run(run_id, "active"), os.O_RDWR)
    assert recovery.system.try_lock(holder)
    assert [found for found, _ in recover(store).recovered] == [run_id]
    os.close(holder)


@pytest.mark.parametrize("words", [[], ["end"], ["torn"]])
def test_a_run_that_an_orphan_keeps_locked_is_delivered_from_a_copy(store, orphaned, words):
    run_id, child, program = orphaned(*words)
    os.kill(child, 0)
    assert [*store.entries()] == [Entry(run_id, "ready", died=True)]
    assert [found for found, _ in recover(store).recovered] == [run_id]
    assert recover(store) == Recovery()
    assert os.listdir(store.paths.runs) == [f"{run_id}.ready"]
    claimed = claims.claim(store, run_id, "ready")
    assert claimed.run.end.recovered == ("end" not in words)
    assert claimed.artefact("input").read() == BIG
    assert claimed.artefact("logs").read() == b"log"
    assert claimed.run.metrics[0].value == 0.5
    claimed.settle("synced")
    program.communicate()


@pytest.mark.parametrize("state", ["ready", "unconfirmed", "synced", "rejected"])
@pytest.mark.parametrize("locked", [True, False])
def test_a_recovery_that_died_after_its_copy_delivers_the_run_once(store, orphaned, state, locked):
    """Between the copy's new name and the removal of the old one; the copy may have come far since."""
    run_id, _, program = orphaned()
    active = store.paths.run(run_id, "active")
    keep = store.paths.root + "/keep"
    os.link(active, keep)
    recover(store)
    claims.claim(store, run_id, "ready").settle(state)
    os.rename(keep, active)
    if not locked:
        program.communicate()
        deadline = time.monotonic() + 10
        while not store.died(run_id) or not free(active):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    content = Path(store.paths.run(run_id, state)).read_bytes()
    recover(store)
    assert os.listdir(store.paths.runs) == [f"{run_id}.{state}"]
    assert Path(store.paths.run(run_id, state)).read_bytes() == content
    program.communicate()


def free(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return recovery.system.try_lock(descriptor)
    finally:
        os.close(descriptor)


def test_a_recovery_that_died_while_it_copied_leaves_nothing_behind(store, orphaned):
    run_id, _, program = orphaned()
    Path(store.paths.payload(f"{run_id}.copy")).write_bytes(b"half a copy")
    recover(store)
    assert os.listdir(store.paths.runs) == [f"{run_id}.ready"]
    assert sorted(os.listdir(store.paths.payloads)) == [f"{run_id}.0.json", f"{run_id}.log"]
    assert not frames.decode(Path(store.paths.found(run_id, "ready")).read_bytes()).damaged
    program.communicate()


@pytest.mark.parametrize("content", [b"", b"0bad1dea {"])
def test_a_run_that_was_never_begun_is_removed_after_a_while(store, content):
    store.prepare()
    run_id = ids.new_id()
    path = store.paths.run(run_id, "active")
    Path(path).write_bytes(content)
    assert recover(store) == Recovery()
    assert os.path.exists(path)
    assert not store.died(run_id)
    with pytest.raises(RunCorrupt, match="never begun"):
        read(store, run_id, "active")
    old = time.time() - NEWBORN_SECONDS - 1
    os.utime(path, (old, old))
    holder = os.open(path, os.O_RDWR)
    assert recovery.system.try_lock(holder)
    recover(store)
    assert os.path.exists(path)
    os.close(holder)
    assert recover(store) == Recovery()
    assert not os.path.exists(path)


def test_a_damaged_run_is_set_aside_and_the_others_go_on(store, dead, begin):
    first, bad, last = dead(), dead(Metric(name="m", value=1)), dead()
    path = Path(store.paths.run(bad, "active"))
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    assert not store.died(bad)
    report = recover(store)
    assert [run_id for run_id, _ in report.recovered] == [first, last]
    assert len(report.problems) == 1
    assert bad in report.problems[0]
    assert Path(store.paths.quarantine, f"{bad}.active").read_bytes() == content
    assert recover(store) == Recovery()


def test_a_damaged_run_of_a_live_process_is_left_to_it(store, begin):
    run = begin()
    path = Path(store.paths.run(run.run_id, "active"))
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    assert recover(store) == Recovery()
    assert path.exists()
    run.close()


def test_a_file_of_another_run_is_damaged(store, dead):
    run_id = dead()
    other = ids.new_id()
    os.rename(store.paths.run(run_id, "active"), store.paths.run(other, "active"))
    assert "does not begin with its start" in recover(store).problems[0]


def test_a_run_that_starts_twice_is_damaged(store, dead):
    run_id = dead()
    path = Path(store.paths.run(run_id, "active"))
    content = path.read_bytes()
    more, _ = frames.encode([frames.decode(content).records[0]], frames.decode(content).checksum)
    path.write_bytes(content + more)
    assert "starts twice" in recover(store).problems[0]


def test_what_cannot_be_looked_at_stops_nobody(store, dead):
    folder = ids.new_id()
    run_id = dead()
    os.mkdir(store.paths.run(folder, "active"))
    report = recover(store)
    assert [found for found, _ in report.recovered] == [run_id]
    assert report.problems == [f"Run {folder} is damaged: it is a directory."]
    assert os.listdir(store.paths.quarantine) == [f"{folder}.active"]
    assert not store.died(folder)


def test_runs_of_other_machines_are_left_alone_unless_asked(store, dead):
    run_id = dead(owner=ELSEWHERE)
    assert recover(store) == Recovery(elsewhere=1)
    assert [*store.entries()] == [Entry(run_id, "active")]
    report = recover(store, other_hosts=True)
    assert report.recovered == [(run_id, ELSEWHERE)]
    assert read(store, run_id).end.recovered


def test_a_live_run_of_another_machine_is_left_alone_even_when_asked(store, begin):
    run = begin(owner=ELSEWHERE)
    assert recover(store, other_hosts=True) == Recovery()
    run.close()


def test_a_run_of_a_dead_boot_is_recovered(store, dead):
    run_id = dead(owner=Owner(pid=1, started=1, boot="before", pidns=1, host=owner.this_process().host))
    assert [found for found, _ in recover(store).recovered] == [run_id]


def test_two_recoveries_at_once_recover_each_run_once(store, dead, start_program):
    runs = sorted(dead(Metric(name="m", value=1)) for _ in range(60))
    program = """
        say("up")
        sys.stdin.readline()
        report = recovery.recover(store)
        say(json.dumps([[run_id for run_id, _ in report.recovered], report.problems]))
    """
    programs = [start_program(program) for _ in range(3)]
    for process in programs:
        process.stdout.readline()
    found, damaged = [], []
    for process in programs:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in programs:
        recovered, problems = frames.msgspec.json.decode(process.communicate(timeout=60)[0])
        found += recovered
        damaged += problems
    assert sorted(found) == runs
    assert damaged == []
    assert {entry.state for entry in store.entries()} == {"ready"}


def test_who_comes_second_leaves_it_to_the_first(store, dead, monkeypatch):
    run_id = dead()
    monkeypatch.setattr(recovery, "_PATIENCE_SECONDS", 0.05)
    holder = os.open(store.root + "/recovery.lock", os.O_RDWR | os.O_CREAT)
    assert recovery.system.try_lock(holder)
    assert recover(store) == Recovery()
    os.close(holder)
    assert [found for found, _ in recover(store).recovered] == [run_id]


def test_a_full_disk_leaves_the_run_for_later(disk, fill, begin):
    spool = Spool(disk("64k"))
    run = begin(b'"' + b"x" * 3000 + b'"', spool=spool)
    path = Path(spool.paths.run(run.run_id, "active"))
    run.append(Metric(name="m" * (4096 - path.stat().st_size - 50), value=1))
    assert 4070 < path.stat().st_size <= 4096
    run.close()
    recover_lock = os.open(spool.root + "/recovery.lock", os.O_RDWR | os.O_CREAT)
    os.close(recover_lock)
    ballast = fill(spool.root)
    report = recover(spool)
    assert report.problems == [f"Run {run.run_id} cannot be looked at: no space left on device."]
    os.unlink(ballast)
    assert [found for found, _ in recover(spool).recovered] == [run.run_id]
    claims.claim(spool, run.run_id, "ready").release()


def test_a_spool_that_cannot_be_locked_is_told(store, dead):
    dead()
    os.unlink(store.root + "/recovery.lock")
    os.mkdir(store.root + "/recovery.lock")
    with pytest.raises(SpoolUnavailable, match="cannot be recovered"):
        recover(store)


def test_a_file_that_knows_no_lock_is_as_one_that_is_held():
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)
    assert not recovery._try_lock(descriptor)


def test_a_run_that_ends_while_recovery_looks_is_left_as_it_is(store, begin, start_program, ended):
    """The processes of this spool end their runs while another recovers it all the time."""
    program = start_program(
        """
        say("up")
        found = 0
        while not os.path.exists(root + "/stop"):
            report = recovery.recover(store)
            found += len(report.recovered) + len(report.problems)
        say(found)
        """
    )
    program.stdout.readline()
    for number in range(300):
        run = begin()
        run.append(Metric(name="m", value=number))
        run.finish(ended)
    Path(store.root, "stop").write_text("")
    assert program.communicate(timeout=60)[0] == "0\n"
    assert store.summary().counts["ready"] == 300
    assert os.listdir(store.paths.quarantine) == []
    for entry in store.entries():
        assert store.read(entry).end == ended


def test_a_vanished_run_is_told(store, ready):
    run_id = ready()
    entry = Entry(run_id, "ready")
    shutil.rmtree(store.root)
    with pytest.raises(RunNotFound, match="no longer ready"):
        store.read(entry)
    assert not store.died(run_id)


@pytest.mark.parametrize(("status", "error"), [("succeeded", None), ("failed", "The run ended, and the disk took")])
def test_a_run_whose_end_the_disk_did_not_take_is_told_by_how_it_ended(store, begin, status, error):
    run = begin()
    run.abandon(status)
    recover(store)
    (entry,) = store.entries("ready")
    end = store.read(entry).end
    assert (end.status, (end.error or "")[: len(error or "")]) == (status, error or "")
    assert end.recovered
    assert "neither its output nor its end" in end.notes[0]


def test_a_living_run_that_could_not_be_locked_is_left_alone(store, begin):
    """Its lock is free, which says nothing."""
    run = begin(unlocked=True)
    fcntl.flock(run._descriptor, fcntl.LOCK_UN)
    assert recover(store).recovered == []
    assert [entry.state for entry in store.entries()] == ["active"]
    run.finish(End(status="succeeded", at=now(), duration_ms=1))
    assert [entry.state for entry in store.entries()] == ["ready"]


def test_a_dead_run_that_could_not_be_locked_is_recovered(store, begin):
    run = begin(unlocked=True, owner=msgspec.structs.replace(owner.this_process(), pid=2**22 - 3))
    run.close()
    assert [found for found, _ in recover(store).recovered] == [run.run_id]
