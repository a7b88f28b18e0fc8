"""Owns how a remote run is waited for: how long between two looks, and when to look no more."""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LARGEST_EXPONENT: Final = 64
_LONGEST_WAIT: Final = 24 * 3600.0  # A system refuses to sleep for ever.


@dataclass
class PollingOptions:
    """How to wait for a run. Names and defaults are those of the public SDK (1.13); all times are in seconds.

    After `initial_delay` the run is looked at; after look number i, from 1, the wait is
    `min(max_delay, delay + backoff * 2**i)` and up to `jitter` more, evenly at random.

    Attributes:
        backoff: What doubles from look to look.
        delay: What is added to it.
        initial_delay: Before the first look.
        max_delay: The longest wait, but for the jitter.
        max_duration: For all of it; negative for no bound.
        max_tries: Looks at most; negative for no bound.
        jitter: The random part.
        verbose: Tells on stderr how it goes on.
        stop: Asked before each look, whether to give up.
        sleep_duration_func: Gives the wait instead of the formula.
    """

    backoff: float = 0.9
    delay: float = 0.1
    initial_delay: float = 1.0
    max_delay: float = 20.0
    max_duration: float = -1.0
    max_tries: int = -1
    jitter: float = 1.0
    verbose: bool = False
    stop: Callable[[], bool] | None = None
    sleep_duration_func: Callable[[], float] | None = None

    def wait_after(self, look: int) -> float:
        """Returns the seconds to wait after a look, which are counted from 1."""
        if self.sleep_duration_func is not None:
            return max(0.0, self.sleep_duration_func())
        growing = self.delay + self.backoff * 2.0 ** min(look, _LARGEST_EXPONENT)
        return max(0.0, min(self.max_delay, growing) + random.uniform(0, self.jitter))  # noqa: S311  (no secret)


class GaveUp(Exception):
    """The looks or the time are used up; the text says which, and goes into a sentence."""


def poll(
    options: PollingOptions,
    look: Callable[[], T | None],
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Looks until there is something to be seen.

    With `max_duration` the last look is at its end, and no wait goes beyond it.

    Args:
        options: When to look.
        look: Returns what was waited for, or None as long as it is not there.
        sleep: Waits.
        clock: The time in seconds.

    Raises:
        GaveUp: The options say that it is enough.
    """
    began = clock()
    wait, looks = options.initial_delay, 0
    while True:
        if 0 <= options.max_tries <= looks:
            raise GaveUp("1 look" if looks == 1 else f"{looks} looks")
        left = float("inf") if options.max_duration < 0 else options.max_duration - (clock() - began)
        is_last = wait >= left
        wait = max(0.0, min(wait, left, _LONGEST_WAIT))
        _tell(options, f"waiting {wait:.1f} s")
        sleep(wait)
        if options.stop is not None and options.stop():
            raise GaveUp("it was told to stop")
        looks += 1
        result = look()
        _tell(options, f"look {looks}: {'done' if result is not None else 'not yet'}")
        if result is not None:
            return result
        if is_last:
            raise GaveUp(f"{clock() - began:.0f} s")
        wait = options.wait_after(looks)


def _tell(options: PollingOptions, text: str) -> None:
    if options.verbose and sys.stderr is not None:
        sys.stderr.write(f"nxtrack: {text}\n")
