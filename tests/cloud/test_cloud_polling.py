"""How long is waited between two looks, by a clock that stands still but for the waits."""

from __future__ import annotations

import inspect
import threading

import nextmv
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nxtrack.cloud.polling import GaveUp, PollingOptions, poll


class Time:
    """A clock that only `sleep` moves."""

    def __init__(self):
        self.now = 1000.0
        self.waits = []

    def sleep(self, seconds):
        assert seconds >= 0
        self.waits.append(seconds)
        self.now += seconds

    def clock(self):
        return self.now


def looking(options, found_at=None, looks=40, slow=0.0):
    """Polls; the result is there at look number `found_at`. Gives the clock, the looks made, and what ended it."""
    time, made = Time(), []

    def look():
        made.append(time.now)
        time.now += slow
        assert len(made) <= looks
        return "there" if len(made) == found_at else None

    try:
        ended = poll(options, look, sleep=time.sleep, clock=time.clock)
    except GaveUp as error:
        ended = error
    return time, made, ended


def test_names_and_defaults_are_those_of_the_sdk():
    theirs = inspect.signature(nextmv.PollingOptions).parameters
    ours = inspect.signature(PollingOptions).parameters
    assert list(ours) == list(theirs)
    assert {name: ours[name].default for name in ours} == {name: theirs[name].default for name in theirs}


def test_waits_grow_as_the_platforms_own_tools_wait():
    """The SDK (1.13) waits a second, then `min(20, 0.1 + 0.9 * 2**i)` and a random part, for look number i."""
    time, _, ended = looking(PollingOptions(jitter=0), found_at=8)
    assert ended == "there"
    assert time.waits == pytest.approx([1, 1.9, 3.7, 7.3, 14.5, 20, 20, 20])


def test_the_random_part_comes_on_top_and_differs():
    waits = {PollingOptions().wait_after(30) for _ in range(50)}
    assert all(20 <= wait <= 21 for wait in waits)
    assert len(waits) > 10


seconds = st.floats(0, 1e4)


@given(
    backoff=seconds,
    delay=seconds,
    initial_delay=seconds,
    max_delay=seconds,
    jitter=seconds,
    max_duration=st.one_of(st.just(-1.0), seconds),
    max_tries=st.integers(-1, 30),
    found_at=st.integers(1, 30),
    slow=st.floats(0, 10),
)
@example(
    backoff=0.9,
    delay=0.1,
    initial_delay=1.0,
    max_delay=20.0,
    jitter=1.0,
    max_duration=30.0,
    max_tries=-1,
    found_at=30,
    slow=0.0,
)
def test_no_wait_and_no_number_is_exceeded(
    *, backoff, delay, initial_delay, max_delay, jitter, max_duration, max_tries, found_at, slow
):
    options = PollingOptions(backoff, delay, initial_delay, max_delay, max_duration, max_tries, jitter)
    time, made, ended = looking(options, found_at, slow=slow)
    assert all(wait <= max(initial_delay, max_delay + jitter) for wait in time.waits)
    assert max_tries < 0 or len(made) <= max_tries
    if ended == "there":
        assert len(made) == found_at
    else:
        assert len(made) == max_tries or max_duration >= 0
        assert len(made) < found_at
    if max_duration >= 0:
        # The last look begins in time, and one that finds nothing before it is not the last.
        assert all(moment <= 1000 + max_duration + 1e-6 or moment <= made[-2] + slow + 1e-6 for moment in made[1:])
        if ended != "there" and len(made) != max_tries:
            assert made[-1] >= 1000 + max_duration - 1e-6


def test_a_stop_is_asked_for_before_each_look():
    answers = iter([False, False, True])
    _, made, ended = looking(PollingOptions(stop=lambda: next(answers)))
    assert len(made) == 2
    assert "told to stop" in str(ended)


def test_a_wait_of_ones_own():
    time, _, _ = looking(PollingOptions(sleep_duration_func=lambda: 7.0), found_at=3)
    assert time.waits == [1, 7, 7]


def test_no_wait_is_longer_than_a_system_sleeps():
    time, made, _ = looking(PollingOptions(initial_delay=float("inf")), found_at=1)
    assert len(made) == 1
    assert 3600 <= time.waits[0] <= threading.TIMEOUT_MAX


def test_numbers_are_told_in_words_that_fit():
    for tries, told in ((1, "1 look"), (2, "2 looks")):
        assert str(looking(PollingOptions(max_tries=tries))[2]) == told


def test_many_looks_overflow_nothing():
    assert PollingOptions(jitter=0).wait_after(10**6) == 20


def test_being_told(capsys):
    looking(PollingOptions(verbose=True, jitter=0), found_at=2)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "nxtrack: waiting 1.0 s",
        "nxtrack: look 1: not yet",
        "nxtrack: waiting 1.9 s",
        "nxtrack: look 2: done",
    ]
