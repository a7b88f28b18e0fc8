"""Owns what becomes of runs whose process died: they are ended for it, as failed, and handed to delivery."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from nxtrack.errors import RunCorrupt, RunNewer, SpoolError, SpoolUnavailable
from nxtrack.spool import artefacts, captures, claims, frames, growing, layout, owner, reader, solved, system
from nxtrack.spool.layout import STATES
from nxtrack.spool.logfile import write_all
from nxtrack.spool.store import DIED, LOCK_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import AnyRecord, Input, Output, Owner
    from nxtrack.spool.store import Spool

NEWBORN_SECONDS = 60
"""A run's file without its first frame is left alone for so long: its process may be about to write it."""

_PATIENCE_SECONDS = 5.0

_TORN_START = re.compile(rb"[0-9a-f]{1,8}\Z|[0-9a-f]{8} [^\0]*\Z")
"""What a process leaves of its first frame when it dies while it writes it; a power cut may leave zeros."""


@dataclass(slots=True)
class Recovery:
    """What recovery found.

    Attributes:
        recovered: Ids and former owners of runs whose process had died.
        problems: A sentence for each run that was set aside, or could not be looked at.
        quarantined: How many were set aside.
        left: How many could not be looked at.
        elsewhere: Runs of other machines, whose processes cannot be seen from here.
    """

    recovered: list[tuple[str, Owner]] = field(default_factory=list[tuple[str, "Owner"]])
    problems: list[str] = field(default_factory=list[str])
    quarantined: int = 0
    left: int = 0
    elsewhere: int = 0


def recover(spool: Spool, *, other_hosts: bool = False) -> Recovery:
    """Ends the runs whose process died. One bad run never stops it.

    Only one process recovers a spool at a time; who comes second waits a little, then leaves it to the first.

    Args:
        spool: The spool.
        other_hosts: Take runs of other machines for dead too. Only for when that is known.

    Raises:
        SpoolRefused: The spool is somebody else's, or others may write to it.
        SpoolUnavailable: It cannot be read.
    """
    report = Recovery()
    spool.check()
    names = [run[0] for run in map(layout.split_name, layout.unended(spool.paths)) if run is not None]
    if not names:
        captures.sweep(spool.paths)
        return report
    with _alone(spool) as alone:
        for run_id in names if alone else ():
            try:
                _recover_one(spool, run_id, report, other_hosts=other_hosts)
            except SpoolError as error:
                report.problems.append(str(error))
                if isinstance(error, RunCorrupt) and not isinstance(error, RunNewer):
                    report.quarantined += 1
                else:
                    report.left += 1
            except OSError as error:
                report.problems.append(f"Run {run_id} cannot be looked at: {layout.reason(error)}.")
                report.left += 1
        if report.recovered:
            _make_durable(spool)
    return report


def _make_durable(spool: Spool) -> None:
    """Makes the new names of all recovered runs survive a power cut, at once: for each it would take twice as long."""
    try:
        system.sync_folder(spool.paths.runs)
    except OSError as error:
        raise SpoolUnavailable(f"The spool {spool.root} cannot be recovered: {layout.reason(error)}.") from error


def _recover_one(spool: Spool, run_id: str, report: Recovery, *, other_hosts: bool) -> None:
    path = spool.paths.run(run_id, "active")
    descriptor = _open(spool, run_id, path)
    if descriptor is None:
        return
    try:
        try:
            run, content = reader.load(run_id, descriptor)
        except RunNewer:
            raise
        except RunCorrupt:
            if _try_lock(descriptor):
                claims.quarantine(spool, run_id, "active")
                raise
            return
        if run is None:
            _recover_unborn(spool, run_id, descriptor, content)
            return
        if owner.is_foreign(run.start.owner) and not other_hosts:
            report.elsewhere += 1
            return
        locked = _try_lock(descriptor)
        if (not locked or run.start.unlocked) and not owner.is_gone(run.start.owner):
            return
        if not claims.is_same(descriptor, path) or system.has_ended(os.fstat(descriptor).st_mode):
            return  # It ended by itself while we looked.
        # Between our reading and our lock it may have written more.
        run = reader.parse(run_id, reader.read_all(descriptor)) or run
        _end(spool, run, descriptor, locked=locked)
        report.recovered.append((run_id, run.start.owner))
    finally:
        os.close(descriptor)


def _open(spool: Spool, run_id: str, path: str) -> int | None:
    try:
        return layout.open_file(path, system.READ_APPEND)
    except FileNotFoundError:
        return None  # It ended by itself while we looked.
    except OSError as error:
        if error.errno not in layout.NO_FILE:
            raise
        claims.quarantine(spool, run_id, "active")
        raise RunCorrupt(f"Run {run_id} is damaged: it {layout.reason(error)}.") from error


