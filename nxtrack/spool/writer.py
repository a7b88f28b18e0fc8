"""Owns a run's file while its process lives: the only code of the spool that stands in a solver's way."""

from __future__ import annotations

import os
from _thread import RLock  # what `threading.RLock` gives, by a call less
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from nxtrack.errors import SpoolUnavailable, SpoolUnsafe
from nxtrack.spool import frames, masks, system
from nxtrack.spool.layout import reason
from nxtrack.spool.logfile import LogFile
from nxtrack.spool.reader import read_all
from nxtrack.spool.sidecars import Sidecars

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.settings import Durability
    from nxtrack.spool.captures import Capture
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.records import AnyRecord, Input, Output, Status

INLINE_BYTES = 256 * 1024
"""Payloads up to this size stand in the run's file; larger ones in a file of their own."""

_live: dict[int, RunWriter] = {}


def _nobody(_size: int) -> None:
    """Takes no note."""


class Content(msgspec.Struct, frozen=True):
    """A value as it will be kept, and uploaded.

    Attributes:
        data: UTF-8 JSON on one line.
        notes: What was altered or dropped, a short sentence each, at most 20.
    """

    data: bytes
    notes: tuple[str, ...] = ()


class RunWriter:
    """A run that this process records.

    Its file is locked for as long as the process lives, so whoever finds the lock free knows that the process died.
    In a forked child the parent's writers are detached: they write nothing more, so a child never finishes its
    parent's run.

    Attributes:
        run_id: The run's id.
        detached: This process was forked from the run's own; nothing is written any more.
        locked: The file is locked; where that fails, only the process id tells whether the process lives.
    """

    __slots__ = (
        "_appending",
        "_checksum",
        "_descriptor",
        "_durability",
        "_lock",
        "_log",
        "_max_log",
        "_path",
        "_paths",
        "_sidecars",
        "_told",
        "_waiting",
        "_written",
        "detached",
        "locked",
        "run_id",
    )

    def __init__(
        self,
        paths: Layout,
        run_id: str,
        durability: Durability,
        max_log: int | None = None,
        *,
        told: Callable[[int], None] = _nobody,
        capture: Capture | None = None,
    ) -> None:
        """Creates and locks the run's file.

        Args:
            paths: Where things stand in the spool.
            run_id: The run's id.
            durability: What `finish` promises.
            max_log: Bytes that are kept of its log, or None for all.
            told: Called once, with the bytes that were written for the run, when it is let go.
            capture: What takes its log, and what the process's descriptors are written to, until the run ends.

        Raises:
            OSError: It cannot be created.
        """
        self.run_id = run_id
        self.detached = False
        self._max_log = max_log
        # Most runs say nothing; one whose descriptors are captured may say something at any time.
        self._log = None if capture is None else LogFile(paths, run_id, max_log, capture)
        self._paths = paths
        self._durability = durability
        # Any thread of the run may log or append while another ends it, and a closed descriptor's number may soon be a
        # file of the user's. Reentrant, as a signal handler may log while its own thread does.
        self._lock = RLock()
        self._checksum: int | None = 0
        self._waiting: list[AnyRecord] = []
        self._appending = False
        self._told = told
        self._written = 0
        self._sidecars: Sidecars | None = None
        self.locked = False
        self._path = paths.run(run_id, "active")
        self._descriptor = os.open(self._path, system.CREATE, 0o600)
        try:  # noqa: SIM105  (a context manager would cost as much as the lock)
            self.locked = system.try_lock(self._descriptor)
        except OSError:  # A file system without locks, say: recovery goes by the process id then.
            pass
        if not os.fstat(self._descriptor).st_nlink:
            # A recovery whose clock had jumped took the file for old and empty, before the lock was taken.
            os.close(self._descriptor)
            self._descriptor = os.open(self._path, system.CREATE, 0o600)
            self.locked = system.try_lock(self._descriptor)
        _live[id(self)] = self

    def append(self, *records: AnyRecord) -> None:
        """Writes frames, with one `write()`. After the run's end, nothing.

        Raises:
            OSError: They cannot be written; the file stands as before.
        """
        with self._lock:
            if self._descriptor < 0:
                return
            self._waiting += records
            if self._appending:
                return  # This is a signal handler amid an append of its own thread, which takes these along.
            self._appending = True
            try:
                while self._waiting:
                    batch, self._waiting = self._waiting, []
                    # Unknown until the frames stand: what interrupts us, a Ctrl-C say, may do so on either side of
                    # the write.
                    checksum, self._checksum = self._checksum, None
                    if checksum is None:
                        checksum = frames.decode(read_all(self._descriptor)).checksum
                    pieces, checksum = frames.pieces(batch, checksum)
                    self._written += frames.append_whole(self._descriptor, *pieces)
                    self._checksum = checksum
            finally:
                self._appending = False

    def payload(self, kind: type[Input | Output], content: Content) -> Input | Output:
        """Returns the record of a payload; a large one is written to a sidecar first.

        Raises:
            OSError: The sidecar cannot be written.
        """
        data, notes = content.data, content.notes
        if len(data) <= INLINE_BYTES and b"\n" not in data:
            return kind(data=msgspec.Raw(data), notes=notes)
        return self.sidecars.keep(kind, data, notes, ended=self._descriptor < 0)

    @property
    def sidecars(self) -> Sidecars:
        """The files beside the run's own."""
        with self._lock:
            if self._sidecars is None:  # Most runs have none.
                self._sidecars = Sidecars(self._paths, self.run_id)
            return self._sidecars

    def _opened_log(self) -> LogFile:
        """Returns the run's log, now that there is something for it. Whoever calls this holds the lock."""
        if self._log is None:
            self._log = LogFile(self._paths, self.run_id, self._max_log, None)
        return self._log

    def log_descriptor(self) -> int:
        """Returns a descriptor to append to the run's log with, which is the caller's to close.

        Raises:
            OSError: The log cannot be made.
        """
        with self._lock:
            return self._opened_log().lend()

    def log(self, data: bytes, *, beyond: bool = False) -> None:
        """Appends to the run's log; what is written survives the death of the process. After the run's end, nothing.

        Args:
            data: UTF-8 text.
            beyond: Write it even if the log is full.

        Raises:
            OSError: It cannot be written.
        """
        with self._lock:
            if self._descriptor >= 0 and data:
                self._opened_log().append(data, beyond=beyond)

    def bound_log(self) -> None:
        """Keeps a log within its bound of which a descriptor was lent."""
        with self._lock:
            self._opened_log().bound()

    def foreign_log(self) -> bytes:
        """Returns what others wrote to the run's log, by the process's descriptors, since this was last asked.

        Raises:
            OSError: It cannot be read.
        """
        with self._lock:
            return self._opened_log().foreign()

    def rewrite_log(self, change: Callable[[bytes], bytes]) -> None:
        """Replaces the run's log by what a function makes of it, some lines at a time.

        The function may be the user's in part, and wait for a thread that logs: no lock is held meanwhile.

        Raises:
            OSError: It cannot be written; what there was of it is gone then.
        """
        with self._lock:
            if self._descriptor < 0:
                return
            former = self._opened_log().begin_anew()
        if former is not None:
            try:
                for lines in former.lines():
                    self.log(change(lines))
            finally:
                former.remove()
        if self._descriptor >= 0:  # Else this is a child that the function has forked: the masks are its parent's.
            masks.drop(self._paths, self.run_id)

    @property
    def log_cut(self) -> str:
        """Why some of what was logged was left out; empty when nothing was."""
        return "" if self._log is None else self._log.why_cut()

    @property
    def log_is_empty(self) -> bool:
        """Whether nothing is known to have been written to the log."""
        return self._log is None or self._log.is_empty

    @property
    def log_size(self) -> int:
        """How many bytes the log is known to have."""
        return 0 if self._log is None else self._log.size

    @property
    def log_is_full(self) -> bool:
        """Whether the log takes nothing more, as the disk cannot take the middle of it back."""
        return self._log is not None and self._log.is_full

    def log_ends(self, most: int) -> bytes:
        """Returns what the log holds; of a long one the first and the last `most` bytes, on lines of their own.

        Raises:
            OSError: It cannot be read.
        """
        with self._lock:
            return self._opened_log().ends(most)

    def finish(self, *records: AnyRecord) -> None:
        """Writes the last frames and hands the run over to delivery.

        With `power` durability everything is on the disk before the run counts as ready.

        Raises:
            OSError: The frames could not be written; fewer or smaller ones may be tried.
            SpoolUnsafe: They are written, but could not be made durable or renamed. The run is left to recovery: a
                descriptor whose fsync failed tells nothing true any more, so nothing is tried again.
            SpoolUnavailable: The run's file is gone, and the run with it.
        """
        with self._lock:
            if self._descriptor < 0:
                return
            paths, durable, log = self._paths, self._durability == "power", self._log
            if log is not None and log.is_empty:
                log = None
            if log is not None and (logged := log.logged()) is not None:
                records = (logged, *records)
            self.append(*records)
            try:
                if log is not None:
                    self._written += log.settle()
                if durable:
                    self._sync()
                descriptor, self._descriptor = self._descriptor, -1
                system.end_closing(descriptor, self._path, paths.run(self.run_id, "ready"))
                if durable:
                    system.sync_new(paths.runs)
            except FileNotFoundError as error:
                raise SpoolUnavailable(reason(error)) from error
            except OSError as error:
                raise SpoolUnsafe(reason(error)) from error
            finally:
                self.close()

    def discard(self) -> None:
        """Removes what there is of a run that could not be begun."""
        self.close()
        with suppress(OSError):  # Nothing can be done about it, and recovery copes with an empty run.
            os.unlink(self._path)  # noqa: PTH108
        if self._sidecars is not None:
            self._sidecars.remove()

    def close(self) -> None:
        """Lets go of the run; unless it is finished, recovery takes it for one whose process died."""
        _live.pop(id(self), None)
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            written, self._written = self._written, 0
            if self._sidecars is not None:
                written += self._sidecars.size
                self._sidecars.size = 0
            if self._log is not None:
                self._log.close()
        if written:
            self._told(written)
        if descriptor >= 0:
            with suppress(OSError):  # It is closed even then; what must not be lost was fsynced.
                os.close(descriptor)

    def abandon(self, status: Status) -> bool:
        """Lets go of a run that ended, when its end cannot be written down.

        A full disk still takes a change of mode, so that says how it ended; recovery puts it into words.

        Returns:
            Whether that was taken.
        """
        marked = False
        with suppress(OSError), self._lock:
            if self._descriptor >= 0:
                system.mark(self._descriptor, well=status == "succeeded")
                marked = True
        self.close()
        return marked

    def detach(self) -> None:
        """Lets go of the run in a forked child, whose copy of the lock may be held for ever."""
        self._lock = RLock()
        self.detached = True
        self._told = _nobody  # The parent tells what it wrote.
        self.close()

    def _sync(self) -> None:
        beside = self._sidecars is not None and self._sidecars.sync()
        if (self._log is not None and self._log.sync()) or beside:
            system.sync_new(self._paths.payloads)
        os.fsync(self._descriptor)


def detach_all() -> None:
    """Lets go of all runs of the parent, in a forked child: the parent's locks must end with the parent."""
    for writer in list(_live.values()):
        writer.detach()
    _live.clear()
