"""Checks that hold after every test of tracking: nothing is left behind, and nothing went wrong unseen."""

from __future__ import annotations

import sys

import pytest

from nxtrack import current_run
from nxtrack.spool.recovery import recover
from nxtrack.spool.store import Spool
from nxtrack.tracking import descriptors, streams


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Spares each run its fsyncs; what they promise is tested with the spool."""
    monkeypatch.setenv("NXTRACK_DURABILITY", "process")


@pytest.fixture
def warned(caplog):
    """Gives the sentences that nxtrack logged; a test without this fixture must not cause any."""
    return lambda: [record.getMessage() for record in caplog.records if record.name == "nxtrack"]


@pytest.fixture(autouse=True)
def nothing_left_behind(request, caplog):
    before = sys.stdout, sys.stderr
    yield
    assert (descriptors._channels, descriptors._saved) == ([], {})
    assert current_run() is None
    left = list(streams._sinks)
    streams._sinks.clear()  # so that one test fails, not all after it
    assert left == []
    assert (sys.stdout, sys.stderr) == before
    assert not isinstance(object.__getattribute__(sys.stdout, "__class__"), streams.StreamProxy)
    if "warned" not in request.fixturenames:
        told = [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)]
        assert [sentence for sentence in told if "nxtrack" in sentence or "not recorded" in sentence] == []


@pytest.fixture
def only(recorded):
    """Gives the one run that was recorded."""

    def read():
        runs = recorded()
        assert len(runs) == 1, runs
        return runs[0]

    return read


@pytest.fixture
def recovered(tmp_path, only):
    """Recovers the one run of a process that died, and returns it."""

    def read():
        recover(Spool(str(tmp_path / "spool")))
        return only()

    return read
