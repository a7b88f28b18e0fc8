"""Owns how each kind of function is run inside a recording: plain, coroutine, generator, async generator."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from nxtrack.tracking.recording import Recording

    Make = Callable[[], Recording | None]


def plain(recording: Recording, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Calls a plain function."""
    try:
        recording.begin()
        result = function(*args, **kwargs)
        recording.end(result=result)
    except BaseException as error:  # of the function; or Ctrl-C in one of the other two
        recording.end(error)
        raise
    return result


async def coroutine(make: Make, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Awaits a coroutine function; the run begins when it is awaited, as its code does."""
    recording = make()
    if recording is None:
        return await function(*args, **kwargs)
    try:
        recording.begin()
        result = await function(*args, **kwargs)
        recording.end(result=result)
    except BaseException as error:  # As in `plain`.
        recording.end(error)
        raise
    return result


def generator(make: Make, function: Callable[..., Any], args: Any, kwargs: Any) -> Generator[Any, Any, Any]:
    """Runs a generator; the run begins with the first value asked for, and is current only while its code runs.

    Its output is what it returns, else the last value it yielded. A consumer that has seen enough ends it well.
    """
    recording = make()
    if recording is None:
        inner: Generator[Any, Any, Any] = function(*args, **kwargs)
        return (yield from inner)
    last = sent = None
    try:
        recording.begin()
        steps = function(*args, **kwargs)
        step = steps.send
        try:
            while True:
                value = last = step(sent)
                recording.suspend()
                try:
                    step, sent = steps.send, (yield value)
                except BaseException as error:  # noqa: BLE001  (the consumer threw it: it goes to the generator)
                    step, sent = steps.throw, error
                recording.resume()
        except StopIteration as stop:
            recording.end(result=last if stop.value is None else stop.value)
            return stop.value
    except BaseException as error:
        recording.end(None if isinstance(error, GeneratorExit) else error, result=last)
        raise
    finally:
        sent = None  # An exception that was thrown in would hold this frame, which holds it.


async def async_generator(make: Make, function: Callable[..., Any], args: Any, kwargs: Any) -> AsyncGenerator[Any, Any]:
    """Runs an async generator; see `generator`."""
    # An async generator has no `yield from`: a recursive one is driven by the same steps, only without a recording.
    recording = make() or _Unrecorded()
    last = step = None
    try:
        recording.begin()
        steps = function(*args, **kwargs)
        step = _first_step(steps)
        try:
            while True:
                value = last = await step
                recording.suspend()
                try:
                    step = steps.asend((yield value))
                except BaseException as error:  # noqa: BLE001  (the consumer threw it: it goes to the generator)
                    step = steps.athrow(error)
                recording.resume()
        except StopAsyncIteration:
            recording.end(result=last)
    except BaseException as error:
        recording.end(None if isinstance(error, GeneratorExit) else error, result=last)
        raise
    finally:
        step = None  # As in `generator`.


def _first_step(steps: AsyncGenerator[Any, Any]) -> Any:
    """Begins an async generator behind the event loop's back.

    The loop closes all that it knows at its end, side by side: the outer one shall close the inner one by itself.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return steps.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


class _Unrecorded:
    """Stands in for a recording where a recursive call is part of the run around it."""

    def begin(self) -> None:
        """Changes nothing."""

    resume = suspend = begin

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
