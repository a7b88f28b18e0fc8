"""Owns Python's own standard streams while their descriptors are captured: they write to where those led before.

So what Python prints is shown at once and by itself, looks at a terminal as before, and is copied to the run that
prints it, while what comes by the descriptors is C code's and children's. Whoever holds one of the streams, and not
`sys.stdout`, is heard as well.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from nxtrack.tracking import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TEXT: Any = io.TextIOWrapper
_ATTRIBUTES = ("write", "isatty", "fileno")
_SIZE_ASKERS = frozenset({"shutil", "tqdm", "rich", "click", "alive_progress", "progressbar", "enlighten"})
"""Packages that look how wide the terminal is."""
_BUFFERERS = frozenset({"pyomo"})
"""Packages that open a descriptor anew and hold lines back where it is no terminal; without one they use the stream."""


class _Own:
    """One of them. A Ctrl-C may come between any two steps: `release` mends whatever it finds."""

    def __init__(self, stream: Any, raw: Any, descriptor: int, saved: int) -> None:
        self.stream = stream
        self._raw = raw
        self._descriptor = descriptor
        self._saved = saved
        self._diverted = False
        self._write: Callable[[Any], Any] = stream.write
        name = "stdout" if descriptor == 1 else "stderr"
        self._set: dict[str, Callable[..., Any]] = {
            "write": partial(streams.through, name, self._divert_and_write),
            "isatty": lambda: os.isatty(saved),
            "fileno": partial(_fileno, saved, descriptor),
        }
        self._before = {key: stream.__dict__[key] for key in _ATTRIBUTES if key in stream.__dict__}

    def take(self) -> None:
        self.stream.__dict__.update(self._set)

    def _divert_and_write(self, data: Any) -> Any:
        if not self._diverted:
            self._lead(self._saved)
            self._diverted = True
        return self._write(data)

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
        if self._raw.fileno() != self._descriptor:
            self._lead(self._descriptor)


_owned: list[_Own] = []


def _fileno(saved: int, descriptor: int) -> int:
    """Returns a stream's descriptor, after who asks: most want to write to it, and that has to be captured.

    Args:
        saved: The one that leads where the other led before.
        descriptor: The one that is captured.

    Raises:
        UnsupportedOperation: Whoever asks does better with the stream itself.
    """
    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  (what it is for)
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    if package in _BUFFERERS:
        raise io.UnsupportedOperation("fileno")
    return saved if package in _SIZE_ASKERS else descriptor


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


def release() -> None:
    """Leads the streams to their own descriptors again."""
    flush()
    forget()


def forget() -> None:
    """Does so without writing what they hold back: in a forked child a thread that is gone may hold their locks."""
    while _owned:
        own = _owned[-1]
        with suppress(Exception):
            own.release()
        _owned.pop()
