"""What leaves the spool: delivered runs that are old enough, and never one that waits."""

import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nxtrack.errors import RunCorrupt, SpoolUnavailable
from nxtrack.spool import claims, ids, retention, room
from nxtrack.spool.listing import Entry
from nxtrack.spool.records import Rejected, now
from nxtrack.spool.retention import Pruned, prune, retry
from nxtrack.spool.store import Spool

BIG = b'"' + b"x" * 300_000 + b'"'


def states(store):
    return sorted((entry.run_id, entry.state) for entry in store.entries())


def test_only_delivered_runs_leave(store, settled, begin):
    kept = [(settled(state), state) for state in ("ready", "unconfirmed", "rejected")]
    live = begin(BIG)
    settled("synced")
    settled("synced")
    report = prune(store)
    assert report.runs == 2
    assert report.size > 2 * len(BIG)
    assert states(store) == sorted([*kept, (live.run_id, "active")])
    for run_id, state in kept:
        assert store.artefact(store.read(Entry(run_id, state)), "input").read() == BIG
    assert len(os.listdir(store.paths.payloads)) == 4
    live.close()
    assert prune(store, rejected=True).runs == 1
    assert [state for _, state in states(store)] == ["ready", "unconfirmed", "ready"]


def test_young_runs_stay(store, settled):
    old, young = settled("synced", age=8 * 86400), settled("synced", age=6 * 86400)
    assert abs(ids.time_of(old).timestamp() - datetime.now(UTC).timestamp() + 8 * 86400) < 5
    assert prune(store, older_than=9 * 86400) == Pruned()
    assert prune(store, older_than=7 * 86400).runs == 1
    assert states(store) == [(young, "synced")]


def test_a_dry_run_removes_nothing(store, settled):
    settled("synced")
    settled("rejected")
    before = sorted(path for path in Path(store.root).rglob("*"))
    told = prune(store, rejected=True, dry_run=True)
    assert sorted(path for path in Path(store.root).rglob("*")) == before
    assert prune(store, rejected=True) == told
    assert os.listdir(store.paths.payloads) == []


def test_a_rejected_run_that_is_claimed_stays(store, settled):
    run_id = settled("rejected")
    claimed = claims.claim(store, run_id, "rejected")
    assert prune(store, rejected=True) == Pruned()
    claimed.release()
    damaged = settled("rejected")
    Path(store.paths.run(damaged, "rejected")).write_bytes(b"x\n")
    assert prune(store, rejected=True).runs == 1
    assert os.listdir(store.paths.runs) == [f"{damaged}.rejected"]


def make_old(path, seconds=25 * 3600):
    old = time.time() - seconds
    os.utime(path, (old, old))


def test_files_that_no_run_names_are_removed_after_a_day(store, settled, begin):
    live, waiting = begin(BIG), settled("ready")
    for run_id in (live.run_id, waiting):
        make_old(store.paths.payload(f"{run_id}.0.json"))
    orphan = Path(store.paths.payload(f"{ids.new_id()}.0.json"))
    orphan.write_bytes(b"12345")
    assert prune(store) == Pruned()
    make_old(orphan)
    assert prune(store, dry_run=True) == Pruned(runs=0, size=5)
    assert prune(store) == Pruned(runs=0, size=5)
    assert len(os.listdir(store.paths.payloads)) == 2
    live.close()


def test_what_can_be_saved_of_a_damaged_run_is_kept_with_it(store, ready):
    run_id = ready(BIG)
    claims.quarantine(store, run_id, "ready")
    make_old(store.paths.payload(f"{run_id}.0.json"))
    assert prune(store) == Pruned()
    os.unlink(os.path.join(store.paths.quarantine, f"{run_id}.active"))
    assert prune(store).size == len(BIG)


def test_a_delivered_copy_outlives_the_run_it_was_made_of(store, settled):
    """Recovery died before it removed the original: without its copy the run would be delivered again."""
    run_id = settled("synced")
    Path(store.paths.run(run_id, "active")).write_bytes(b"")
    assert prune(store) == Pruned()
    os.unlink(store.paths.run(run_id, "active"))
    assert prune(store).runs == 1


def test_a_disk_that_cannot_be_written_is_told(disk, ready, store, begin, ended):
    spool = Spool(disk("1m"))
    for _ in range(2):
        run = begin(BIG, spool=spool)
        run.finish(ended)
        claims.claim(spool, run.run_id, "ready").settle("rejected", Rejected(error="no", at=now()))
    claims.claim(spool, run.run_id, "rejected").settle("synced")
    subprocess.run(["mount", "-o", "remount,ro", spool.root], check=True)
    try:
        with pytest.raises(SpoolUnavailable, match="cannot be pruned: read-only file system"):
            prune(spool)
        assert prune(spool, dry_run=True).runs == 1
        with pytest.raises(SpoolUnavailable, match="read-only"):
            retry(spool, next(spool.entries("rejected")).run_id)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", spool.root], check=True)
    before = os.listdir("/proc/self/fd")
    os.unlink(spool.paths.payload(f"{run.run_id}.0.json"))
    os.mkdir(spool.paths.payload(f"{next(spool.entries('rejected')).run_id}.9.json"))
    with pytest.raises(SpoolUnavailable, match="cannot be pruned: is a directory"):
        prune(spool, rejected=True)
    assert os.listdir("/proc/self/fd") == before


def test_a_rejected_run_is_sent_back_once(store, settled):
    run_id = settled("rejected")
    assert retry(store, run_id)
    assert states(store) == [(run_id, "ready")]
    assert not retry(store, run_id)
    assert not retry(store, ids.new_id())


def test_a_rejected_run_that_is_busy_is_not_sent_back(store, settled):
    run_id = settled("rejected")
    claimed = claims.claim(store, run_id, "rejected")
    assert not retry(store, run_id)
    claimed.release()
    Path(store.paths.run(run_id, "rejected")).write_bytes(b"x\n")
    with pytest.raises(RunCorrupt):
        retry(store, run_id)


def test_pruning_and_sending_back_at_once_do_one_of_both(store, settled, start_program):
    runs = {settled("rejected", content=b"{}") for _ in range(100)}
    program = start_program(
        """
        say("up")
        sys.stdin.readline()
        say(retention.prune(store, rejected=True).runs)
        """
    )
    program.stdout.readline()
    program.stdin.write("go\n")
    program.stdin.flush()
    sent = {run_id for run_id in sorted(runs, reverse=True) if retry(store, run_id)}
    pruned = int(program.communicate(timeout=60)[0])
    assert len(sent) + pruned == 100
    assert {run_id for run_id, _ in states(store)} == sent
    assert {state for _, state in states(store)} <= {"ready"}


def test_a_file_that_goes_while_it_is_looked_at_is_no_matter(tmp_path):
    assert retention._modified(str(tmp_path / "gone"), 3.0) == 3.0
    assert room.remove([str(tmp_path / "gone")]) == 0
