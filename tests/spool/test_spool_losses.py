"""The count of lost runs: told even when the disk was full, and once each."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from nxtrack.errors import SpoolUnavailable
from nxtrack.spool import losses
from nxtrack.spool.store import Spool


@pytest.fixture(autouse=True)
def _nothing_remembered():
    losses.forget()
    yield
    losses.forget()


def test_nothing_is_lost_where_nothing_is(store):
    assert losses.read(store.root) == 0
    store.prepare()
    assert losses.read(store.root) == 0
    assert losses.add(store.root, 0) == 0


def test_losses_are_counted(store):
    store.prepare()
    assert store.count_lost() == 1
    assert store.count_lost() == 2
    assert losses.add(store.root, 5) == 7
    store.prepare()
    assert Spool(store.root).summary().lost == 7
    assert Path(store.root, "lost").read_bytes() == b"00000000000000000007"


@pytest.mark.parametrize("content", [b"", b"garbage, and then some", b"\0" * 20])
def test_a_counter_of_nonsense_starts_again(store, content):
    store.prepare()
    Path(store.root, "lost").write_bytes(content)
    assert losses.read(store.root) == 0
    assert store.count_lost() == 1
    assert losses.read(store.root) == 1


def test_threads_and_processes_count_together(store, start_program):
    store.prepare()
    programs = [start_program("[store.count_lost() for _ in range(100)]") for _ in range(3)]
    threads = [threading.Thread(target=lambda: [store.count_lost() for _ in range(100)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for program in programs:
        assert program.wait(60) == 0
    assert losses.read(store.root) == 600


def test_a_counter_can_be_written_on_a_full_disk(disk, fill, begin):
    spool = Spool(disk("128k"))
    spool.prepare()
    fill(spool.root)
    with pytest.raises(SpoolUnavailable, match="no space"):
        begin(b'"' + b"x" * 9000 + b'"', spool=spool)
    assert spool.count_lost() == 1
    assert losses.read(spool.root) == 1


def test_what_cannot_be_counted_is_remembered_until_a_run_can_be_recorded(store, begin):
    """A spool that could not even be made has no counter yet."""
    Path(store.root).write_text("in the way")
    with pytest.raises(SpoolUnavailable):
        begin()
    assert (store.count_lost(), store.count_lost()) == (1, 2)
    assert losses.remembered(store.root)
    os.unlink(store.root)
    begin().close()
    assert not losses.remembered(store.root)
    assert store.summary().lost == 2


def test_a_forked_child_does_not_count_its_parents_losses(store):
    store.prepare()
    shutil.rmtree(store.root)
    assert store.count_lost() == 1
    child = os.fork()
    if child == 0:
        os._exit(0 if not losses.remembered(store.root) and store.count_lost() == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert losses.remembered(store.root)


def test_a_lock_that_is_held_for_ever_stops_nobody(store, start_program):
    store.prepare()
    program = start_program(
        """
        descriptor = os.open(root + "/lost", os.O_RDWR)
        say(system.try_lock(descriptor))
        time.sleep(60)
        """
    )
    assert program.stdout.readline() == "True\n"
    assert store.count_lost() == 1