def _end(spool: Spool, run: RunRecord, descriptor: int, *, locked: bool) -> None:
    paths, run_id = spool.paths, run.start.id
    whole, least = (b"", b"") if run.end else _endings(spool, run, descriptor)
    active, ready = paths.run(run_id, "active"), paths.run(run_id, "ready")
    if any(os.path.lexists(paths.run(run_id, state)) for state in STATES if state != "active"):
        os.unlink(active)  # noqa: PTH108  (a recovery before this one died right after it had made the copy below)
    elif locked:
        os.ftruncate(descriptor, run.sound)
        _write(spool, lambda ending: frames.append_whole(descriptor, ending), whole, least)
        os.fsync(descriptor)
        os.rename(active, ready)  # noqa: PTH104
    else:
        # A child process that outlived the run's keeps its file locked for ever: deliver from a copy without a lock.
        # It is made among the payloads, so that it leaves with them should this process die now.
        copy = paths.payload(f"{run_id}.copy")
        content = reader.read_all(descriptor)[: run.sound]
        _write(spool, lambda ending: _write_copy(copy, content + ending), whole, least)
        os.rename(copy, ready)  # noqa: PTH104
        os.unlink(active)  # noqa: PTH108


def _write(spool: Spool, write: Callable[[bytes], object], whole: bytes, least: bytes) -> None:
    """Writes the end of a run's file; where there is no room for the whole of it, no more than it needs."""
    try:
        write(whole)
    except OSError:
        spool.room.insist(lambda: write(least))


def _endings(spool: Spool, run: RunRecord, descriptor: int) -> tuple[bytes, bytes]:
    """Returns what the process would have written last: how its run ended, and what its log holds.

    Once with what its solver said, and once without.
    """
    payloads = [_settled(spool, record) for record in (run.input, run.output) if record is not None and record.growing]
    end = spool.obituary(run, descriptor)
    captures.adopt(spool.paths, run.start)
    try:
        logged = artefacts.logged(spool.paths, run.start)
    except RunCorrupt:
        logged = None  # Something else stands in its place: delivery will find it, and set the run aside.
    last: list[AnyRecord] = [*([] if logged is None else [logged]), *payloads, end]
    said = [] if logged is None else solved.found(spool.paths, run, died=end.error == DIED)
    least, _ = frames.encode(last, run.checksum)
    whole, _ = frames.encode([*said, *last], run.checksum)
    return whole, least


def _settled(spool: Spool, record: Input | Output) -> Input | Output:
    """Returns the record of what was still being written when the process died."""
    try:
        return spool.room.insist(lambda: growing.settle(spool.paths, record))
    except OSError as error:
        if error.errno not in layout.NO_FILE:
            raise
        return msgspec.structs.replace(record, growing=False, size=0, notes=("What there was of it is gone.",))


def _write_copy(path: str, content: bytes) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    target = os.open(path, system.CREATE, 0o600)
    try:
        write_all(target, content)
        os.fsync(target)
    finally:
        os.close(target)


def _recover_unborn(spool: Spool, run_id: str, descriptor: int, content: bytes) -> None:
    """Removes a run of which not even the first frame was written: its solver was never called.

    Raises:
        RunCorrupt: There was more of it once.
    """
    age = time.time() - os.fstat(descriptor).st_mtime
    if 0 <= age < NEWBORN_SECONDS or not _try_lock(descriptor):
        return
    if os.path.lexists(spool.paths.log(run_id)) or (content and not _TORN_START.match(content)):
        claims.quarantine(spool, run_id, "active")
        raise RunCorrupt(f"Run {run_id} is damaged: its file does not begin with its start.")
    with suppress(FileNotFoundError):
        os.unlink(spool.paths.run(run_id, "active"))  # noqa: PTH108


def _try_lock(descriptor: int) -> bool:
    try:
        return system.try_lock(descriptor)
    except OSError:
        return False  # A file system without locks: the process id decides.


@contextmanager
def _alone(spool: Spool) -> Generator[bool]:
    root = spool.root
    try:
        descriptor = spool.room.insist(partial(os.open, spool.paths.recovery_lock, LOCK_FILE, 0o600))
    except OSError as error:
        raise SpoolUnavailable(f"The spool {root} cannot be recovered: {layout.reason(error)}.") from error
    try:
        patience = time.monotonic() + _PATIENCE_SECONDS
        while not (locked := system.try_lock(descriptor)) and time.monotonic() < patience:
            time.sleep(0.02)
    except OSError as error:
        os.close(descriptor)
        raise SpoolUnavailable(
            f"The spool {root} is on a file system without locks, where nothing can be recovered or delivered: "
            f"{layout.reason(error)}."
        ) from error
    try:
        yield locked
    finally:
        with suppress(OSError):  # Even when it fails, the descriptor is closed.
            os.close(descriptor)
