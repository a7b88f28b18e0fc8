"""The pace of a flush, by an injected clock."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.cloud.retries import MAX_BACKOFF, backoff
from nxtrack.delivery.pacing import Aborted, Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def take(pacer: Pacer, clock: Clock, number: int) -> list[float]:
    """Sends `number` requests as fast as the pacer lets them; returns when each went out."""
    times = []
    for _ in range(number):
        clock.now += pacer.reserve()
        times.append(clock.now - 1000)
    return times


def test_requests_are_spaced_evenly():
    clock = Clock()
    assert take(Pacer(5, clock=clock), clock, 6) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_burst_goes_out_at_once_and_then_the_rate_holds():
    clock = Clock()
    assert take(Pacer(10, burst=3, clock=clock), clock, 5) == pytest.approx([0, 0, 0, 0.1, 0.2])


def test_a_pause_earns_no_more_than_the_burst():
    clock = Clock()
    pacer = Pacer(5, clock=clock)
    take(pacer, clock, 3)
    clock.now += 60
    start = clock.now
    assert [t + 1000 - start for t in take(pacer, clock, 3)] == pytest.approx([0, 0.2, 0.4])


def test_no_limit_never_waits():
    clock = Clock()
    assert take(Pacer(0, clock=clock), clock, 100) == [0] * 100


@given(rate=st.floats(0.1, 100), burst=st.floats(1, 50), number=st.integers(1, 200))
def test_never_more_than_the_burst_and_the_rate_allow(rate: float, burst: float, number: int):
    clock = Clock()
    times = take(Pacer(rate, burst=burst, clock=clock), clock, number)
    for first in range(0, number, 7):
        for last in range(first, number, 11):
            allowed = burst + rate * (times[last] - times[first]) + 1
            assert last - first + 1 <= allowed + 1e-6


def test_a_refusal_halves_the_rate_once_for_all_that_were_under_way():
    clock = Clock()
    pacer = Pacer(8, clock=clock)
    for _ in range(5):
        pacer.refused(0)
    assert pacer.rate == 4
    clock.now += 2
    pacer.refused(0)
    assert pacer.rate == 2


def test_a_refusal_holds_everybody_for_as_long_as_it_says():
    clock = Clock()
    pacer = Pacer(5, clock=clock)
    pacer.refused(30)
    times = take(pacer, clock, 2)
    assert times[0] >= 30
    assert times[1] - times[0] == pytest.approx(0.4)


def test_an_unlimited_pace_is_held_too():
    clock = Clock()
    pacer = Pacer(0, clock=clock)
    pacer.refused(7)
    assert take(pacer, clock, 1) == [7]
    assert pacer.rate == 0


def test_success_brings_the_rate_back_step_by_step_and_no_further():
    pacer = Pacer(5, clock=Clock())
    pacer.refused(0)
    pacer.accepted()
    assert pacer.rate == pytest.approx(2.6)
    for _ in range(100):
        pacer.accepted()
    assert pacer.rate == 5


def test_the_rate_never_falls_to_nothing():
    clock = Clock()
    pacer = Pacer(5, clock=clock)
    for _ in range(50):
        pacer.refused(0)
        clock.now += 2
    assert pacer.rate == pytest.approx(0.05)


def test_waiting_ends_at_once_when_the_flush_is_stopped():
    pacer = Pacer(0.01)
    abort = threading.Event()
    pacer.wait(abort)
    threading.Timer(0.05, abort.set).start()
    with pytest.raises(Aborted):
        pacer.wait(abort)
    with pytest.raises(Aborted):
        Pacer(0).wait(abort)


@given(st.integers(1, 1000))
def test_backoff_is_bounded(attempt: int):
    assert 0 <= backoff(1.0, attempt) <= min(MAX_BACKOFF, 2 ** (attempt - 1))
