"""Owns a run while delivery works on it: claimed by its lock, its progress journaled in its own file."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nxtrack.errors import RunCorrupt, SpoolUnavailable
from nxtrack.spool import artefacts, frames, reader, system
from nxtrack.spool.layout import NO_FILE, open_file, reason
from nxtrack.spool.logfile import write_all
from nxtrack.spool.records import Moment, Posting

if TYPE_CHECKING:
    from nxtrack.spool.artefacts import Source
    from nxtrack.spool.layout import State
    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import AnyRecord, Artefact
    from nxtrack.spool.store import Spool


_LATER: dict[State, tuple[State, ...]] = {
    "active": ("ready", "rejected", "unconfirmed", "synced"),
    "ready": ("rejected", "unconfirmed", "synced"),
    "rejected": ("unconfirmed", "synced"),
    "unconfirmed": ("synced",),
    "synced": (),
}
"""Which files of the same run know more of it: a backup copied over the spool brings back older ones."""


class ClaimedRun:
    """A run that only this process may deliver, until it is released or settled.

    The claim is the lock of the run's file: a flusher that is killed gives it back by dying, and what it had done is
    in the journal.

    Attributes:
        run: What is known of the run, journal included.
        state: The state it was claimed in.
    """

    def __init__(self, spool: Spool, run: RunRecord, state: State, descriptor: int) -> None:
        """Takes an open, locked file; see `claim`."""
        self.run = run
        self.state: State = state
        self._spool = spool
        self._descriptor = descriptor
        self._lock = threading.Lock()  # The artefacts of a run are uploaded, and journaled, side by side.

    @property
    def run_id(self) -> str:
        """The run's id in the spool."""
        return self.run.start.id

    def artefact(self, kind: Artefact) -> Source | None:
        """Returns the bytes of an artefact, or None when the run has none of the kind.

        Raises:
            RunCorrupt: They are not what was recorded.
        """
        return artefacts.artefact(self._spool.paths, self.run, kind)

    def checkpoint(self, record: AnyRecord, *, durable: bool = False) -> None:
        """Journals what has been done, or is about to be.

        Args:
            record: What to journal.
            durable: It must survive a power cut before anything else happens.

        Raises:
            SpoolUnavailable: It could not be written; what depends on it must not be done.
        """
        with self._lock:
            frame, checksum = frames.encode([record], self.run.checksum)
            if self._descriptor < 0:
                raise SpoolUnavailable(f"Run {self.run_id} is no longer claimed here.")
            try:
                self._spool.room.insist(lambda: frames.append_whole(self._descriptor, frame))
                if durable:
                    os.fsync(self._descriptor)
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self.run.sound)
                raise SpoolUnavailable(
                    f"Run {self.run_id} is kept as it is: its journal cannot be written, {reason(error)}."
                ) from error
            self.run.sound += len(frame)
            self.run.checksum = checksum
            self.run.add(record)

    def settle(self, state: State, record: AnyRecord | None = None) -> None:
        """Journals an outcome, gives the run its new state and lets go of it.

        Raises:
            SpoolUnavailable: It could not be written. The journal tells what happened so far, and the next claim
                goes on from there.
        """
        try:
            if record is not None:
                self.checkpoint(record, durable=True)
            if state != self.state:
                descriptor = self._take_descriptor()
                if descriptor < 0:
                    raise SpoolUnavailable(f"Run {self.run_id} is no longer claimed here.")
                paths = self._spool.paths
                old, new = paths.run(self.run_id, self.state), paths.run(self.run_id, state)
                system.rename_closing(descriptor, old, new)
                self.state = state
        except OSError as error:
            raise SpoolUnavailable(f"Run {self.run_id} could not be marked {state}: {reason(error)}.") from error
        finally:
            self.release()

    def release(self) -> None:
        """Lets go of the run as it is; safe to call again."""
        descriptor = self._take_descriptor()
        if descriptor >= 0:
            with suppress(OSError):  # Even when it fails, the descriptor is closed.
                os.close(descriptor)

    def _take_descriptor(self) -> int:
        # Under the lock: a thread that still journals must not write to what the number means after the close.
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        return descriptor


def claim(spool: Spool, run_id: str, state: State) -> ClaimedRun | None:
    """Claims a run for delivery.

    Returns:
        The claimed run, or None when another process has it or it is no longer in that state.

    Raises:
        RunCorrupt: Its file is damaged; see `quarantine`.
        SpoolUnavailable: Its file cannot be opened.
    """
    try:
        named = spool.paths.called(run_id, state)
        path = spool.paths.run(run_id, named)
        descriptor = open_file(path, system.READ_APPEND)
    except FileNotFoundError:
        return None
    except OSError as error:
        # Only what is no file of ours is damage: a lack of descriptors, say, will pass.
        kind = RunCorrupt if error.errno in NO_FILE else SpoolUnavailable
        raise kind(f"Run {run_id} cannot be opened: {reason(error)}.") from error
    keep = False
    try:
        if not system.try_lock(descriptor) or not is_same(descriptor, path):
            return None
        if any(os.path.lexists(spool.paths.run(run_id, later)) for later in _LATER[named]):
            raise RunCorrupt(f"Run {run_id} is there twice: this is an older copy of it.")
        run = _load(run_id, descriptor, path)
        if named != state:
            os.rename(path, spool.paths.run(run_id, state))  # noqa: PTH104
            system.unmark(descriptor)
        keep = True
        return ClaimedRun(spool, run, state, descriptor)
    except OSError as error:
        raise SpoolUnavailable(f"Run {run_id} cannot be claimed: {reason(error)}.") from error
    finally:
        if not keep:
            os.close(descriptor)


def _load(run_id: str, descriptor: int, path: str) -> RunRecord:
    """Reads a run that has ended, and takes from its journal what a flusher or a power cut left half written.

    Raises:
        RunCorrupt: The file is damaged.
        OSError: It cannot be read or written.
    """
    run, content = reader.load(run_id, descriptor)
    if run is None or run.end is None:
        raise RunCorrupt(f"Run {run_id} is damaged: its file ends too early.")
    if b"\0" in content[run.sound :]:
        _mend(path, run, os.fstat(descriptor).st_mtime)
    if run.sound < len(content):
        # A flusher died while it wrote to the journal: what it was about to do it has not done.
        os.ftruncate(descriptor, run.sound)
    return run


def _mend(path: str, run: RunRecord, modified: float) -> None:
    """Journals, over what a power cut made of the journal's end, that it may have told of a post."""
    record = Posting(place="", moment=Moment(at=datetime.fromtimestamp(modified, UTC)))
    frame, checksum = frames.encode([record], run.checksum)
    descriptor = os.open(path, system.READ_APPEND & ~os.O_APPEND)
    try:
        os.lseek(descriptor, run.sound, os.SEEK_SET)
        write_all(descriptor, frame)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    run.add(record)
    run.sound, run.checksum = run.sound + len(frame), checksum


def quarantine(spool: Spool, run_id: str, state: State) -> None:
    """Sets a damaged run aside, as it was found and under its name, so that it stops nobody.

    Raises:
        SpoolUnavailable: It cannot be moved.
    """
    paths = spool.paths
    try:
        with suppress(FileNotFoundError):
            found = paths.found(run_id, state)
            os.replace(found, os.path.join(paths.quarantine, os.path.basename(found)))  # noqa: PTH105, PTH118, PTH119
    except OSError as error:
        raise SpoolUnavailable(f"Run {run_id} is damaged and cannot be set aside: {reason(error)}.") from error


def is_same(descriptor: int, path: str) -> bool:
    """Says whether a name still means the file that was opened and locked under it."""
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
