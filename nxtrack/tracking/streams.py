"""Owns the capture of `sys.stdout` and `sys.stderr`: what a run prints goes to its log and to where it went before.

A proxy stands in place of each stream while runs are captured. It asks which run the text belongs to: by the context
variable, which threads of a pool do not have; then, if just one run is being captured, by that. Text of several runs
that cannot be told apart goes to all of them, and each says so.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from nxtrack.settings import Stream

    ObjectProxy = wrapt.ObjectProxy[Any]
else:
    from wrapt import ObjectProxy

SHARED_NOTE = "The log holds text that several runs of this process printed at once."


class Sink:
    """Where the text of one run goes.

    Attributes:
        streams: Which streams it takes.
        write: Takes the text as UTF-8; never raises.
        shared: Whether it was given text that may be another run's.
    """

    __slots__ = ("shared", "streams", "write")

    def __init__(self, streams: tuple[Stream, ...], write: Callable[[bytes], object]) -> None:
        """Takes what the attributes are."""
        self.streams = streams
        self.write = write
        self.shared = False


class _Inside(threading.local):
    """Whether this thread is already in a proxy: something may have wrapped one proxy, and another wrap that."""

    value = False


_STREAM_HANDLER: Any = logging.StreamHandler
_BINARY: Any = (bytes, bytearray, memoryview)
# Reentrant, as the garbage collector may end a forgotten generator's run while its thread holds the lock.
_lock = threading.RLock()
_sinks: list[Sink] = []
_proxies: dict[str, StreamProxy] = {}
"""The last proxy of each stream. `print` holds none while it writes, so other threads may still be in one that ended:
it is kept, and taken again for the same stream."""
_inside = _Inside()


def _nobody() -> Sink | None:
    return None


def _no(_: Any) -> bool:
    return False


_current_sink: Callable[[], Sink | None] = _nobody
_before: Callable[[Any], bool] = _no
_came: Callable[[bytes], bool] = _no
_comes_by_descriptor: Callable[[Any], bool] = _no


def heed_descriptors(
    before: Callable[[Any], bool], came: Callable[[bytes], bool], comes_by_descriptor: Callable[[Any], bool]
) -> None:
    """Has what is printed heed what comes by captured descriptors.

    Args:
        before: Called before something is printed to a stream; shows what was written before, and says whether what
            is printed may come by a descriptor as well.
        came: Says whether it did.
        comes_by_descriptor: Says whether bytes for the buffer of a stream will surely come by its descriptor.
    """
    global _before, _came, _comes_by_descriptor
    _before, _came, _comes_by_descriptor = before, came, comes_by_descriptor


def attribute_by(current_sink: Callable[[], Sink | None]) -> None:
    """Sets how the sink of the running code's own run is found."""
    global _current_sink  # noqa: PLW0603
    _current_sink = current_sink


def _copy(stream: str, data: bytes) -> None:
    if not data or threading.current_thread().name.startswith("nxtrack"):
        return  # What our own threads cause to be printed is no run's.
    sink = _current_sink()
    if sink is not None:
        if stream in sink.streams:
            sink.write(data)
        return
    sinks = [sink for sink in _sinks if stream in sink.streams]
    for sink in sinks:
        sink.shared = sink.shared or len(sinks) > 1
        sink.write(data)


def through(name: str, write: Callable[[Any], Any], data: Any, stream: Any = None) -> Any:
    """Copies what is text or bytes to the run that prints it, unless that was done already, and writes it.

    Args:
        name: What it is printed to.
        write: Writes it there.
        data: Whatever the program gave.
        stream: What it is written to, when that is not one of Python's own.
    """
    if _inside.value:
        return write(data)
    text = b""
    if isinstance(data, str):
        text = str.encode(data, "utf-8", "backslashreplace")
    elif isinstance(data, _BINARY):
        text = bytes(data)
    may_come = _before(stream)
    if not may_come:
        _copy(name, text)
    _inside.value = True
    try:
        written = write(data)
    finally:
        _inside.value = False
        # A stream of the program's own make may write to a descriptor, so that it is in the log by now.
        if may_come and not _came(text):
            _copy(name, text)
    return written


@contextmanager
def unheard() -> Generator[None]:
    """Has what this thread prints copied to no run."""
    before, _inside.value = _inside.value, True
    try:
        yield
    finally:
        _inside.value = before


def behind(stream: Any) -> Any:
    """Returns the stream behind a proxy of ours, or the stream itself."""
    while type(stream) is StreamProxy:
        stream = stream.__wrapped__
    return stream


class _Proxy(ObjectProxy):
    """A stream, but for what is written to it, of which a copy goes to the run's log first."""

    def __init__(self, wrapped: Any, name: str) -> None:
        super().__init__(wrapped)
        self._self_name = name

    def write(self, data: Any) -> Any:
        """Copies what is text or bytes, then writes it where it went before."""
        return through(self._self_name, self.__wrapped__.write, data, self.__wrapped__)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Writes each line, as the stream itself would."""
        for line in lines:
            self.write(line)


class StreamProxy(_Proxy):
    """A text stream; see `_Proxy`."""

    @property
    def buffer(self) -> Any:
        """The stream's binary buffer, copied likewise."""
        return _Buffer(self.__wrapped__, self._self_name)


class _Buffer(_Proxy):
    """The binary buffer of a text stream."""

    def __init__(self, stream: Any, name: str) -> None:
        super().__init__(stream.buffer, name)
        self._self_stream = stream

    def write(self, data: Any) -> Any:
        """Copies what is not seen by its descriptor, then writes it where it went before."""
        if _comes_by_descriptor(self._self_stream):
            return self.__wrapped__.write(data)
        return super().write(data)


def start(sink: Sink) -> None:
    """Begins to copy text to a sink. The streams are looked at anew: a notebook or a test may have swapped them."""
    with _lock:
        _sinks.append(sink)
        handlers: list[tuple[Any, Any]] | None = None
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            if stream is None or type(stream) is StreamProxy:
                continue
            proxy = _proxies.get(name)
            if proxy is None or proxy.__wrapped__ is not stream:
                proxy = _proxies[name] = StreamProxy(stream, name)
            setattr(sys, name, proxy)
            # Handlers that were made before hold the stream itself.
            handlers = _handlers() if handlers is None else handlers
            for handler, held in handlers:
                if held is stream:
                    handler.stream = proxy


def stop(sink: Sink) -> None:
    """Ends the copying; after the last one, proxies give way to what is behind them, wherever they have got to."""
    with _lock:
        if sink in _sinks:
            _sinks.remove(sink)
        if _sinks:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            if type(stream) is StreamProxy:
                setattr(sys, name, stream.__wrapped__)
        for handler, stream in _handlers():
            if type(stream) is StreamProxy:
                handler.stream = stream.__wrapped__
        for name, proxy in tuple(_proxies.items()):
            stream = proxy.__wrapped__
            # A stream that the program put there lives no longer than without us, unless another thread may be in it.
            if stream is not sys.__stdout__ and stream is not sys.__stderr__ and threading.active_count() == 1:
                del _proxies[name]


def _handlers() -> list[tuple[Any, Any]]:
    """Returns the logging handlers that hold a stream, and their streams."""
    found: list[tuple[Any, Any]] = []
    for reference in list(getattr(logging, "_handlerList", ())):
        handler: Any = reference()
        if isinstance(handler, _STREAM_HANDLER) and (stream := handler.__dict__.get("stream")) is not None:
            found.append((handler, stream))
    return found


def forget() -> None:
    """Lets a forked child start without captured runs; the proxies stay, and only pass text on."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _sinks.clear()
