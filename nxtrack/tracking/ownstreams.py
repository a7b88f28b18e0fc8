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
    from collections.abc import Callable, Mapping

_TEXT: Any = io.TextIOWrapper
_ATTRIBUTES = frozenset({"write", "isatty", "fileno"})
_PATIENCE_SECONDS = 1.0
_SIZE_ASKERS = frozenset({"shutil", "tqdm", "rich", "click", "alive_progress", "progressbar", "enlighten"})
"""Packages that look how wide the terminal is."""
_BUFFERERS = frozenset({"pyomo"})
"""Packages that open a descriptor anew and hold lines back where it is no terminal; without one they use the stream."""


class _Own:
    """One of them. A Ctrl-C may come between any two steps: `release` mends whatever it finds."""

    def __init__(self, stream: Any, raw: Any, descriptor: int) -> None:
        self.stream = stream
        self.raw = raw
        self.descriptor = descriptor
        self.saved = descriptor
        self.unbuffered = stream.buffer is raw
        self._lock = threading.RLock()
        self._released = True
        self.was_led = False
        self._twin: Any = None
        self._write: Callable[[Any], Any] = stream.write
        self._before: dict[str, Any] = {}
        name = "stdout" if descriptor == 1 else "stderr"
        self._set: dict[str, Callable[..., Any]] = {
            "write": partial(streams.through, name, self._divert_and_write),
            "isatty": lambda: os.isatty(self.saved),
            "fileno": partial(_fileno, self, descriptor),
        }

    def take(self, saved: int) -> None:
        """Leads it to another descriptor, from when something is written to it."""
        kept = self.stream.__dict__
        self.saved, self._twin, self._released = saved, None, False
        self.was_led = False
        self._write = self.stream.write
        if not _ATTRIBUTES.isdisjoint(kept):
            self._before = {key: kept[key] for key in _ATTRIBUTES if key in kept}
        kept.update(self._set)

    def _divert_and_write(self, data: Any) -> Any:
        # Another thread may get here when all is over: then it is to leave the stream as it is.
        if self.unbuffered:
            return self._write_at_once(data)
        if not self._released and self.raw.fileno() != self.saved:
            self.divert()
        return self._write(data)

    def divert(self) -> None:
        with self._lock:
            if not self._released and self.raw.fileno() != self.saved:
                self._try_to_lead(self.saved)

    def _write_at_once(self, data: Any) -> Any:
        """Writes by a stream of our own: without a buffer's lock, nobody could be waited for who writes by theirs."""
        with self._lock:
            if self._released or self.stream.closed:
                return self._write(data)
            if self._twin is None:
                try:
                    raw: Any = io.FileIO(self.saved, "wb", closefd=False)
                except OSError:
                    return self._write(data)
                encoding, errors = self.stream.encoding, self.stream.errors
                self._twin = _TEXT(raw, encoding, errors, newline="\n", write_through=True)
            return self._twin.write(data)

    def _try_to_lead(self, descriptor: int) -> None:
        try:
            self._lead(descriptor)
        except OSError:  # The program closed what is not its own: it writes to where its descriptor leads.
            self._lead(self.descriptor)

    def _lead(self, descriptor: int) -> None:
        name = getattr(self.raw, "name", None)
        # The stream itself stays, with its buffer and whoever holds it; only what is behind it changes.
        self.raw.__init__(descriptor, "wb", closefd=False)
        with suppress(AttributeError):
            self.raw.name = name

    def flush(self) -> None:
        try:  # noqa: SIM105  (for every run, where a context manager costs as much again)
            self.stream.flush()
        except Exception:  # noqa: BLE001, S110  (a closed or broken stream is the program's own affair)
            pass

    def release(self) -> None:
        kept = self.stream.__dict__
        for key, value in self._set.items():
            if kept.get(key) is value:
                del kept[key]
                if key in self._before:
                    kept[key] = self._before[key]
        self._before = {}
        # Bounded, as a signal handler amid a write may have to wait for whoever waits here.
        free = self._lock.acquire(timeout=_PATIENCE_SECONDS)
        try:
            self._released = True
            if self.raw.fileno() != self.descriptor:
                self.was_led = True
                self._lead(self.descriptor)
        finally:
            if free:
                self._lock.release()
            else:
                _in_use.add(self.saved)
            self._twin = None

    def dissolve(self) -> None:
        """Lets go of itself, so that no collector needs to find it: what stands for the stream's methods holds it."""
        self._set = {}


