"""Owns Python's own standard streams while their descriptors are captured: they write to where those led before.

So what Python prints is shown at once and by itself, looks at a terminal as before, and is copied to the run that
prints it, while what comes by the descriptors is C code's and children's. Whoever holds one of the streams, and not
`sys.stdout`, is heard as well.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from nxtrack.tracking import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TEXT: Any = io.TextIOWrapper
_ATTRIBUTES = ("write", "isatty", "fileno")
_PATIENCE_SECONDS = 1.0
_SIZE_ASKERS = frozenset({"shutil", "tqdm", "rich", "click", "alive_progress", "progressbar", "enlighten"})


class _Own:
    """One of them. A Ctrl-C may come between any two steps: `release` mends whatever it finds."""

    def __init__(self, stream: Any, raw: Any, descriptor: int, saved: int) -> None:
        self.stream = stream
        self._raw = raw
        self._descriptor = descriptor
        self._saved = saved
        self._diverted = self._released = False
        self._lock = threading.RLock()
        self.unbuffered = stream.buffer is raw
        self._twin: Any = None
        self._write: Callable[[Any], Any] = stream.write
        name = "stdout" if descriptor == 1 else "stderr"
        self._set: dict[str, Callable[..., Any]] = {
            "write": partial(streams.through, name, self._divert_and_write),
            "isatty": lambda: os.isatty(saved),
            "fileno": lambda: saved if _asked_for_size() else descriptor,
        }
        self._before = {key: stream.__dict__[key] for key in _ATTRIBUTES if key in stream.__dict__}

    def take(self) -> None:
        self.stream.__dict__.update(self._set)

    def _divert_and_write(self, data: Any) -> Any:
        # Another thread may get here when all is over: then it is to leave the stream as it is.
        if self.unbuffered:
            return self._write_at_once(data)
        if not self._diverted and not self._released:
            self.divert()
        return self._write(data)

    def divert(self) -> None:
        with self._lock:
            if not self._released and not self._diverted:
                self._diverted = True
                self._try_to_lead(self._saved)

    def _write_at_once(self, data: Any) -> Any:
        """Writes by a stream of our own: without a buffer's lock, nobody could be waited for who writes by theirs."""
        with self._lock:
            if self._released or self.stream.closed:
                return self._write(data)
            if self._twin is None:
                try:
                    raw: Any = io.FileIO(self._saved, "wb", closefd=False)
                except OSError:
                    return self._write(data)
                encoding, errors = self.stream.encoding, self.stream.errors
                self._twin = _TEXT(raw, encoding, errors, newline="\n", write_through=True)
            return self._twin.write(data)

    def _try_to_lead(self, descriptor: int) -> None:
        try:
            self._lead(descriptor)
        except OSError:  # The program closed what is not its own: it writes to where its descriptor leads.
            self._lead(self._descriptor)

    def _lead(self, descriptor: int) -> None:
        name = getattr(self._raw, "name", None)
        # The stream itself stays, with its buffer and whoever holds it; only what is behind it changes.
        self._raw.__init__(descriptor, "wb", closefd=False)
        with suppress(AttributeError):
            self._raw.name = name

    def flush(self) -> None:
        if self._diverted:
            with suppress(Exception):  # A closed or broken stream is the program's own affair.
                self.stream.flush()

    def release(self) -> None:
        kept = self.stream.__dict__
        for key, value in self._set.items():
            if kept.get(key) is value:
                del kept[key]
                if key in self._before:
                    kept[key] = self._before[key]
        self._set = {}
        # Bounded, as a signal handler amid a write may have to wait for whoever waits here.
        free = self._lock.acquire(timeout=_PATIENCE_SECONDS)
        try:
            self._released = True
            if self._raw.fileno() != self._descriptor:
                self._lead(self._descriptor)
        finally:
            if free:
                self._lock.release()
            else:
                _in_use.add(self._saved)


_owned: list[_Own] = []
_in_use: set[int] = set()


def _asked_for_size() -> bool:
    """Says whether a stream's descriptor is asked for by code that looks how wide the terminal is.

    Whoever else asks wants to write to it, and so that it is the one whose text is captured.
    """
    frame = sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  (what it is for)
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _SIZE_ASKERS


def _found() -> Iterator[tuple[Any, Any, int]]:
    """Finds the text streams of this process that write to a standard descriptor."""
    seen: set[int] = set()
    for name in ("stdout", "__stdout__", "stderr", "__stderr__"):
        stream: Any = streams.behind(getattr(sys, name, None))
        if stream is None or id(stream) in seen or not isinstance(stream, _TEXT):
            continue
        seen.add(id(stream))
        with suppress(Exception):  # A closed or odd stream is none that could be led elsewhere.
            buffer = stream.buffer
            raw = getattr(buffer, "raw", buffer)
            if type(raw) is io.FileIO and not raw.closefd:
                yield stream, raw, raw.fileno()


def comes_by_descriptor(stream: Any) -> bool:
    """Says whether bytes that are about to be written to a stream's buffer will be seen by its descriptor."""
    for own in _owned:
        if own.stream is stream:
            if own.unbuffered:
                return True
            own.divert()
    return False


def take(saved: Mapping[int, int]) -> None:
    """Leads the streams of some descriptors to others.

    Args:
        saved: For each descriptor the one that leads where it led before.
    """
    for stream, raw, descriptor in _found():
        if descriptor in saved:
            _owned.append(_Own(stream, raw, descriptor, saved[descriptor]))
            _owned[-1].take()


def flush() -> None:
    """Has the streams write what they hold back."""
    if _owned:
        for own in _owned:
            own.flush()
        return
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name, None)
        if stream is not None:
            with suppress(Exception):
                stream.flush()


def release() -> set[int]:
    """Leads the streams to their own descriptors again; returns the others that a thread may still be writing to."""
    flush()
    owned = _owned.copy()
    _in_use.clear()
    forget()
    for own in owned:
        own.flush()  # Another thread may be about to write to where it led: it holds the buffer's lock meanwhile.
    return _in_use


def forget() -> None:
    """Does so without writing what they hold back: in a forked child a thread that is gone may hold their locks."""
    while _owned:
        own = _owned[-1]
        with suppress(Exception):
            own.release()
        _owned.pop()
