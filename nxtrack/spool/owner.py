"""Owns the question whose a run is, and whether that process still lives."""

from __future__ import annotations

import os
import sys
import time

from nxtrack.spool import system
from nxtrack.spool.records import Moment, Owner, now

_known: dict[int, Owner] = {}


def this_process() -> Owner:
    """Returns what identifies this process."""
    pid = os.getpid()
    known = _known.get(pid)  # By pid, so that a forked child does not go by its parent's.
    if known is None:
        known = Owner(
            pid=pid,
            started=system.process_started(pid) or 0,
            boot=system.boot_id(),
            pidns=system.pid_namespace(),
            host=system.host_id(),
        )
        if known.boot or sys.platform != "linux":  # Linux always tells its boot, unless there is no descriptor left.
            _known[pid] = known
    return known


def moment() -> Moment:
    """Returns the time now, on both clocks."""
    return Moment(at=now(), boot=this_process().boot, monotonic=time.monotonic())


def is_foreign(owner: Owner) -> bool:
    """Says whether a run was made on another machine, whose locks may not be seen from here.

    The same boot is the same machine, whatever a container calls itself.
    """
    ours = this_process()
    return not (owner.boot and owner.boot == ours.boot) and owner.host != ours.host


def is_gone(owner: Owner) -> bool:
    """Says whether a process surely lives no more, although something still holds its lock.

    A pid counts only in its own boot and pid namespace: in any other it may be anybody's.
    """
    ours = this_process()
    if owner.boot and ours.boot and owner.boot != ours.boot:
        return not is_foreign(owner)
    if owner.host != ours.host or owner.pidns != ours.pidns:
        return False
    started = system.process_started(owner.pid)
    return started is None or bool(started and owner.started and started != owner.started)
