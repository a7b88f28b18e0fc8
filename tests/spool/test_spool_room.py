"""The room of a spool: bounded, made by what was delivered alone, and enough for a flush on a full disk."""

import os
import time
from pathlib import Path

import pytest

from nxtrack.errors import SpoolFull, SpoolUnavailable
from nxtrack.spool import claims, counter, ids, owner, room
from nxtrack.spool.records import Start, Uploaded, now
from nxtrack.spool.room import RESERVE_BYTES, Pruned, make_room
from nxtrack.spool.store import Spool
from nxtrack.spool.writer import Content

BIG = b'"' + b"x" * 300_000 + b'"'


def states(store):
    return sorted((entry.run_id, entry.state) for entry in store.entries())


def begin_within(store, most, content=b"{}"):
    start = Start(id=ids.new_id(), at=now(), owner=owner.this_process())
    return store.begin(start, Content(content), "process", max_spool=most)


def size(store):
    return counter.read(f"{store.root}/size")


def test_room_is_made_by_the_oldest_delivered_runs_alone(store, ready, settled):
    old, middle, young = (settled("synced", age=age) for age in (300, 200, 100))
    rejected = settled("rejected", age=400)
    waiting = ready(BIG)
    whole = store.summary().size
    report = make_room(store.paths, whole - 300_000, store.room)
    assert report.runs == 2
    assert report.size >= 450_000
    assert states(store) == sorted([(young, "synced"), (rejected, "rejected"), (waiting, "ready")])
    assert store.summary().size == whole - report.size == size(store)
    assert not [name for name in os.listdir(store.paths.payloads) if name.startswith((old, middle))]


def test_room_that_is_there_is_not_made(store, settled):
    settled("synced")
    assert make_room(store.paths, store.summary().size, store.room) == Pruned()
    assert make_room(store.paths, 0, store.room).runs == 1
    assert make_room(store.paths, 0, store.room) == Pruned()


def test_a_spool_that_holds_what_it_may_takes_no_new_run(store, ready):
    for _ in range(3):
        ready(BIG)
    before = states(store)
    with pytest.raises(SpoolFull, match=r"runs that wait for delivery take 9\d\d,\d\d\d of the 800,000 bytes"):
        begin_within(store, 800_000)
    assert states(store) == before
    begin_within(store, 2_000_000).close()
    begin_within(store, None).close()


def test_delivered_runs_give_way_to_a_new_one(store, ready, settled):
    settled("synced", age=100)
    waiting = ready(BIG)
    run = begin_within(store, 500_000)
    assert [state for run_id, state in states(store) if run_id == waiting] == ["ready"]
    assert "synced" not in [state for _, state in states(store)]
    run.close()


def test_what_other_processes_wrote_counts(store, run_program):
    store.prepare()
    begin_within(store, 10**6).close()
    for _ in range(4):
        run_program(
            "run = begin(store, b'\"' + b\"x\" * 300_000 + b'\"')\n"
            "run.finish(End(status='succeeded', at=now(), duration_ms=1))"
        )
    assert size(store) > 1_200_000
    with pytest.raises(SpoolFull):
        begin_within(Spool(store.root), 10**6)


def test_a_run_is_no_longer_refused_once_a_flush_made_room(store, settled, ready):
    waiting = [ready(BIG) for _ in range(3)]
    with pytest.raises(SpoolFull):
        begin_within(store, 800_000)
    other = Spool(store.root)
    for run_id in waiting:
        claims.claim(other, run_id, "ready").settle("synced")
    make_room(other.paths, 800_000, other.room)
    begin_within(store, 800_000).close()


def test_measuring_is_not_repeated_for_every_refused_run(store, ready, monkeypatch):
    ready(BIG)
    looked = []
    monkeypatch.setattr(room, "make_room", lambda *given: looked.append(given))
    counter.put(f"{store.root}/size", 10**9)
    for _ in range(5):
        with pytest.raises(SpoolFull):
            begin_within(store, 1000)
    assert len(looked) == 1


def test_small_runs_cost_no_counting_each(store, ready):
    begin_within(store, 10**9).close()
    told = []
    for _ in range(100):
        ready()
        told.append(size(store))
    assert len(set(told)) < 10
    assert told[-1] > 0


def test_without_a_reserve_there_is_one_as_soon_as_there_is_room(disk, fill):
    store = Spool(disk("128k"))
    ballast = fill(store.root)
    store.prepare()
    assert store.room.is_short()
    os.unlink(ballast)
    store.room.prepare()
    assert os.path.getsize(f"{store.root}/reserve") == RESERVE_BYTES
    assert not store.room.is_short()


def uploaded():
    return Uploaded(artefact="input", upload_id="u" * 100, place="there", moment=owner.moment())


def test_a_flush_can_journal_on_a_full_disk(disk, fill, begin, ended):
    store = Spool(disk("512k"))
    run = begin(spool=store)
    run.finish(ended)
    fill(store.root)
    claimed = claims.claim(store, run.run_id, "ready")
    for _ in range(100):
        claimed.checkpoint(uploaded())
    claimed.settle("synced")
    assert store.room.is_short()
    assert states(store) == [(run.run_id, "synced")]


def test_without_a_reserve_delivered_runs_give_way(disk, fill, begin, ended):
    store = Spool(disk("512k"))
    first, second = begin(b'"' + b"x" * 30_000 + b'"', spool=store), begin(spool=store)
    for run in (first, second):
        run.finish(ended)
    claims.claim(store, first.run_id, "ready").settle("synced")
    os.unlink(f"{store.root}/reserve")
    fill(store.root)
    claimed = claims.claim(store, second.run_id, "ready")
    for _ in range(100):
        claimed.checkpoint(uploaded())
    claimed.release()
    assert states(store) == [(second.run_id, "ready")]


def test_a_new_run_has_delivered_ones_give_way_on_a_full_disk(disk, fill, begin, ended):
    store = Spool(disk("512k"))
    first = begin(b'"' + b"x" * 9000 + b'"', spool=store)
    first.finish(ended)
    claims.claim(store, first.run_id, "ready").settle("synced")
    fill(store.root)
    run = begin(b'"' + b"y" * 5000 + b'"', spool=store)
    run.finish(ended)
    assert states(store) == [(run.run_id, "ready")]
    assert not store.room.is_short()  # which is for the flush
    with pytest.raises(SpoolUnavailable, match="no space"):
        begin(b'"' + b"z" * 50_000 + b'"', spool=store)


def test_what_fails_for_another_reason_is_not_tried_again(store):
    store.prepare()
    tried = []

    def fail():
        tried.append(1)
        raise PermissionError(13, "Permission denied")

    with pytest.raises(PermissionError):
        store.room.insist(fail)
    assert len(tried) == 1
    assert not store.room.is_short()


def test_a_counter_that_cannot_be_written_stops_nothing(store, ready):
    ready()
    os.mkdir(Path(store.root, "size"))
    began = time.monotonic()
    for _ in range(20):
        begin_within(store, 10**9).close()
    assert time.monotonic() - began < 1
