"""Owns the room that a spool takes: how much it may be, what gives way when there is too little, and a reserve.

<spool>/size      bytes that the spool takes, as far as its processes told: measured by whoever makes room
<spool>/reserve   bytes that a flush gives up when the disk is full, as it cannot journal without any
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from nxtrack.errors import SpoolFull, SpoolUnavailable
from nxtrack.spool import counter, layout, system

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.spool.layout import Layout

T = TypeVar("T")

RESERVE_BYTES = 64 * 1024
"""A block of 4 KiB for the journal of each run in flight, twice over."""

SHARE_BYTES = 1 << 20
"""What a process writes, at most, before it tells the others."""

HYSTERESIS = 0.9
"""Room is made down to this part of what is allowed, so that it is not made again for every run."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PAUSES = (0.0, 0.0, 0.01, 0.02, 0.05)
_freeing = threading.Lock()
_LEAST_SHARE = 4096
_REMEASURE_SECONDS = 10.0
_REMEASURE_COSTS = 100
"""Measuring is done again after so many times what it took: a solver waits for it."""


class Room:
    """How full one spool is, as this process knows it. Races between threads cost a little accuracy, and no more."""

    def __init__(self, paths: Layout) -> None:
        """Looks at nothing yet."""
        self._paths = paths
        self._counter = f"{paths.root}{os.sep}size"
        self._reserve = f"{paths.root}{os.sep}reserve"
        self._known: int | None = None
        self._own = 0
        self._share = 0
        self._measure_at = 0.0

    def prepare(self) -> None:
        """Makes the reserve while there is room for it."""
        with suppress(OSError):
            descriptor = os.open(self._reserve, system.CREATE, 0o600)
            try:
                written = os.write(descriptor, b"\n" * RESERVE_BYTES)
            except OSError:
                written = 0
            finally:
                os.close(descriptor)
            if written < RESERVE_BYTES:
                os.unlink(self._reserve)  # noqa: PTH108

    def wrote(self, size: int) -> None:
        """Takes note of bytes that this process wrote. Never raises: it stands in a solver's way."""
        self._own += size
        if self._own < self._share:
            return
        # The first run is told at once, as a process may record only one; then ever less often.
        self._share = min(SHARE_BYTES, max(_LEAST_SHARE, 2 * self._share))
        with suppress(OSError):
            if counter.read(self._counter) is not None:
                self._known = counter.add(self._counter, self._own)
                self._own = 0

    def admit(self, most: int) -> None:
        """Lets a run begin if the spool may grow; makes room first, if that is what it takes.

        Args:
            most: Bytes that the spool may hold.

        Raises:
            SpoolFull: It holds more, none of which may be removed.
        """
        if self._known is not None and self._known + self._own <= most:
            return
        self._known = counter.read(self._counter)
        if self._known is not None and self._known + self._own <= most:
            return
        now = time.monotonic()
        if now >= self._measure_at:
            with suppress(SpoolUnavailable):  # Whether the run can be written will show in a moment.
                make_room(self._paths, most, self)
        if self._known is not None and self._known > most:
            if now >= self._measure_at:
                took = time.monotonic() - now
                self._measure_at = now + took + max(_REMEASURE_SECONDS, _REMEASURE_COSTS * took)
            raise SpoolFull(
                f"The spool is full: runs that wait for delivery take {self._known:,} of the {most:,} bytes that "
                "NXTRACK_MAX_SPOOL allows; `nxtrack flush` makes room."
            )

    def relieve(self, error: OSError) -> bool:
        """Removes synced runs when the disk is full; the reserve is for the flush, which can free more.

        Returns:
            Whether it may be worth trying again.
        """
        now = time.monotonic()
        if error.errno not in _FULL or now < self._measure_at:
            return False
        self._measure_at = now + _REMEASURE_SECONDS
        with suppress(SpoolUnavailable):
            return make_room(self._paths, 0, self).runs > 0
        return False

    def measured(self, size: int) -> None:
        """Takes note of what the spool was found to take."""
        self._known, self._own = size, 0
        with suppress(OSError):
            counter.put(self._counter, size)

    def is_short(self) -> bool:
        """Says whether the reserve was given up, so that whatever can go should go at once."""
        return not os.path.lexists(self._reserve)

    def insist(self, action: Callable[[], T]) -> T:
        """Does what needs room on the disk; when there is none, once more after what may go is gone.

        Raises:
            OSError: It failed, and not for want of room, or there is none to be had.
        """
        for pause in _PAUSES:
            try:
                return action()
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            self._give_way()
            time.sleep(pause)  # Other flushers free room as well.
        return action()

    def _give_way(self) -> None:
        with _freeing:  # One at a time, as a file's room is free a little later than its name.
            try:
                os.unlink(self._reserve)  # noqa: PTH108
            except OSError:
                with suppress(SpoolUnavailable):
                    make_room(self._paths, 0, self)


def forget() -> None:
    """Lets a forked child start from nothing: the lock may be held by a thread that only the parent has."""
    global _freeing  # noqa: PLW0603
    _freeing = threading.Lock()


class Pruned(NamedTuple):
    """What was removed, or would be: runs, and bytes of their files and of files that no run names."""

    runs: int = 0
    size: int = 0


def measure(paths: Layout) -> int:
    """Returns the bytes that all files of a spool take.

    Raises:
        SpoolUnavailable: The spool cannot be read.
    """
    return sum(layout.folder_size(folder)[1] for folder in paths[1:])


def make_room(paths: Layout, most: int, room: Room) -> Pruned:
    """Measures the spool, and removes synced runs, oldest first, while it holds more than `most` bytes.

    Raises:
        SpoolUnavailable: It cannot be read or written.
    """
    total = measure(paths)
    gone_runs = gone = 0
    try:
        if total > most:
            excess = total - HYSTERESIS * most
            sidecars = sidecars_of(paths)
            runs = layout.names(paths)
            active = {run_id for run_id, state in runs if state == "active"}
            for run_id, state in runs:
                if gone >= excess:
                    break
                if state == "synced" and run_id not in active:
                    gone += remove([*sidecars.get(run_id, []), paths.run(run_id, state)])
                    gone_runs += 1
    except OSError as error:
        raise SpoolUnavailable(f"The spool {paths.root} cannot be pruned: {layout.reason(error)}.") from error
    room.measured(total - gone)
    return Pruned(gone_runs, gone)


def sidecars_of(paths: Layout) -> dict[str, list[str]]:
    """Returns the paths of all sidecars, by the ids of their runs."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in listed(paths.payloads):
        found[name.partition(".")[0]].append(paths.payload(name))
    return found


def listed(folder: str) -> list[str]:
    """Lists a folder; one that is not there holds nothing."""
    with suppress(FileNotFoundError):
        return os.listdir(folder)  # noqa: PTH208
    return []


def remove(paths: list[str], *, dry_run: bool = False) -> int:
    """Removes files, in their order; returns how many bytes they took."""
    size = 0
    for path in paths:
        with suppress(FileNotFoundError):
            size += os.lstat(path).st_size
            if not dry_run:
                os.unlink(path)  # noqa: PTH108
    return size
