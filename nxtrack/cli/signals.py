"""Owns what Ctrl-C and SIGTERM mean to a command that works on: the first asks it to stop, the second insists."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType


PIECE_SECONDS = 0.2
"""How long `rest` sleeps at a time."""


def rest(stop: threading.Event, seconds: float) -> None:
    """Sleeps until `stop` is set, for `seconds` at most.

    In the main thread `stop.wait` will not do: a signal that came while it holds the event's lock would have the
    handler wait for that lock for ever.
    """
    until = time.monotonic() + seconds
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, PIECE_SECONDS))


@contextmanager
def tidying_up() -> Generator[None]:
    """Has SIGTERM end the process by an exception, so that what is half done is removed; its status stays 143."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stopping_by(stop: threading.Event, *, told: Callable[[], object] | None = None) -> Generator[None]:
    """Has the first SIGINT or SIGTERM set `stop`, and each later one raise KeyboardInterrupt.

    Args:
        stop: Set by the first signal.
        told: Called, in the signal handler, when the first one came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's affair.
        return

    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt
        stop.set()
        if told is not None:
            told()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
