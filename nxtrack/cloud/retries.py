"""Owns how often, and after how long, a request that surely or harmlessly failed is sent again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from nxtrack.errors import AnswerLost, NotReached, RateLimited, UploadExpired

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_BACKOFF: Final = 60.0
"""Seconds of the longest wait that we choose ourselves."""

UNDONE: Final = (NotReached, RateLimited)
"""What says that a request had no effect, so that any may be sent again."""

HARMLESS: Final = (*UNDONE, AnswerLost)
"""What a request may be sent again after when it does no harm to do it twice: a GET, an upload of the same bytes."""

TRANSFER: Final = (*HARMLESS, UploadExpired)
"""What an upload or a download may be tried again after, with a new URL where the old one has expired."""


def backoff(first: float, repetition: int) -> float:
    """Returns the seconds to wait before a repetition: exponential, with full jitter.

    Args:
        first: Longest wait before the first repetition, in seconds.
        repetition: Which repetition it is, from 1.
    """
    return random.uniform(0, min(MAX_BACKOFF, first * 2 ** min(repetition - 1, 32)))  # noqa: S311  (no secret)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _nobody(_seconds: float) -> None:
    """Nobody wants to know that the platform asked for fewer requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How requests are repeated.

    Attributes:
        backoff: Seconds before the first repetition, at most; doubled for each further one.
        attempts: How often a request is sent in all.
        reaching_attempts: How often it is tried to reach a platform that cannot be reached.
        sleep: Waits so many seconds; returns whether waiting makes no sense any more.
        limited: Told the seconds for which the platform is to be left alone, after a 429.
    """

    backoff: float = 1.0
    attempts: int = 4
    reaching_attempts: int = 3
    sleep: Callable[[float], bool] = _sleep
    limited: Callable[[float], None] = _nobody

    def repeat(
        self, action: Callable[[], T], after: tuple[type[Exception], ...], *, reached: Callable[[], int] | None = None
    ) -> T:
        """Does something, and again after the errors that allow it.

        Args:
            action: What to do.
            after: The errors.
            reached: How far the attempts have come, in bytes: one that comes farther than those before begins the
                count anew, so that a large transfer over a bad line ends some time.

        Raises:
            Exception: What the last attempt raised, or the first error that allows no other.
        """
        attempt, farthest = 1, 0
        while True:
            try:
                return action()
            except after as error:
                now = reached() if reached is not None else 0
                if now > farthest:
                    attempt, farthest = 1, now
                if self.is_over(error, attempt):
                    raise
            attempt += 1

    def is_over(self, error: Exception, attempt: int) -> bool:
        """Waits until it may be tried again.

        Args:
            error: What went wrong.
            attempt: Which attempt it was, from 1.

        Returns:
            Whether there is to be no other: there were enough, or the platform asks for a longer wait than we wait.
        """
        if attempt >= (self.reaching_attempts if isinstance(error, NotReached) else self.attempts):
            return True
        delay = backoff(self.backoff, attempt)
        if isinstance(error, RateLimited):
            delay = max(error.retry_after or 0.0, delay)
            if delay > MAX_BACKOFF:
                return True  # Meanwhile what was uploaded would expire.
            self.limited(delay)
        return self.sleep(delay)


NEVER: Final = Patience(attempts=1, reaching_attempts=1)
"""Nothing is sent again: for who decides that himself."""
