"""Owns the pace of a flush: how many requests a second, and how to give way when the platform says it is too many."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWEST = 0.05
"""Requests a second below which the pace never falls."""

ONE_REFUSAL_SECONDS = 1.0
"""Refusals closer together than this slow the pace down once."""


class Aborted(Exception):
    """The flush was told to stop at once."""


class Pacer:
    """Spaces requests evenly: at most `rate` a second, after a first burst.

    A refusal (429) halves the rate; each success gives back a fiftieth of what is allowed.
    """

    def __init__(self, rate: float, *, burst: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes requests a second, 0 for no limit, and how many may go out at once after a pause."""
        self._allowed = rate
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._next = clock() - burst / rate if rate else 0.0
        self._held_until = 0.0
        self._refused_at = -ONE_REFUSAL_SECONDS
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Requests a second at the moment; 0 for no limit."""
        return self._rate

    def reserve(self) -> float:
        """Takes the next free place; returns the seconds until it comes."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._held_until)
            if self._rate:
                interval = 1 / self._rate
                self._next = max(self._next, now - self._burst * interval) + interval
                slot = max(slot, self._next)
            return slot - now

    def wait(self, abort: threading.Event) -> None:
        """Waits for the next free place.

        Raises:
            Aborted: The flush was told to stop meanwhile.
        """
        delay = self.reserve()
        if abort.wait(delay) if delay > 0 else abort.is_set():
            raise Aborted

    def refused(self, seconds: float) -> None:
        """Slows down, and holds everybody for some seconds.

        Requests that were under way together are refused together: that is one refusal.
        """
        with self._lock:
            now = self._clock()
            again = now < self._refused_at + ONE_REFUSAL_SECONDS
            self._refused_at = now
            self._held_until = max(self._held_until, now + seconds)
            if self._allowed and not again:
                self._rate = max(self._rate / 2, min(SLOWEST, self._allowed))
            self._next = max(self._next, self._held_until)

    def accepted(self) -> None:
        """Goes a little faster again, up to what is allowed."""
        with self._lock:
            self._rate = min(self._allowed, self._rate + self._allowed / 50)
