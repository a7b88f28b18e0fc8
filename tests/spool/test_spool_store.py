"""The spool as its users see it: beginning, finding, reading and counting runs, in a folder that may go any time."""

import os
import shutil
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nxtrack.errors import RunCorrupt, RunNotFound, SpoolRefused, SpoolUnavailable
from nxtrack.spool import claims, ids, owner
from nxtrack.spool.listing import Entry
from nxtrack.spool.records import Owner, Start, now
from nxtrack.spool.store import DIED, Spool, spool

BIG = b'"' + b"x" * 300_000 + b'"'


def test_there_is_one_spool_for_each_folder(tmp_path):
    assert spool(str(tmp_path / "a")) is spool(str(tmp_path / "a"))
    assert spool(str(tmp_path / "a")) is not spool(str(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["hermetic-home"]


@pytest.mark.parametrize("what", ["", "runs", "payloads", "quarantine", "lost"])
def test_a_folder_that_vanished_is_made_again(store, begin, ready, what):
    first = begin()
    gone = os.path.join(store.root, what)
    shutil.rmtree(gone) if what != "lost" else os.unlink(gone)
    before = len(os.listdir("/proc/self/fd"))
    run_id = ready(BIG)
    assert store.artefact(store.read(Entry(run_id, "ready")), "input").read() == BIG
    assert len(os.listdir("/proc/self/fd")) == before
    first.close()


def test_a_folder_that_cannot_be_made_again_is_told(store, begin):
    begin().close()
    shutil.rmtree(store.paths.payloads)
    os.symlink("/nowhere", store.paths.payloads)
    with pytest.raises(SpoolRefused, match="is not a folder"):
        begin(BIG)
    os.unlink(store.paths.payloads)
    store.prepare()
    shutil.rmtree(store.paths.runs)
    Path(store.paths.runs).write_text("")
    with pytest.raises(SpoolUnavailable, match="not a directory"):
        begin(BIG)


def test_a_folder_that_vanishes_all_the_time_stops_nobody(store, begin, hurried):
    stop, begun, told = threading.Event(), [], []

    def clean():
        while not stop.is_set():
            shutil.rmtree(store.root, ignore_errors=True)

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        while len(begun) + len(told) < 150:
            try:
                run = begin(BIG)
                run.close()
                begun.append(run)
            except SpoolUnavailable as error:
                told.append(error)
    finally:
        stop.set()
        thread.join()
    begin().close()


def test_a_run_is_found_by_the_beginning_of_its_id(store, ready):
    run_id = ready()
    assert store.find(run_id) == Entry(run_id, "ready")
    assert store.find(run_id.lower()) == Entry(run_id, "ready")
    assert store.find(run_id[:20]).run_id == run_id
    ready()
    with pytest.raises(RunNotFound, match=f"2 runs begin with {run_id[:2]}; give more"):
        store.find(run_id[:2])
    with pytest.raises(RunNotFound, match="nxtrack list"):
        store.find("7")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_id_finds_no_run(store, ready, number):
    for _ in range(number):
        ready()
    with pytest.raises(RunNotFound):
        store.find("")


def test_dead_runs_are_listed_as_what_they_will_be(store, begin, ready):
    live, dead, waiting = begin(), begin(), ready()
    dead.close()
    assert [*store.entries()] == [
        Entry(live.run_id, "active"),
        Entry(dead.run_id, "ready", died=True),
        Entry(waiting, "ready"),
    ]
    assert [*store.entries("active")] == [Entry(live.run_id, "active")]
    assert [*store.entries("ready")] == [Entry(dead.run_id, "ready", died=True), Entry(waiting, "ready")]
    assert [*store.entries("synced")] == []
    assert store.read(Entry(dead.run_id, "ready", died=True)).end.error == DIED
    live.close()


def test_a_summary_counts_what_there_is(store, begin, ready):
    before = datetime.now(UTC)
    live, dead, first = begin(), begin(), ready(BIG)
    dead.close()
    for state in ("synced", "rejected", "unconfirmed"):
        claims.claim(store, ready(), "ready").settle(state)
    claims.quarantine(store, ready(), "ready")
    found = store.summary()
    assert found.counts == {"active": 1, "ready": 2, "unconfirmed": 1, "synced": 1, "rejected": 1}
    assert (found.died, found.quarantined, found.lost) == (1, 1, 0)
    assert found.size == sum(path.stat().st_size for path in Path(store.root).glob("*/*"))
    assert found.size > len(BIG)
    assert (before - found.oldest_ready).total_seconds() < 1
    assert found.oldest_active == ids.time_of(live.run_id)
    assert found.oldest_ready == ids.time_of(dead.run_id)
    assert found.oldest_ready <= ids.time_of(first)
    live.close()


def test_a_run_of_another_machine_is_not_dead(store, begin):
    run = begin(owner=Owner(pid=1, boot="another", host="another"))
    run.close()
    assert not store.died(run.run_id)


def test_looking_does_not_keep_a_lock(store, begin):
    run = begin()
    run.close()
    for _ in range(3):
        assert store.died(run.run_id)
    assert not store.died(ids.new_id())


def test_a_damaged_run_is_told_when_it_is_read(store, ready):
    run_id = ready()
    Path(store.paths.found(run_id, "ready")).write_bytes(b"x\n")
    with pytest.raises(RunCorrupt):
        store.read(Entry(run_id, "ready"))


def test_a_run_that_cannot_be_begun_removes_its_payload(store):
    store.prepare()
    start = Start(id=ids.new_id(), at=now(), owner=owner.this_process())

    class Broken(bytes):
        def __len__(self):
            raise MemoryError

    from nxtrack.spool.writer import Content

    with pytest.raises(MemoryError):
        store.begin(start, Content(Broken(b"{}")), "process")
    assert os.listdir(store.paths.runs) == []


def test_a_read_only_spool_can_be_looked_into_and_not_begun_in(disk, begin, ended):
    import subprocess

    small = Spool(disk("1m"))
    run = begin(spool=small)
    run.finish(ended)
    subprocess.run(["mount", "-o", "remount,ro", small.root], check=True)
    again = Spool(small.root)
    for each in (small, again):
        with pytest.raises(SpoolUnavailable, match="read-only file system"):
            begin(spool=each)
    assert again.summary().counts["ready"] == 1
    assert again.read(again.find(run.run_id)).end == ended
    with pytest.raises(SpoolUnavailable, match="read-only file system"):
        claims.claim(again, run.run_id, "ready")
    assert os.listdir(again.paths.quarantine) == []


def test_a_disk_without_room_for_the_counter_is_told(disk, fill):
    small = Spool(disk("64k") + "/spool")
    fill(os.path.dirname(small.root))
    with suppress(SpoolUnavailable):
        small.prepare()
    with pytest.raises(SpoolUnavailable, match="no space left"):
        small.begin(Start(id=ids.new_id(), at=now(), owner=owner.this_process()), None, "process")


def test_runs_that_wait_are_the_ready_ones_then_the_unconfirmed_oldest_first(store, settled, begin):
    states = ("unconfirmed", "ready", "synced", "ready", "unconfirmed", "rejected")
    runs = [(settled(state, content=b"1"), state) for state in states]
    alive = begin()
    for name in ("README.ready", "0.unconfirmed", f"{ids.new_id()}.ready.bak"):
        Path(store.paths.runs, name).touch()
    waiting = store.waiting()
    assert [waiting[number] for number in range(len(waiting))] == [
        Entry(run_id, wanted) for wanted in ("ready", "unconfirmed") for run_id, state in runs if state == wanted
    ]
    alive.close()


def test_no_runs_wait_in_a_spool_that_is_not_there(tmp_path):
    assert not Spool(str(tmp_path / "none")).waiting()


def test_entries_newest_first_are_those_oldest_first_reversed(store, settled, begin):
    for state in ("ready", "synced", "rejected", "ready"):
        settled(state, content=b"1")
    alive, dead = begin(), begin()
    dead.close()
    assert list(store.entries(newest_first=True)) == list(store.entries())[::-1]
    assert len(list(store.entries())) == 6
    alive.close()
