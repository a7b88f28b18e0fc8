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
_lock = threading.Lock()
_sinks: list[Sink] = []
_installed: list[tuple[str, Any]] = []
_repointed: list[tuple[Any, Any]] = []
_inside = _Inside()


def _nobody() -> Sink | None:
    return None


_current_sink: Callable[[], Sink | None] = _nobody


def attribute_by(current_sink: Callable[[], Sink | None]) -> None:
    """Sets how the sink of the running code's own run is found."""
    global _current_sink  # noqa: PLW0603
    _current_sink = current_sink


def _copy(stream: str, data: bytes) -> None:
    sink = _current_sink()
    if sink is not None:
        if stream in sink.streams:
            sink.write(data)
        return
    sinks = [sink for sink in _sinks if stream in sink.streams]
    for sink in sinks:
        sink.shared = sink.shared or len(sinks) > 1
        sink.write(data)


class _Proxy(ObjectProxy):
    """A stream, but for what is written to it, of which a copy goes to the run's log first."""

    def __init__(self, wrapped: Any, name: str) -> None:
        super().__init__(wrapped)
        self._self_name = name

    def write(self, data: Any) -> Any:
        """Copies what is text or bytes, then writes it where it went before."""
        if _inside.value:
            return self.__wrapped__.write(data)
        if isinstance(data, str):
            _copy(self._self_name, data.encode("utf-8", "backslashreplace"))
        elif isinstance(data, _BINARY):
            _copy(self._self_name, bytes(data))
        _inside.value = True
        try:
            return self.__wrapped__.write(data)
        finally:
            _inside.value = False

    def writelines(self, lines: Iterable[Any]) -> None:
        """Writes each line, as the stream itself would."""
        for line in lines:
            self.write(line)


class StreamProxy(_Proxy):
    """A text stream; see `_Proxy`."""

    @property
    def buffer(self) -> Any:
        """The stream's binary buffer, copied likewise."""
        return _Proxy(self.__wrapped__.buffer, self._self_name)


def start(sink: Sink) -> None:
    """Begins to copy text to a sink. The streams are looked at anew: a notebook or a test may have swapped them."""
    with _lock:
        _sinks.append(sink)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None or type(stream) is StreamProxy:
                continue
            proxy = StreamProxy(stream, name)
            setattr(sys, name, proxy)
            _installed.append((name, proxy))
            _repoint(stream, proxy)


def stop(sink: Sink) -> None:
    """Ends the copying; after the last one the streams and handlers are as they were, where they are still ours."""
    with _lock:
        if sink in _sinks:
            _sinks.remove(sink)
        if _sinks:
            return
        for name, proxy in reversed(_installed):
            if getattr(sys, name) is proxy:
                setattr(sys, name, proxy.__wrapped__)
        for handler, proxy in _repointed:
            if handler.stream is proxy:
                handler.stream = proxy.__wrapped__
        _installed.clear()
        _repointed.clear()


def _repoint(stream: Any, proxy: StreamProxy) -> None:
    """Gives the proxy to logging handlers that were made before it, and so hold the stream itself."""
    for reference in list(getattr(logging, "_handlerList", ())):
        handler = reference()
        if isinstance(handler, _STREAM_HANDLER) and vars(handler).get("stream") is stream:
            handler.stream = proxy
            _repointed.append((handler, proxy))


def forget() -> None:
    """Lets a forked child start without captured runs; the proxies stay, and only pass text on."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _sinks.clear()
