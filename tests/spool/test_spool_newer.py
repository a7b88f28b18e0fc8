"""A run that a newer version of nxtrack wrote is left alone by everybody, and told."""

import zlib

import pytest

import nxtrack
from nxtrack.errors import RunNewer
from nxtrack.spool import claims, frames
from nxtrack.spool.layout import State
from nxtrack.spool.recovery import recover

NEWER = b'{"t":"from-the-future"}'


def append(store, run_id: str, state: State) -> None:
    with open(store.paths.found(run_id, state), "rb+") as file:
        checksum = frames.decode(file.read()).checksum
        file.write(b"%08x %b\n" % (zlib.crc32(NEWER, checksum), NEWER))


def test_it_is_not_claimed_and_not_set_aside(store, ready):
    run_id = ready()
    append(store, run_id, "ready")
    with pytest.raises(RunNewer, match="newer nxtrack"):
        claims.claim(store, run_id, "ready")
    nxtrack.configure(dir=store.root, api_key="key", endpoint="http://127.0.0.1:9")
    report = nxtrack.flush()
    assert report.pending == 1
    assert "newer nxtrack" in report.problems[0]
    assert store.summary().quarantined == 0


def test_recovery_leaves_it_too(store, begin):
    run = begin()
    run.close()
    append(store, run.run_id, "active")
    (told,) = recover(store).problems
    assert "newer nxtrack" in told
    assert [entry.state for entry in store.entries()] == ["active"]
