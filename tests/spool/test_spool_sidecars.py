"""Files beside a run's own: kept whole or not at all, and gone with a run that could not be begun."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

import pytest

from nxtrack.spool import ids
from nxtrack.spool.records import Input, Output
from nxtrack.spool.sidecars import Sidecars
from nxtrack.spool.store import Spool


@pytest.fixture
def sidecars(store):
    store.prepare()
    return Sidecars(store.paths, ids.new_id())


def kept(store):
    return sorted(os.listdir(store.paths.payloads))


def test_each_payload_has_a_file_and_its_checksum(store, sidecars):
    first = sidecars.keep(Input, b"[1]", ("a note",), ended=False)
    second = sidecars.keep(Output, b"[2, 3]", (), ended=False)
    assert kept(store) == [first.file, second.file]
    assert (first.size, first.crc, first.notes) == (3, crc32(b"[1]"), ("a note",))
    assert Path(store.paths.payload(second.file)).read_bytes() == b"[2, 3]"
    assert sidecars.size == 9
    assert sidecars.sync()


def test_after_the_run_s_end_nothing_is_written(store, sidecars):
    assert sidecars.keep(Output, b"[1]", (), ended=True).size == 3
    assert kept(store) == []
    assert not sidecars.sync()


def test_a_full_disk_leaves_no_half_of_a_payload(disk, fill):
    spool = Spool(disk("256k"))
    spool.prepare()
    fill(spool.root)
    sidecars = Sidecars(spool.paths, ids.new_id())
    with pytest.raises(OSError, match="No space left"):
        sidecars.keep(Input, b"x" * 100_000, (), ended=False)
    assert kept(spool) == []
    assert sidecars.size == 0


def test_one_that_grows_is_dropped_while_it_is_written_to(store, sidecars):
    record, descriptor = sidecars.grow(Output, "text")
    os.write(descriptor, b"first")
    sidecars.drop(record)
    sidecars.drop(record)
    os.write(descriptor, b"second")
    os.close(descriptor)
    assert kept(store) == []


def test_they_go_with_a_run_that_could_not_be_begun(store, sidecars):
    sidecars.keep(Input, b"[1]", (), ended=False)
    record, descriptor = sidecars.grow(Output)
    os.close(descriptor)
    os.unlink(store.paths.payload(record.file))
    sidecars.remove()
    assert kept(store) == []
