"""Owns a run's log while its process lives: what the run appends, what others write to it, and how large it may be.

Of a log that outgrows its bound the head and the tail are kept; what lies between is given back to the disk.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from nxtrack.spool import system
from nxtrack.spool.layout import create, reason
from nxtrack.spool.logparts import ends, kept, lines_of, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.spool.captures import Capture
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.records import Logged

_CHUNK = 1 << 16
_STEP = 1 << 20
"""Bytes between head and tail that are given back at once."""
_REMEMBERED = 64
"""Bytes by which a file is known again."""


class LogFile:
    """The log of one run. Its user sees to it that only one thread calls it at a time.

    Attributes:
        cut: Why some of what was logged was left out, apart from its bound; empty when nothing was.
        is_full: It takes nothing more, as the disk cannot take the middle of it back.
        capture: The file that also takes what is written to the process's descriptors, if it is one.
    """

    __slots__ = (
        "_beyond",
        "_descriptor",
        "_freed",
        "_last",
        "_lent",
        "_most",
        "_own",
        "_paths",
        "_run_id",
        "_seen",
        "_size",
        "capture",
        "cut",
        "is_full",
    )

    def __init__(self, paths: Layout, run_id: str, most: int | None, capture: Capture | None) -> None:
        """Makes no file yet.

        Args:
            paths: Where things stand in the spool.
            run_id: The run's id.
            most: Bytes that are kept of its log, or None for all.
            capture: The file that takes its text until the run ends.
        """
        self.cut = ""
        self.capture = capture
        self._paths = paths
        self._run_id = run_id
        self._most = most
        self._descriptor = -1 if capture is None else capture.descriptor
        self._size = self._freed = self._seen = self._beyond = 0
        self.is_full = self._lent = False
        self._last = b"", 0
        self._own: deque[tuple[int, int]] = deque()

    @property
    def _path(self) -> str:
        return self._paths.log(self._run_id)

    def append(self, data: bytes, *, beyond: bool = False) -> None:
        """Appends text; what is written survives the death of the process.

        Args:
            data: The text.
            beyond: Keep it whatever the bound: it is what the log ends with.

        Raises:
            OSError: It cannot be written.
        """
        if self.is_full and not beyond:
            return
        try:
            if self._descriptor < 0:
                self._descriptor = self._made()
            write_all(self._descriptor, data)
            if beyond:
                self._beyond += len(data)
            if self.capture is None:
                self._size += len(data)
            else:
                size = self._size + len(data)
                with suppress(OSError):  # What is written is: it must not be taken for others' text.
                    size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
                if size < self._size:
                    self._begin_again()
                self._size = size
                self._own.append((size - len(data), size))
                self._remember(data, size)
        except OSError as error:
            self.cut = reason(error)
            raise
        if self._most is not None and self._size > self._most:
            self._give_back(self._most)

    def _made(self) -> int:
        try:
            return create(self._path)
        except FileExistsError:  # A Ctrl-C came right after it was made.
            return os.open(self._path, system.READ_APPEND)

    def lend(self) -> int:
        """Returns a descriptor to append to the log with, which is the caller's to close.

        Raises:
            OSError: The log cannot be made.
        """
        if self._descriptor < 0:
            self._descriptor = self._made()
        self._lent = True
        return os.dup(self._descriptor)

    def measure(self) -> None:
        """Looks how much others have written to what was lent to them."""
        if self._lent and self._descriptor >= 0:
            with suppress(OSError):
                self._size = os.fstat(self._descriptor).st_size

    def bound(self) -> None:
        """Gives back to the disk what others wrote beyond the bound."""
        self.measure()
        if self._most is not None and self._size > self._most:
            self._give_back(self._most)

    def foreign(self) -> bytes:
        """Returns what others wrote since it was last asked, or some of it.

        Raises:
            OSError: It cannot be read.
        """
        if self._descriptor < 0 or self.capture is None:
            return b""
        size = os.fstat(self._descriptor).st_size
        if size < self._size or (size > self._seen and self._is_another()):
            self._begin_again()
        self._size = size
        if self._most is not None and size > self._most:
            self._give_back(self._most)
        own = self._own
        while self._seen < size:
            if own and own[0][0] <= self._seen:
                self._seen = max(self._seen, own.popleft()[1])
                continue
            end = min(size, own[0][0] if own else size, self._seen + _CHUNK)
            os.lseek(self._descriptor, self._seen, os.SEEK_SET)
            data = os.read(self._descriptor, end - self._seen)
            self._seen += len(data)
            self._remember(data, self._seen)
            return data
        return b""

    def _remember(self, data: bytes, end: int) -> None:
        self._last = data[-_REMEMBERED:], end

    def _is_another(self) -> bool:
        """Says whether what is known to have been written last is not there any more."""
        known, end = self._last
        begin = end - len(known)
        if begin < self._freed:
            return False
        os.lseek(self._descriptor, begin, os.SEEK_SET)
        return os.read(self._descriptor, len(known)) != known

    def _begin_again(self) -> None:
        """Takes note that somebody emptied the file: all that it holds came since."""
        self._freed = self._seen = 0
        self._last = b"", 0
        self._own.clear()
        self.cut = "a program opened its standard output anew, by /dev/stdout say, and emptied it"

    def _give_back(self, most: int) -> None:
        """Gives the middle of what is too long back to the disk; where that cannot be done, the log ends here."""
        head, tail = kept(self._size, most, self._beyond)
        begin, end = max(head, self._freed), self._size - tail
        if self.capture is not None:
            end = min(end, self._seen)  # What nobody has been shown yet is needed once more.
        if end - begin < max(_STEP, most // 4):
            return
        if system.give_back(self._descriptor, begin, end):
            self._freed = end
        else:
            self.is_full = True

    def logged(self) -> Logged | None:
        """Returns what the log holds, read again: others, and signal handlers, may have written in any order."""
        self.measure()
        if self._descriptor < 0 or not self._size:
            return None
        with suppress(OSError):  # A log without a checksum is better than none.
            return summary(self._descriptor, self._most, self._beyond)
        return None

    @property
    def size(self) -> int:
        """How many bytes are known to have been written to it."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known to have been written to it."""
        if self._lent:
            self.measure()
        return not self._size

    def why_cut(self) -> str:
        """Returns why some of what was logged was left out; empty when nothing was."""
        if not self.cut and self._most is not None and self._size - self._beyond > self._most:
            return "it is longer than NXTRACK_MAX_LOG allows"
        return self.cut

    def ends(self, most: int) -> bytes:
        """Returns what the log holds; of a long one the first and the last `most` bytes, on lines of their own.

        Raises:
            OSError: It cannot be read.
        """
        self.measure()
        if self._descriptor < 0 or not self._size:
            return b""
        return ends(self._descriptor, most, self._most, self._beyond)

    def settle(self) -> int:
        """Gives the log its name, now that the run has ended; returns how many bytes it has.

        Raises:
            OSError: It cannot be renamed.
        """
        if self.capture is not None and self._size and not self.capture.rename(self._path):
            _copy(self._descriptor, self._path)
        return self._size

    def sync(self) -> bool:
        """Makes the log survive a power cut; says whether there is one.

        Raises:
            OSError: It cannot be written.
        """
        if self._descriptor < 0 or not self._size:
            return False
        os.fsync(self._descriptor)
        return True

    def begin_anew(self) -> Former | None:
        """Has the log begin anew, empty; returns what it was, if anything.

        Raises:
            OSError: It cannot.
        """
        old, capture = self._descriptor, self.capture
        if old < 0:
            return None
        if capture is None:
            os.unlink(self._path)  # noqa: PTH108
        former = Former(old, capture, self._most, self._beyond)
        self.cut = self.why_cut()
        self.capture, self._descriptor = None, -1
        self._size = self._freed = self._beyond = 0
        self._most = None  # What is put back is within its bound.
        self.is_full = False
        return former

    def close(self) -> None:
        """Closes the file; a capture is its owner's to close."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and self.capture is None:
            with suppress(OSError):  # It is closed even then; what must not be lost was fsynced.
                os.close(descriptor)


class Former(NamedTuple):
    """What a log was before it began anew."""

    descriptor: int
    capture: Capture | None
    most: int | None
    beyond: int

    def lines(self) -> Iterator[bytes]:
        """See `lines_of`."""
        return lines_of(self.descriptor, self.most, self.beyond)

    def remove(self) -> None:
        """Lets go of it."""
        if self.capture is not None:
            self.capture.remove()
        else:
            os.close(self.descriptor)


def _copy(source: int, path: str) -> None:
    """Writes what an open file holds to a new one; what is nothing but zeros takes no room there."""
    target = create(path)
    try:
        place = 0
        os.lseek(source, 0, os.SEEK_SET)
        while chunk := os.read(source, _STEP):
            place += len(chunk)
            if chunk.count(0) == len(chunk):
                os.ftruncate(target, place)
            else:
                write_all(target, chunk)
        os.fsync(target)
    finally:
        os.close(target)


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
