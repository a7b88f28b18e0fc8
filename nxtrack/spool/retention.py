"""Owns what leaves the spool, and what comes back: pruning of delivered runs, rejected runs sent back."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nxtrack.errors import RunCorrupt
from nxtrack.spool import claims, ids, layout
from nxtrack.spool.records import Retried, now

if TYPE_CHECKING:
    from nxtrack.spool.layout import State
    from nxtrack.spool.store import Spool

_ORPHAN_SECONDS = 24 * 3600
"""A sidecar without a run is left for a day: its run may be about to begin, or its process to end."""


@dataclass(slots=True)
class Pruned:
    """What was removed, or would be.

    Attributes:
        runs: Number of runs.
        size: Bytes of their files, and of files that no run names.
    """

    runs: int = 0
    size: int = 0


def prune(spool: Spool, *, older_than: float = 0.0, rejected: bool = False, dry_run: bool = False) -> Pruned:
    """Removes synced runs; runs that still wait for delivery are never touched.

    Args:
        spool: The spool.
        older_than: Seconds since a run began, below which it stays.
        rejected: Remove rejected runs too.
        dry_run: Only count.

    Raises:
        SpoolRefused: The spool is somebody else's, or others may write to it.
        SpoolUnavailable: It cannot be read or written.
    """
    spool.check()
    sidecars = _sidecars(spool)
    states: tuple[State, ...] = ("synced", "rejected") if rejected else ("synced",)
    report = Pruned()
    deadline = time.time() - older_than
    for run_id, state in layout.names(spool.paths):
        files = sidecars.pop(run_id, [])
        if state not in states or ids.time_of(run_id).timestamp() > deadline:
            continue
        # The run's own file goes last: killed in between, the rest is found again by it.
        paths = [*files, spool.paths.run(run_id, state)]
        if state == "rejected" and not dry_run:
            try:
                claimed = claims.claim(spool, run_id, state)
            except RunCorrupt:
                continue
            if claimed is None:
                continue
            report.size += _remove(paths, dry_run=dry_run)
            claimed.release()
        else:
            report.size += _remove(paths, dry_run=dry_run)
        report.runs += 1
    now_seconds = time.time()
    for run_id, files in sidecars.items():
        if any(os.path.lexists(spool.paths.run(run_id, state)) for state in layout.STATES):
            continue  # It changed its state while the folder was listed.
        old = [path for path in files if now_seconds - _modified(path, now_seconds) > _ORPHAN_SECONDS]
        report.size += _remove(old, dry_run=dry_run)
    return report


def retry(spool: Spool, run_id: str) -> bool:
    """Sends a rejected run back to the runs that wait for delivery.

    Returns:
        Whether it was sent back; not when it is no longer rejected, or another process has it.

    Raises:
        RunCorrupt: Its file is damaged.
        SpoolUnavailable: It cannot be written.
    """
    claimed = claims.claim(spool, run_id, "rejected")
    if claimed is None:
        return False
    claimed.settle("ready", Retried(at=now()))
    return True


def _sidecars(spool: Spool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    with suppress(FileNotFoundError):
        for name in os.listdir(spool.paths.payloads):  # noqa: PTH208
            found[name.partition(".")[0]].append(spool.paths.payload(name))
    return found


def _remove(paths: list[str], *, dry_run: bool) -> int:
    size = 0
    for path in paths:
        with suppress(FileNotFoundError):
            size += os.lstat(path).st_size
            if not dry_run:
                os.unlink(path)  # noqa: PTH108
    return size


def _modified(path: str, default: float) -> float:
    with suppress(OSError):
        return os.lstat(path).st_mtime
    return default
