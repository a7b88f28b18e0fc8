"""Owns the files that take what a process writes to its descriptors; one is a run's log from before the run begins.

A run that is silent gives its file back for the next one, as making a file costs more than all else of a short run.
The run's start names the file, so that what a killed process wrote is found.
"""

from __future__ import annotations

import atexit
import errno
import os
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nxtrack.spool import ids, masks, system
from nxtrack.spool.layout import create, open_file
from nxtrack.spool.logfile import write_all

if TYPE_CHECKING:
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.records import Start

_ORPHAN_SECONDS = 60.0
_CHUNK = 1 << 16
_MOVING = "user.nxtrack.moving"
_BLOCK = 1 << 12
"""Bytes that a disk gives and takes at once; with larger ones a little less is given back."""
_MOST_AT_HAND = 4


class Capture:
    """One such file.

    Attributes:
        name: What it is called in the spool.
        place: What tells it from other files, as `fstat` does: its device and inode.
        descriptor: For our own use.
        shared: For the process's descriptors and its children; locked, so that its last user can be waited for.
    """

    __slots__ = ("_path", "_seen", "descriptor", "name", "place", "shared")

    def __init__(self, paths: Layout) -> None:
        """Makes the file.

        Raises:
            OSError: It cannot be made.
        """
        self.name = ids.new_id()
        self._path = paths.capture(self.name)
        self._seen = 0
        self.descriptor = create(self._path)
        self.shared = -1
        try:
            self.shared = os.open(self._path, system.READ_APPEND)
            found = os.fstat(self.shared)
            self.place = found.st_dev, found.st_ino
            with suppress(OSError):  # A file system without locks: it counts as unused sooner, and no more.
                system.try_lock(self.shared)
        except BaseException:
            self.remove()
            raise

    def is_clean(self) -> bool:
        """Says whether nothing was written to it, and it still has its name."""
        if self.descriptor < 0:
            return False
        found = os.fstat(self.descriptor)
        return not found.st_size and found.st_nlink == 1

    def unseen(self) -> bytes:
        """Returns what was written to it since it was last asked, or some of it."""
        size = os.fstat(self.descriptor).st_size
        if size < self._seen:
            self._seen = 0  # Somebody opened it anew, by /dev/stderr say, and emptied it.
        if size == self._seen:
            return b""
        os.lseek(self.descriptor, self._seen, os.SEEK_SET)
        data = os.read(self.descriptor, _CHUNK)
        self._seen += len(data)
        return data

    def moves(self, size: int, place: int) -> None:
        """Notes that the last `size` bytes that were seen will stand in the log, from `place` on or later."""
        if sys.platform == "linux":
            with suppress(OSError):  # A file system without attributes: killed right then, the text is there twice.
                os.setxattr(self.descriptor, _MOVING, b"%d %d %d" % (self._seen - size, size, place))

    def moved(self, size: int) -> None:
        """Makes zeros of the last `size` bytes that were seen, as they stand elsewhere now; their room is given back.

        Raises:
            OSError: They cannot be.
        """
        begin = (self._seen - size) // _BLOCK * _BLOCK  # All before is zeros already.
        if system.give_back(self.descriptor, begin, self._seen):
            return
        target = os.open(self._path, os.O_WRONLY)
        try:
            os.lseek(target, self._seen - size, os.SEEK_SET)
            os.write(target, b"\0" * size)
        finally:
            os.close(target)

    def rename(self, path: str) -> bool:
        """Gives the file its name as a run's log; says whether it still had its own, or somebody removed that.

        Raises:
            OSError: It cannot be renamed.
        """
        try:
            found = os.lstat(self._path)
            if (found.st_dev, found.st_ino) != self.place:
                return False
            os.rename(self._path, path)  # noqa: PTH104
        except FileNotFoundError:
            return False
        self._path = path
        return True

    def skip(self) -> None:
        """Takes all that is written so far as seen."""
        self._seen = os.fstat(self.descriptor).st_size

    def is_in_use(self) -> bool:
        """Says whether a child process still has it, once `let_go` was called; when not, it is of no more use."""
        with suppress(OSError):
            return not system.try_lock(self.descriptor)
        return False

    def let_go(self) -> None:
        """Closes what was for the process's descriptors."""
        shared, self.shared = self.shared, -1
        if shared >= 0:
            with suppress(OSError):
                os.close(shared)

    def close(self) -> None:
        """Closes the file, and leaves it where it is."""
        self.let_go()
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def remove(self) -> None:
        """Closes the file and removes it."""
        self.close()
        with suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108


