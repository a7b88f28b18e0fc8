"""Owns what is asked of the C library's own output streams while descriptors are captured.

What it holds back is written before descriptors are led to a run's log and before they are given back, so that text is
in the log of the run that it came from: of all its streams, as libraries make their own, by `fdopen(dup(1))` say. But
`fflush(NULL)` waits for whoever is amid one, such as a thread that reads `stdin`, and has others wait as well; and in a
forked child it would write what its parent holds back for any file, which the parent does too. Where either might be,
only the two standard ones are asked.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_BUFFERED = 1
_FULLY_BUFFERED = 0
_THREADS = "/proc/self/task"
_FLAGS = 6
_FORKED_AND_NO_MORE = 0x40
"""`PF_FORKNOEXEC` of Linux."""


class Stdio:
    """The C library's standard output streams, and the calls that they take."""

    def __init__(self) -> None:
        library: Any = ctypes.CDLL(None)
        names = ("__stdoutp", "__stderrp") if sys.platform == "darwin" else ("stdout", "stderr")
        self._stdout, self._stderr = (ctypes.c_void_p.in_dll(library, name) for name in names)
        self._flush: Callable[[Any], Any] = library.fflush
        self._buffer = library.setvbuf
        self._is_by_line: Any = getattr(library, "__flbf", None)
        self._was_by_line = False

    def flush(self, ours: int) -> None:
        """Has the library write what it holds back, of all its streams where that is safe, else of the standard ones.

        Args:
            ours: How many threads of this process, beside the calling one, are known to be amid no stream.
        """
        if _is_alone(ours):
            self._flush(None)
        else:
            self._flush(self._stdout)
            self._flush(self._stderr)  # It holds nothing back, unless the program has it do so.

    def by_line(self) -> None:
        """Has it hold back nothing but lines: what it holds when a process is killed is lost."""
        self._was_by_line = self._is_by_line is not None and self._is_by_line(self._stdout) != 0
        if not self._was_by_line:
            # Only this has the library take memory at once. Gurobi prints where Ctrl-C comes, be it amid `malloc`, and
            # would wait there for ever: in a process with more threads than one, as with ours, that has a lock.
            self._buffer(self._stdout, None, _FULLY_BUFFERED, ctypes.c_size_t(0))
            self._buffer(self._stdout, None, _LINE_BUFFERED, ctypes.c_size_t(0))

    def as_before(self, descriptor: int) -> None:
        """Has it hold back as much as before, now that its output goes to a descriptor again."""
        # A stream that was never used before has no mode of its own yet: on a terminal it would be this one.
        if not self._was_by_line and not os.isatty(descriptor):
            self._buffer(self._stdout, None, _FULLY_BUFFERED, ctypes.c_size_t(0))


@cache
def library() -> Stdio | None:
    """Returns the C library's streams, or None where they are not to be found."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return Stdio()
    return None


@cache
def why_not() -> str:
    """Returns why descriptors cannot be captured in this process, as part of a sentence; empty when they can."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415

        if resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY:
            return ""
        return "the size of files is limited in this process (ulimit -f), which would end it"
    else:  # noqa: RET505  (so that mypy sees which half belongs to which system)
        return "that is not possible on Windows"


def _is_alone(ours: int) -> bool:
    """Says whether nobody else can be amid a stream of the C library, and what it holds back is this process's own."""
    if sys.platform == "linux" and not sys.is_finalizing() and not _was_forked():
        try:  # (for every run, where a context manager costs as much again)
            # Counted by the system, as solvers have threads that Python does not know. A folder has two links itself.
            return os.stat(_THREADS).st_nlink - 2 == 1 + ours  # noqa: PTH116
        except OSError:
            pass
    return False


@cache
def _was_forked() -> bool:
    """Says whether this process was forked and goes on with its parent's program; whenever that was."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read()
        # The second field is the program's name in parentheses, and may hold anything.
        return int(text.rpartition(")")[2].split()[_FLAGS]) & _FORKED_AND_NO_MORE != 0
    return True


def forget() -> None:
    """Lets a forked child find out that it is one."""
    _was_forked.cache_clear()
