"""Owns what is asked of the C library's own output stream while its descriptor is captured."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_BUFFERED = 1
_FULLY_BUFFERED = 0


class _Stdio:
    """The C library's `stdout`, and the calls that it takes.

    `fflush(NULL)` would wait for whoever reads the C library's `stdin` in another thread, so streams are named.
    """

    def __init__(self) -> None:
        library: Any = ctypes.CDLL(None)
        self._stdout = ctypes.c_void_p.in_dll(library, "__stdoutp" if sys.platform == "darwin" else "stdout")
        self.flush: Callable[[], Any] = partial(library.fflush, self._stdout)
        self._buffer = library.setvbuf
        self._is_by_line: Any = getattr(library, "__flbf", None)
        self._was_by_line = False

    def by_line(self) -> None:
        self._was_by_line = self._is_by_line is not None and self._is_by_line(self._stdout) != 0
        if not self._was_by_line:
            # Only this has the library take memory at once. Gurobi prints where Ctrl-C comes, be it amid `malloc`, and
            # would wait there for ever: in a process with more threads than one, as with ours, that has a lock.
            self._buffer(self._stdout, None, _FULLY_BUFFERED, ctypes.c_size_t(0))
            self._buffer(self._stdout, None, _LINE_BUFFERED, ctypes.c_size_t(0))

    def as_before(self, descriptor: int) -> None:
        # A stream that was never used before has no mode of its own yet: on a terminal it would be this one.
        if not self._was_by_line and not os.isatty(descriptor):
            self._buffer(self._stdout, None, _FULLY_BUFFERED, ctypes.c_size_t(0))


@cache
def _found() -> _Stdio | None:
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return _Stdio()
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


def flush() -> None:
    """Has the C library write what it holds back of its standard output."""
    if (stdio := _found()) is not None:
        stdio.flush()


def by_line() -> None:
    """Has the C library hold back nothing but lines: what it holds when a process is killed is lost."""
    if (stdio := _found()) is not None:
        stdio.by_line()


def as_before(descriptor: int) -> None:
    """Has it hold back as much as before, now that its output goes to a descriptor again."""
    if (stdio := _found()) is not None:
        stdio.as_before(descriptor)