class Captures:
    """The files of this kind that one process has at hand."""

    def __init__(self, paths: Layout) -> None:
        """Makes none yet."""
        self._paths = paths
        self._free: list[Capture] = []

    def take(self) -> Capture:
        """Returns an empty file.

        Raises:
            OSError: It cannot be made.
        """
        if self not in _at_hand:
            if not _at_hand:
                atexit.register(_clear)
            _at_hand.append(self)
        while self._free:
            capture = self._free.pop()
            if capture.is_clean():
                return capture
            capture.remove()
        return Capture(self._paths)

    def give_back(self, capture: Capture) -> None:
        """Keeps a file that nothing was written to for the next run."""
        if len(self._free) < _MOST_AT_HAND:
            self._free.append(capture)
        else:
            capture.remove()

    def clear(self) -> None:
        """Removes what is at hand, as the process ends."""
        while self._free:
            self._free.pop().remove()

    def forget(self) -> None:
        """Closes what is at hand, in a forked child: the files are its parent's."""
        while self._free:
            self._free.pop().close()


_at_hand: list[Captures] = []


def forget() -> None:
    """Lets a forked child start with no files at hand."""
    for captures in _at_hand:
        captures.forget()


def _clear() -> None:
    for captures in _at_hand:
        captures.clear()


def path_of_log(paths: Layout, start: Start) -> str:
    """Returns where a run's log stands: before the run ended, that may be what captured it."""
    path = paths.log(start.id)
    if start.capture and ids.is_id(start.capture) and not os.path.lexists(path):
        captured = paths.capture(start.capture)
        with suppress(OSError):
            return captured if _file(captured) is not None else path
    return path


def adopt(paths: Layout, start: Start) -> None:
    """Makes what a killed process wrote to its descriptors the log of its run.

    Raises:
        OSError: It cannot be done now.
    """
    path, captured = paths.log(start.id), path_of_log(paths, start)
    if captured != path and (found := _file(captured)) is not None:
        if found.st_size:
            os.rename(captured, path)  # noqa: PTH104
        else:
            os.unlink(captured)  # noqa: PTH108
    if start.errors and ids.is_id(start.errors):
        _append_errors(paths.capture(start.errors), path, start.max_log)
    masks.apply(paths, start.id, start.max_log)


def _file(path: str) -> os.stat_result | None:
    """Returns what is known of a file; None when there is none, or something else in its place."""
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        return found if stat.S_ISREG(found.st_mode) else None
    return None


def _append_errors(source: str, path: str, most: int | None) -> None:
    """Appends what was written to stderr and had not been moved to the log yet: all behind the leading zeros."""
    if _file(source) is None:
        return
    descriptor = open_file(source, system.READ)
    target = -1
    try:
        os.lseek(descriptor, _moved(descriptor, path), os.SEEK_SET)
        _skip_holes(descriptor)
        begun, left = False, sys.maxsize if most is None else most
        while left > 0 and (chunk := os.read(descriptor, min(left, _CHUNK))):
            rest = chunk if begun else chunk.lstrip(b"\0")
            if rest and not begun:
                begun, target = True, open_file(path, system.READ_APPEND | os.O_CREAT)
            if rest:
                write_all(target, rest)
                left -= len(rest)
            if not begun:
                _skip_holes(descriptor)
    finally:
        os.close(descriptor)
        if target >= 0:
            os.close(target)
    os.unlink(source)  # noqa: PTH108


def _moved(descriptor: int, path: str) -> int:
    """Returns up to where stderr's text surely stands in the log: it may, and its zeros not have been written."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            begin, size, place = map(int, os.getxattr(descriptor, _MOVING).split())
            if begin >= 0 and 0 < size <= _CHUNK and place >= 0:
                os.lseek(descriptor, begin, os.SEEK_SET)
                text = os.read(descriptor, size)
                log = open_file(path, system.READ)
                try:
                    os.lseek(log, place, os.SEEK_SET)
                    return begin + size if text in os.read(log, 16 * _CHUNK) else 0
                finally:
                    os.close(log)
    return 0


def _skip_holes(descriptor: int) -> None:
    if sys.platform != "win32":
        try:
            os.lseek(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_DATA)
        except OSError as error:  # Where nothing but holes is left, it says so; what knows no holes has none.
            if error.errno == errno.ENXIO:
                os.lseek(descriptor, 0, os.SEEK_END)


def sweep(paths: Layout) -> None:
    """Removes files that dead processes left behind. Only for when no run of a dead process waits for recovery."""
    now = time.time()
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(paths.captures)  # noqa: PTH208
    for name in names:
        path = paths.capture(name)
        with suppress(OSError):  # Something else may stand there.
            found = _file(path)
            if found is None or 0 <= now - found.st_mtime < _ORPHAN_SECONDS:
                continue
            descriptor = open_file(path, system.READ_APPEND)
            try:
                if system.try_lock(descriptor):
                    os.unlink(path)  # noqa: PTH108
            finally:
                os.close(descriptor)
