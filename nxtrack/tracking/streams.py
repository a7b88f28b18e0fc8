"""Owns the capture of `sys.stdout` and `sys.stderr`: what a run prints goes to its log and to where it went before.

A proxy stands in place of each stream while runs are captured. It asks which run the text belongs to: by the context
variable, which threads of a pool do not have; then, if just one run is being captured, by that. Text of several runs
that cannot be told apart goes to all of them, and each says so.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def _nothing() -> None:
    pass


def _never(_stream: Any) -> bool:
    return False


_current_sink: Callable[[], Sink | None] = _nobody
_show_first: Callable[[], None] = _nothing
_comes_by_descriptor: Callable[[Any], bool] = _never


def know_of_descriptors(show_first: Callable[[], None], comes_by_descriptor: Callable[[Any], bool]) -> None:
    """Sets what is asked before something is written.

    Args:
        show_first: Shows what was written before.
        comes_by_descriptor: Says whether bytes for the buffer of a stream will be seen by its descriptor.
    """
    global _show_first, _comes_by_descriptor
    _show_first, _comes_by_descriptor = show_first, comes_by_descriptor


def attribute_by(current_sink: Callable[[], Sink | None]) -> None:
    """Sets how the sink of the running code's own run is found."""
    global _current_sink  # noqa: PLW0603
    _current_sink = current_sink


def _copy(stream: str, data: bytes) -> None:
    if threading.current_thread().name.startswith("nxtrack"):
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


def through(stream: str, write: Callable[[Any], Any], data: Any) -> Any:
    """Copies what is text or bytes to the run that prints it, unless that was done already; then writes it.

    Args:
        stream: What it is printed to.
        write: Writes it there.
        data: Whatever the program gave.
    """
    if _inside.value:
        return write(data)
    _show_first()
    if isinstance(data, str):
        _copy(stream, str.encode(data, "utf-8", "backslashreplace"))
    elif isinstance(data, _BINARY):
        _copy(stream, bytes(data))
    _inside.value = True
    try:
        return write(data)
    finally:
        _inside.value = False


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
        return through(self._self_name, self.__wrapped__.write, data)

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
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            if stream is None or type(stream) is StreamProxy:
                continue
            proxy = _proxies.get(name)
            if proxy is None or proxy.__wrapped__ is not stream:
                proxy = _proxies[name] = StreamProxy(stream, name)
            setattr(sys, name, proxy)
            # Handlers that were made before hold the stream itself.
            for handler, held in _handlers():
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
        if threading.active_count() == 1:
            _proxies.clear()  # Nobody is in one, and a stream lives no longer than without us.


def _handlers() -> list[tuple[Any, Any]]:
    """Returns the logging handlers that hold a stream, and their streams."""
    handlers: list[Any] = [reference() for reference in list(getattr(logging, "_handlerList", ()))]
    found = [handler for handler in handlers if isinstance(handler, _STREAM_HANDLER)]
    return [(handler, handler.__dict__.get("stream")) for handler in found]


def forget() -> None:
    """Lets a forked child start without captured runs; the proxies stay, and only pass text on."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _sinks.clear()
