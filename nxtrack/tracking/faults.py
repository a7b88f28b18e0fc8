"""Owns what becomes of nxtrack's own faults in the user's process: one warning on the `nxtrack` logger each."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from nxtrack.tracking import streams

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("nxtrack")
_told: set[str] = set()


def warn_once(kind: str, sentence: str) -> None:
    """Logs a sentence, unless one of its kind was logged before in this process.

    Args:
        kind: What counts as the same fault.
        sentence: What happened, to which run, and what that means for the solver.
    """
    if kind in _told:
        return
    _told.add(kind)
    # A broken handler of the user's must not reach the solver through us, nor what we say its run's log.
    with contextlib.suppress(Exception), streams.unheard():
        logger.warning("%s", sentence)


def describe(error: BaseException) -> str:
    """Returns an error as part of a sentence, bounded."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror[0].lower()}{error.strerror[1:]}"
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  (an exception whose text cannot be made is still an exception)
        text = ""
    return (text or type(error).__name__)[:300]


def disk_fault(error: BaseException) -> str:
    """Returns the kind of a fault of the spool: a full disk is one, however many calls it fails."""
    return f"spool: {describe(error)}".rstrip(".")


def absorbed(action: Callable[P, R]) -> Callable[P, R | None]:
    """Makes a function safe to call in a solver's way: a fault of ours is warned of once, and gives None."""

    @functools.wraps(action)
    def safe(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return action(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is ours and not the solver's)
            disk = isinstance(error, OSError)
            warn_once(
                disk_fault(error) if disk else f"{action.__qualname__} {type(error).__name__}",
                f"nxtrack could not {action.__name__.strip('_').replace('_', ' ')}: {describe(error)}; "
                "the solver is not affected.",
            )
            return None

    return safe
