"""The thread that shows what is written: it looks under its lock, goes on while there is something, and ends."""

from __future__ import annotations

import threading
import time

from nxtrack.tracking import tail
from nxtrack.tracking.tail import Tail


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_looks_under_the_lock_until_it_is_ended():
    lock, looks = threading.RLock(), []

    def look():
        looks.append(lock._is_owned())
        return True

    thread = Tail(lock, look)
    with lock:
        time.sleep(3 * tail.INTERVAL_SECONDS)
        assert looks == []
    within(10, lambda: len(looks) > 2)
    assert (thread.threads, thread.is_over) == (1, False)
    within(10, thread.end)
    assert (thread.threads, thread.is_over) == (0, True)
    number = len(looks)
    time.sleep(3 * tail.INTERVAL_SECONDS)
    assert set(looks) == {True}
    assert len(looks) == number


def test_it_ends_by_itself_when_there_is_nothing_to_show(monkeypatch):
    monkeypatch.setattr(tail, "_IDLE_SECONDS", 0.2)
    began, looks = time.monotonic(), []

    def look():
        looks.append(None)
        return len(looks) == 3

    thread = Tail(threading.RLock(), look)
    within(10, lambda: thread.threads == 0)
    assert thread.is_over
    assert len(looks) >= 3 + 0.2 / tail.INTERVAL_SECONDS
    assert time.monotonic() - began >= 0.3
    assert thread.end()


def test_a_process_that_takes_no_more_threads_has_none(python):
    done = python(
        """
        import resource, threading
        from nxtrack.tracking.tail import Tail
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        threading.stack_size(1 << 31 - 1)
        thread = Tail(threading.RLock(), lambda: True)
        print(thread.threads, thread.is_over)
        """
    )
    assert done.stdout == "0 True\n"
