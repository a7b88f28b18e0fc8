"""Owns how each kind of function is run inside a recording: plain, coroutine, generator, async generator."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from nxtrack.tracking.recording import Recording

    Begin = Callable[[], Recording | None]


def plain(begin: Begin, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Calls a plain function."""
    recording = begin()
    if recording is None:
        return function(*args, **kwargs)
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        recording.end(error)
        raise
    recording.end(result=result)
    return result


async def coroutine(begin: Begin, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Awaits a coroutine function; the run begins when it is awaited, as its code does."""
    recording = begin()
    if recording is None:
        return await function(*args, **kwargs)
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        recording.end(error)
        raise
    recording.end(result=result)
    return result


def generator(begin: Begin, function: Callable[..., Any], args: Any, kwargs: Any) -> Generator[Any, Any, Any]:
    """Runs a generator; the run begins with the first value asked for, and is current only while its code runs.

    Its output is what it returns, else the last value it yielded.
    """
    recording = begin()
    if recording is None:
        inner: Generator[Any, Any, Any] = function(*args, **kwargs)
        return (yield from inner)
    last: Any = None
    try:
        steps = function(*args, **kwargs)
        step, sent = steps.send, None
        while True:
            value = last = step(sent)
            recording.suspend()
            try:
                step, sent = steps.send, (yield value)
            except GeneratorExit:
                recording.resume()
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001  (the consumer threw it: it goes to the generator)
                step, sent = steps.throw, error
            recording.resume()
    except StopIteration as stop:
        recording.end(result=last if stop.value is None else stop.value)
        return stop.value
    except BaseException as error:
        recording.end(error, result=last)
        raise


async def async_generator(
    begin: Begin, function: Callable[..., Any], args: Any, kwargs: Any
) -> AsyncGenerator[Any, Any]:
    """Runs an async generator; see `generator`."""
    # An async generator has no `yield from`: a recursive one is driven by the same steps, only without a recording.
    recording = begin() or _Unrecorded()
    last: Any = None
    try:
        steps = function(*args, **kwargs)
        step, sent = steps.asend, None
        while True:
            value = last = await step(sent)
            recording.suspend()
            try:
                step, sent = steps.asend, (yield value)
            except GeneratorExit:
                recording.resume()
                await steps.aclose()
                raise
            except BaseException as error:  # noqa: BLE001  (the consumer threw it: it goes to the generator)
                step, sent = steps.athrow, error
            recording.resume()
    except StopAsyncIteration:
        recording.end(result=last)
    except BaseException as error:
        recording.end(error, result=last)
        raise


class _Unrecorded:
    """Stands in for a recording where a recursive call is part of the run around it."""

    def resume(self) -> None:
        """Changes nothing."""

    suspend = resume

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        """Records nothing."""


def kind_of(function: Any) -> Callable[..., Any]:
    """Returns how a function is to be run inside a recording, by what calling it gives."""
    kind = cast("Any", type(function))
    candidates: tuple[Any, ...] = (function, getattr(kind, "__call__", None))  # noqa: B004
    for check, run in (
        (inspect.iscoroutinefunction, coroutine),
        (inspect.isasyncgenfunction, async_generator),
        (inspect.isgeneratorfunction, generator),
    ):
        if any(check(candidate) for candidate in candidates):
            return run
    return plain
