"""Long-lived processes: thousands of runs leave no memory and no file descriptors behind, and hold nothing up."""

import asyncio
import gc
import sys
import tracemalloc
from pathlib import Path

import pytest

from nxtrack import current_run, track
from nxtrack.spool import writer
from nxtrack.tracking import streams


@track
def solve(problem):
    current_run().log_metric("gap", 0.5)
    print("solving")
    return {"best": problem}


@track
def steps(problem):
    yield problem
    yield problem


@track
async def wait(problem):
    await asyncio.sleep(0)
    return problem


def fails(problem):
    try:
        with track(input=problem):
            raise ValueError
    except ValueError:
        return


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def everything(problem):
    solve(problem)
    list(steps(problem))
    next(steps(problem))
    fails(problem)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors by /proc")
def test_two_thousand_runs_leave_no_descriptor(capsys, recorded):
    everything(1)
    before = descriptors()
    for number in range(500):
        everything(number)
    assert descriptors() <= before  # what earlier tests left may be collected meanwhile
    assert writer._live == {}
    assert len(recorded()) == 2004


def test_ten_thousand_runs_leave_no_memory(capsys, monkeypatch):
    """Not even until the collector comes by, which does not know how large an input is."""
    monkeypatch.setenv("NXTRACK_CAPTURE", "sys")
    problem = list(range(100))
    tracker = track(input=problem)

    async def many():
        for _ in range(500):
            await wait(problem)

    def work(times):
        for _ in range(times):
            everything(problem)
            with tracker:
                pass
        capsys.readouterr()
        asyncio.run(many())
        gc.collect()

    work(100)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work(400)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 50_000
    assert tracker._entered == []
    assert streams._sinks == []


def test_unrecorded_runs_leave_nothing(monkeypatch, capsys):
    monkeypatch.setenv("NXTRACK_MODE", "disabled")
    gc.collect()
    gc.disable()
    try:
        everything(1)
        before = len(gc.get_objects())
        for _ in range(100):
            everything(1)
        assert len(gc.get_objects()) - before < 20
    finally:
        gc.enable()


def test_recorded_runs_leave_no_circles(capsys):
    gc.collect()
    gc.disable()
    try:
        everything(1)
        gc.collect()
        for _ in range(20):
            everything(1)
        assert gc.collect() < 10
    finally:
        gc.enable()


def test_reference_counts_of_what_is_given_and_returned(capsys):
    problem = object()
    identity = track(lambda given: given)
    everything(problem)
    identity(problem)
    before = sys.getrefcount(problem)
    for _ in range(10):
        everything(problem)
        identity(problem)
    assert sys.getrefcount(problem) == before
