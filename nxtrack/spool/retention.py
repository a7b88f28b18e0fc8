"""Owns what leaves the spool, and what comes back: pruning of delivered runs, rejected runs sent back."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nxtrack.errors import RunCorrupt, SpoolUnavailable
from nxtrack.spool import claims, ids, layout
from nxtrack.spool.records import Retried, now
from nxtrack.spool.room import Pruned, listed, measure, remove, sidecars_of

if TYPE_CHECKING:
    from nxtrack.spool.layout import State
    from nxtrack.spool.store import Spool

_ORPHAN_SECONDS = 24 * 3600
"""A sidecar without a run is left for a day: its run may be about to begin, or its process to end."""


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
    states: tuple[State, ...] = ("synced", "rejected") if rejected else ("synced",)
    try:
        pruned = _prune(spool, states, time.time() - older_than, dry_run=dry_run)
    except OSError as error:
        raise SpoolUnavailable(f"The spool {spool.root} cannot be pruned: {layout.reason(error)}.") from error
    if not dry_run:
        spool.room.prepare()
        spool.room.measured(measure(spool.paths))
    return pruned


def _prune(spool: Spool, states: tuple[State, ...], deadline: float, *, dry_run: bool) -> Pruned:
    paths = spool.paths
    number = size = 0
    sidecars = sidecars_of(spool.paths)
    runs = layout.names(paths)
    # What recovery has made a copy of and not yet removed: without the copy it would make another.
    active = {run_id for run_id, state in runs if state == "active"}
    for run_id, state in runs:
        files = sidecars.pop(run_id, [])
        if state not in states or run_id in active or ids.time_of(run_id).timestamp() > deadline:
            continue
        # The run's own file goes last: killed in between, the rest is found again by it.
        files.append(paths.run(run_id, state))
        if state == "rejected" and not dry_run:
            try:
                claimed = claims.claim(spool, run_id, state)
            except RunCorrupt:
                continue
            if claimed is None:
                continue
            try:
                size += remove(files, dry_run=dry_run)
            finally:
                claimed.release()
        else:
            size += remove(files, dry_run=dry_run)
        number += 1
    size += _prune_orphans(spool, sidecars, dry_run=dry_run)
    return Pruned(number, size)


def _prune_orphans(spool: Spool, sidecars: dict[str, list[str]], *, dry_run: bool) -> int:
    paths, size, now_seconds = spool.paths, 0, time.time()
    # Sidecars of a damaged run are what can be saved of it, for as long as it is kept.
    damaged = {name.partition(".")[0] for name in listed(paths.quarantine)}
    for run_id in sidecars.keys() - damaged:
        if any(os.path.lexists(paths.run(run_id, state)) for state in layout.STATES):
            continue  # It changed its state while the folder was listed.
        files = sidecars[run_id]
        old = [path for path in files if now_seconds - _modified(path, now_seconds) > _ORPHAN_SECONDS]
        size += remove(old, dry_run=dry_run)
    return size


def drop(spool: Spool, run_id: str) -> None:
    """Removes a synced run whose room is needed; what cannot be removed stays."""
    paths = spool.paths
    with suppress(OSError):
        sidecars = [paths.payload(name) for name in listed(paths.payloads) if name.startswith(run_id)]
        remove([*sidecars, paths.run(run_id, "synced")])


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


def _modified(path: str, default: float) -> float:
    with suppress(OSError):
        return os.lstat(path).st_mtime
    return default
