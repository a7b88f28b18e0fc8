"""Owns what `track(...)` gives: the decorator, a thin skin over the context manager."""

from __future__ import annotations

import inspect
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from nxtrack.tracking.files import of_plan
from nxtrack.tracking.functions import module_name, tracked_function
from nxtrack.tracking.plan import make
from nxtrack.tracking.recording import Recording
from nxtrack.tracking.state import UNSET, current_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType

    from nxtrack.tracking.run import Run

__all__ = ["Tracker", "tracked_function"]

Function = TypeVar("Function", bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]")


_INTERLEAVED = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Tracker:
    """What `track(...)` gives: call it with a function to decorate it, or enter it as a with-block."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        """Checks the arguments that mean the same for both uses.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument has a value that cannot be used.
        """
        self._arguments = arguments
        self._plan = make(arguments)
        self._entered: list[tuple[tuple[int, CodeType], int, Recording]] = []

    def __call__(self, function: Function, /) -> Function:
        """Returns the function with its calls tracked.

        Raises:
            TypeError: It is no function, or `input` or `options` name none of its parameters.
        """
        tracked: Function = tracked_function(function, self._arguments)
        return tracked

    def __enter__(self) -> Run:
        """Begins a run of the code in the with-block."""
        options = self._arguments.get("options")
        if options is not None and not hasattr(options, "keys"):
            raise TypeError("options of a with-block takes values by name, such as {'time_limit': 10}")
        frame = _frame_around()
        plan = self._plan
        value = self._arguments.get("input", UNSET if plan.input_dir is None else plan.input_dir)
        recording = Recording(
            plan,
            _source(frame),
            lambda: (value, dict(options or {})),
            files=of_plan(plan, lambda: (plan.input_dir, plan.output_dir)),
            interleaved=bool(frame.f_code.co_flags & _INTERLEAVED),
        )
        entry = _place(frame), threading.get_ident(), recording
        try:
            run = recording.begin()
            self._entered.append(entry)
        except BaseException as error:  # Ctrl-C: the block is not entered.
            recording.end(error)
            raise
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the run: by its exception, if one leaves the block, which goes on as it was."""
        frame, recording = _frame_around(), None
        try:
            recording = self._innermost(_place(frame))
            if recording is not None:
                # A generator whose consumer has seen enough ends well; a coroutine that is given up does not.
                enough = isinstance(error, GeneratorExit) and not frame.f_code.co_flags & inspect.CO_COROUTINE
                recording.end(None if enough else error)
        except BaseException as interruption:  # Ctrl-C before it had begun to end.
            recording = recording or self._innermost(_place(frame))
            if recording is not None:
                recording.end(interruption)
            raise

    def _innermost(self, place: tuple[int, CodeType]) -> Recording | None:
        """Returns the recording to end, as threads, tasks and generators may all have entered this one tracker.

        The with-block's own, whatever its thread or context is by now; for an `ExitStack`, which enters and leaves in
        frames of its own, the current one, else this thread's last, else the last.
        """
        thread, current = threading.get_ident(), current_run()
        entered = list(reversed(self._entered))
        for matches in (
            [entry for entry in entered if entry[0] == place],
            [entry for entry in entered if entry[2].run is current],
            [entry for entry in entered if entry[1] == thread],
            entered,
        ):
            if matches:
                self._entered.remove(matches[0])
                return matches[0][2]
        return None


def _frame_around() -> FrameType:
    """Returns the frame of the with-block whose entering or leaving calls this."""
    return sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  (what it is for)


def _place(frame: FrameType) -> tuple[int, CodeType]:
    """Returns what tells a with-block from others as long as it is open; the frame itself would keep itself alive."""
    return id(frame), frame.f_code


def _source(frame: FrameType) -> str:
    """Returns what the code around a with-block is called in messages."""
    function = frame.f_code.co_qualname
    return f"{module_name(frame.f_globals.get('__name__'))}{'' if function == '<module>' else '.' + function}"