_owned: list[_Own] = []
_in_use: set[int] = set()
_known: tuple[Any, Any, list[_Own]] = (), (), []
"""The process's own streams, and what can be led elsewhere of them."""


def _fileno(own: _Own, descriptor: int) -> int:
    """Returns a stream's descriptor, after who asks: most want to write to it, and that has to be captured.

    Args:
        own: The stream, which knows the one that leads where the other led before.
        descriptor: The one that is captured.

    Raises:
        UnsupportedOperation: Whoever asks does better with the stream itself.
    """
    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  (what it is for)
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    if package in _BUFFERERS:
        raise io.UnsupportedOperation("fileno")
    return own.saved if package in _SIZE_ASKERS else descriptor


def _found() -> list[_Own]:
    """Finds the text streams of this process that write to a standard descriptor."""
    global _known  # noqa: PLW0603
    out, err = streams.behind(getattr(sys, "stdout", None)), streams.behind(getattr(sys, "stderr", None))
    if out is _known[0] and err is _known[1] and out is sys.__stdout__ and err is sys.__stderr__:
        return _known[2]
    found: list[_Own] = []
    seen: set[int] = set()
    for stream in (out, sys.__stdout__, err, sys.__stderr__):
        if stream is None or id(stream) in seen or not isinstance(stream, _TEXT):
            continue
        seen.add(id(stream))
        with suppress(Exception):  # A closed or odd stream is none that could be led elsewhere.
            buffer = stream.buffer
            raw = getattr(buffer, "raw", buffer)
            if type(raw) is io.FileIO and not raw.closefd:
                found.append(_Own(stream, raw, raw.fileno()))
    # Streams that the program put there are its own to forget.
    if out is sys.__stdout__ and err is sys.__stderr__:
        _known = out, err, found
    return found


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
    for own in _found():
        if own.descriptor in saved and not own.raw.closed:
            if not _ATTRIBUTES.isdisjoint(own.stream.__dict__):
                own = _Own(own.stream, own.raw, own.descriptor)  # noqa: PLW2901  (the program's may hold the other's)
            _owned.append(own)
            own.take(saved[own.descriptor])


def owns(stream: Any) -> bool:
    """Says whether a stream is one of them."""
    return any(own.stream is stream for own in _owned)


def flush() -> None:
    """Has the streams write what they hold back."""
    if _owned:
        for own in _owned:
            own.flush()
        return
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name, None)
        if stream is not None:
            try:  # noqa: SIM105  (as above)
                stream.flush()
            except Exception:  # noqa: BLE001, S110  (its own affair, as above)
                pass


def release() -> set[int]:
    """Leads the streams to their own descriptors again; returns the others that a thread may still be writing to."""
    owned = _owned.copy()
    for own in owned:
        if own.raw.closed or own.raw.fileno() != own.descriptor:
            own.flush()  # Else nothing was printed, and nothing is held back.
    _in_use.clear()
    forget()
    for own in owned:
        if own.was_led:
            own.flush()  # Another thread may be about to write to where it led: it holds the buffer's lock meanwhile.
    return _in_use


def forget() -> None:
    """Does so without writing what they hold back: in a forked child a thread that is gone may hold their locks."""
    while _owned:
        own = _owned[-1]
        try:  # noqa: SIM105  (as above)
            own.release()
        except Exception:  # noqa: BLE001, S110
            pass
        if own not in _known[2]:
            own.dissolve()
        _owned.pop()
