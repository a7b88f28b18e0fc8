"""Owns whether a run's text is captured at the descriptors, and by which files it comes.

By itself only where that is safe: descriptors belong to the whole process, so where several threads or tasks solve at
once Python's streams alone tell whose text it is.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nxtrack.tracking import stdio
from nxtrack.tracking.faults import describe, warn_once

if TYPE_CHECKING:
    from nxtrack.settings import Stream
    from nxtrack.spool.captures import Capture
    from nxtrack.spool.store import Spool
    from nxtrack.spool.writer import RunWriter
    from nxtrack.tracking.state import RunState

DESCRIPTORS: dict[Stream, int] = {"stdout": 1, "stderr": 2}
_STDERR = 2
_LEAST_FREE_BYTES = 64 << 20
"""Room on the disk below which descriptors are given back: what C code writes to a full disk is lost for the user."""

_LOOK_SECONDS = 0.5
_crowded = False
_running: dict[int, RunState] = {}
_free = [0.0, 0.0]
"""From when to when there is known to be room."""


class Channel:
    """The way of one run's text from the descriptors to its log.

    Attributes:
        capture: What takes the log.
        errors: What takes descriptor 2 when that leads elsewhere than descriptor 1.
        insisted: It was asked for, and not found to be safe.
        notes: What should be known of it.
        shared: The text may be another run's.
        foreign: Something came by it.
        writer: The run's file, once it has begun.
    """

    __slots__ = ("_err", "_out", "_run", "capture", "errors", "foreign", "insisted", "notes", "shared", "writer")

    def __init__(
        self, run: RunState, chosen: tuple[Stream, ...], capture: Capture, errors: Capture | None, *, insisted: bool
    ) -> None:
        """Takes what the attributes are, and which streams it is for."""
        self.capture = capture
        self.errors = errors
        self.insisted = insisted
        self.notes: list[str] = []
        self.shared = False
        self.foreign = False
        self.writer: RunWriter | None = None
        self._run: RunState | None = run
        self._out, self._err = "stdout" in chosen, "stderr" in chosen

    def capture_of(self, descriptor: int) -> Capture | None:
        """Returns what a descriptor leads to while the run is current, or None where it leads where it led before."""
        if descriptor == _STDERR:
            return (self.errors or self.capture) if self._err else None
        return self.capture if self._out else None

    def is_around(self, run: RunState | None) -> bool:
        """Says whether a run is this one, or began in it."""
        while run is not None and run is not self._run:
            run = run.parent
        return run is not None

    def is_beside(self, other: Channel) -> bool:
        """Says whether another run is a different one, and did not begin in this one, nor this one in it."""
        return not self.is_around(other._run) and not other.is_around(self._run)

    def has_company(self) -> bool:
        """See `has_company`."""
        return len(_running) > 1 and self._run is not None and has_company(self._run)

    def forget_run(self) -> None:
        """Lets go of the run, which has ended."""
        self._run = None


def open_channel(spool: Spool, run: RunState, chosen: tuple[Stream, ...], *, insisted: bool) -> Channel | None:
    """Returns the way of a run's text, or None where descriptors cannot be captured.

    Args:
        spool: Where the run will be.
        run: The run, which has not begun.
        chosen: The streams that are to be captured.
        insisted: Whether the user asked for it; otherwise it is not done where it might go wrong.
    """
    if not insisted and (_crowded or threading.get_ident() != threading.main_thread().ident):
        return None
    try:
        if reason := stdio.why_not() or _disk_is_short(spool):
            if insisted:
                warn_once(f"fd: {reason}", f"nxtrack captures what Python prints, but no descriptors: {reason}.")
            return None
        apart = _lead_apart(chosen)
        if apart is None:
            return None
        capture = spool.captures.take()
        try:
            errors = spool.captures.take() if apart else None
        except BaseException:
            spool.captures.give_back(capture)
            raise
    except OSError as error:
        if insisted:
            warn_once("fd", f"nxtrack captures what Python prints, but no descriptors: {describe(error)}.")
        return None
    channel = Channel(run, chosen, capture, errors, insisted=insisted)
    channel.shared = channel.has_company()
    return channel


def _lead_apart(chosen: tuple[Stream, ...]) -> bool | None:
    """Says whether the chosen descriptors lead to different places; None when one of them leads nowhere."""
    apart = None
    first: tuple[int, int] | None = None
    try:
        for name in chosen:
            found = os.fstat(DESCRIPTORS[name])
            place = found.st_dev, found.st_ino
            apart = first is not None and place != first
            first = place
    except OSError:
        return None
    return apart


def _disk_is_short(spool: Spool) -> str:
    now = time.monotonic()
    if not _free[0] <= now < _free[1]:
        if is_short(spool.root):
            return "the disk is nearly full"
        _free[:] = now, now + _LOOK_SECONDS
    return ""


def is_short(place: str | int) -> bool:
    """Says whether there is so little room on a disk, of which a folder or a descriptor is given, that it may be full.

    What C code writes to a full disk is lost for the user as well, as C code does not try again.
    """
    if sys.platform != "win32":
        with suppress(OSError):
            found = os.statvfs(place)
            return found.f_bavail * found.f_frsize < _LEAST_FREE_BYTES
    return False


def goes_on(run: RunState) -> bool:
    """Tells that a run's code is about to go on; says whether code of any other does meanwhile."""
    _running[id(run)] = run
    return len(_running) > 1


def pauses(run: RunState) -> None:
    """Tells that a run's code has ended, or gives control away."""
    _running.pop(id(run), None)


def has_company(run: RunState) -> bool:
    """Says whether code of another run goes on meanwhile, and not as this one is, or began, in it."""
    around: RunState | None = run
    number = 0
    while around is not None:
        number += id(around) in _running
        around = around.parent
    return len(_running) > number


def crowd() -> None:
    """Tells that runs of this process were seen side by side: from now on none is captured without being asked."""
    global _crowded  # noqa: PLW0603
    _crowded = True


def forget() -> None:
    """Lets a forked child start alone."""
    global _crowded  # noqa: PLW0603
    _running.clear()
    _crowded = False
