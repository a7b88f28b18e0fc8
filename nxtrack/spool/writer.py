"""Owns a run's file while its process lives: the only code of the spool that stands in a solver's way."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import msgspec

from nxtrack.errors import SpoolUnavailable, SpoolUnsafe
from nxtrack.spool import frames, system
from nxtrack.spool.layout import reason
from nxtrack.spool.reader import read_all
from nxtrack.spool.records import Input, Logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.settings import Durability
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.records import AnyRecord, Form, Output, Status

INLINE_BYTES = 256 * 1024
"""Payloads up to this size stand in the run's file; larger ones in a file of their own."""

_live: dict[int, RunWriter] = {}


def _nobody(_size: int) -> None:
    """Takes no note."""


class Content(NamedTuple):
    """Encoded JSON to be kept, and what was altered while it was encoded."""

    data: bytes
    notes: tuple[str, ...] = ()


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`, in one call unless the system takes only a part.

    Raises:
        OSError: It could not be written whole.
    """
    written = os.write(descriptor, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def append_whole(descriptor: int, data: bytes) -> None:
    """Writes frames at the end of a run's file, all of them or nothing; nobody else may write to it meanwhile.

    What is torn in the middle of a file would look like damage once more follows it.

    Raises:
        OSError: They could not be written; the file stands as before.
    """
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:] if written else data)
    except OSError:
        if written:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise


class RunWriter:
    """A run that this process records.

    Its file is locked for as long as the process lives, so whoever finds the lock free knows that the process died.
    In a forked child the parent's writers are detached: they write nothing more, so a child never finishes its
    parent's run.

    Attributes:
        run_id: The run's id.
        detached: This process was forked from the run's own; nothing is written any more.
        locked: The file is locked; where that fails, only the process id tells whether the process lives.
        log_cut: Why some of what was logged was left out; empty when nothing was.
    """

    __slots__ = (
        "_appending",
        "_checksum",
        "_descriptor",
        "_durability",
        "_lock",
        "_log",
        "_numbers",
        "_paths",
        "_room",
        "_sidecars",
        "_told",
        "_waiting",
        "_written",
        "detached",
        "locked",
        "log_cut",
        "run_id",
    )

    def __init__(
        self,
        paths: Layout,
        run_id: str,
        durability: Durability,
        max_log: int | None = None,
        told: Callable[[int], None] = _nobody,
    ) -> None:
        """Creates and locks the run's file; its log takes `max_log` bytes, or any number.

        `told` is called once, with the bytes that were written for the run, when it is let go.

        Raises:
            OSError: It cannot be created.
        """
        self.run_id = run_id
        self.detached = False
        self.log_cut = ""
        self._room = max_log
        self._paths = paths
        self._durability = durability
        # Any thread of the run may log or append while another ends it, and a closed descriptor's number may soon be a
        # file of the user's. Reentrant, as a signal handler may log while its own thread does.
        self._lock = threading.RLock()
        self._log = -1
        self._checksum: int | None = 0
        self._waiting: list[AnyRecord] = []
        self._appending = False
        self._told = told
        self._written = 0
        self._sidecars: list[str] = []
        self._numbers = count()
        self.locked = False
        self._descriptor = os.open(paths.run(run_id, "active"), system.CREATE, 0o600)
        with suppress(OSError):  # A file system without locks, say: recovery goes by the process id then.
            self.locked = system.try_lock(self._descriptor)
        if self._is_gone():
            # A recovery whose clock had jumped took the file for old and empty, before the lock was taken.
            os.close(self._descriptor)
            self._descriptor = os.open(paths.run(run_id, "active"), system.CREATE, 0o600)
            self.locked = system.try_lock(self._descriptor)
        _live[id(self)] = self

    def _is_gone(self) -> bool:
        with suppress(OSError):
            return not os.fstat(self._descriptor).st_nlink
        return False

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
                    self._append(batch)
            finally:
                self._appending = False

    def _append(self, batch: list[AnyRecord]) -> None:
        # Unknown until the frames stand: what interrupts us, a Ctrl-C say, may do so on either side of the write.
        checksum, self._checksum = self._checksum, None
        if checksum is None:
            checksum = frames.decode(read_all(self._descriptor)).checksum
        data, checksum = frames.encode(batch, checksum)
        append_whole(self._descriptor, data)
        self._checksum = checksum
        self._written += len(data)

    def payload(self, kind: type[Input | Output], content: Content) -> Input | Output:
        """Returns the record of a payload; a large one is written to a sidecar first.

        Raises:
            OSError: The sidecar cannot be written.
        """
        data, notes = content
        if len(data) <= INLINE_BYTES and b"\n" not in data:
            return kind(data=msgspec.Raw(data), notes=notes)
        name = f"{self.run_id}.{next(self._numbers)}.json"
        if self._descriptor >= 0:
            self._write_sidecar(name, data)
        return kind(file=name, size=len(data), crc=crc32(data), notes=notes)

    def sidecar(self, kind: type[Input | Output], wished: Form | None = None) -> tuple[Input | Output, int]:
        """Makes a file for a payload that is written piece by piece.

        Args:
            kind: Which payload.
            wished: The format that was asked for; None to find out.

        Returns:
            Its record, which `settle` makes final and `append` writes, and a descriptor that is the caller's to close.
            Appended before, the record leads recovery to what there is of the payload should this process die.

        Raises:
            OSError: It cannot be made.
        """
        name = f"{self.run_id}.{next(self._numbers)}.{'input' if kind is Input else 'output'}"
        descriptor = self._create(self._paths.payload(name))
        self._sidecars.append(name)
        return kind(file=name, growing=True, wished=wished), descriptor

    def settle(self, record: Input | Output, *, inner: str = "") -> Input | Output:
        """Returns the final record of a sidecar that is whole; see `growing.settle`.

        Raises:
            OSError: It cannot be read, or what it has to become cannot be written.
        """
        from nxtrack.spool import growing  # noqa: PLC0415  (most runs have no such payload, and need no archives)

        final = growing.settle(self._paths, record, inner=inner)
        if final.file not in {None, *self._sidecars}:
            self._sidecars.append(str(final.file))
        if final.file != record.file or not final.size:
            self.drop(record)
        self._written += final.size
        return final

    def drop(self, record: Input | Output) -> None:
        """Removes a sidecar that is of no use any more; who appends to it still does so to nowhere."""
        name = str(record.file)
        if name in self._sidecars:
            self._sidecars.remove(name)
            with suppress(OSError):  # It leaves with its run, then.
                os.unlink(self._paths.payload(name))  # noqa: PTH108

    def log_descriptor(self) -> int:
        """Returns a descriptor to append to the run's log with, which is the caller's to close.

        Raises:
            OSError: The log cannot be made.
        """
        with self._lock:
            if self._log < 0:
                self._log = self._create(self._paths.log(self.run_id))
            return os.dup(self._log)

    def log(self, data: bytes, *, beyond: bool = False) -> None:
        """Appends to the run's log; what is written survives the death of the process. After the run's end, nothing.

        Args:
            data: UTF-8 text.
            beyond: Write it even if the log is full.

        Raises:
            OSError: It cannot be written.
        """
        with self._lock:
            if self._descriptor < 0:
                return
            if self._room is not None and not beyond:
                if len(data) > self._room:
                    data = data[: self._room]
                    self.log_cut = "it reached the size that NXTRACK_MAX_LOG allows"
                self._room -= len(data)
            if not data:
                return
            try:
                if self._log < 0:
                    self._log = self._create(self._paths.log(self.run_id))
                write_all(self._log, data)
            except OSError as error:
                self.log_cut = reason(error)
                raise

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
            self.append(*self._logged(), *records)
            paths, durable = self._paths, self._durability == "power"
            try:
                if durable:
                    self._sync()
                descriptor, self._descriptor = self._descriptor, -1
                system.rename_closing(descriptor, paths.run(self.run_id, "active"), paths.run(self.run_id, "ready"))
                if durable:
                    system.sync_folder(paths.runs)
            except FileNotFoundError as error:
                raise SpoolUnavailable(reason(error)) from error
            except OSError as error:
                raise SpoolUnsafe(reason(error)) from error
            finally:
                self.close()

    def discard(self) -> None:
        """Removes what there is of a run that could not be begun."""
        self.close()
        for path in (self._paths.run(self.run_id, "active"), *map(self._paths.payload, self._sidecars)):
            with suppress(OSError):  # Nothing can be done about it, and recovery copes with an empty run.
                os.unlink(path)  # noqa: PTH108

    def close(self) -> None:
        """Lets go of the run; unless it is finished, recovery takes it for one whose process died."""
        _live.pop(id(self), None)
        with self._lock:
            descriptors = self._log, self._descriptor
            self._log = self._descriptor = -1
            written, self._written = self._written, 0
        if written:
            self._told(written)
        for descriptor in descriptors:
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
        self._lock = threading.RLock()
        self.detached = True
        self._told = _nobody  # The parent tells what it wrote.
        self.close()

    def _create(self, path: str) -> int:
        try:
            return os.open(path, system.CREATE, 0o600)
        except FileNotFoundError:
            # The folder was there when the spool was made: somebody cleaned up.
            with suppress(FileExistsError):
                os.mkdir(self._paths.payloads, 0o700)  # noqa: PTH102
            return os.open(path, system.CREATE, 0o600)

    def _write_sidecar(self, name: str, data: bytes) -> None:
        path = self._paths.payload(name)
        descriptor = self._create(path)
        try:
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        except BaseException:
            # Half a payload helps nobody, and the run's end may need the room that it takes.
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
            raise
        self._sidecars.append(name)
        self._written += len(data)

    def _logged(self) -> tuple[Logged, ...]:
        """Returns what the log holds. It is read again, as what signal handlers log may stand in any order."""
        size = crc = 0
        if self._log < 0:
            return ()
        try:
            os.lseek(self._log, 0, os.SEEK_SET)
            while chunk := os.read(self._log, 1 << 20):
                size, crc = size + len(chunk), crc32(chunk, crc)
        except OSError:
            return ()  # A log without a checksum is better than none.
        self._written += size
        return (Logged(size=size, crc=crc),) if size else ()

    def _sync(self) -> None:
        for name in self._sidecars:
            descriptor = os.open(self._paths.payload(name), system.READ)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if self._log >= 0:
            os.fsync(self._log)
        if self._sidecars or self._log >= 0:
            system.sync_folder(self._paths.payloads)
        os.fsync(self._descriptor)


def detach_all() -> None:
    """Lets go of all runs of the parent, in a forked child: the parent's locks must end with the parent."""
    for writer in list(_live.values()):
        writer.detach()
    _live.clear()
