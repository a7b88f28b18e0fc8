"""Owns what `track(...)` gives: the decorator, a thin skin over the context manager."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from nxtrack.tracking.functions import module_name, tracked_function
from nxtrack.tracking.plan import make
from nxtrack.tracking.recording import Recording
from nxtrack.tracking.state import UNSET, current_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from nxtrack.tracking.run import Run

__all__ = ["Tracker", "tracked_function"]

Function = TypeVar("Function", bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]")


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
        self._entered: list[tuple[int, Recording]] = []

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
        recording = Recording(self._plan, _caller())
        run = recording.begin(lambda: (self._arguments.get("input", UNSET), dict(options or {})))
        self._entered.append((threading.get_ident(), recording))
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the run: by its exception, if one leaves the block, which goes on as it was."""
        recording = self._innermost()
        if recording is not None:
            recording.end(error)

    def _innermost(self) -> Recording | None:
        """Returns the recording to end: this task's or generator's own, as one tracker may be entered by several."""
        thread, current = threading.get_ident(), current_run()
        mine = [entry for entry in self._entered if entry[0] == thread]
        chosen = next((entry for entry in mine if entry[1].run is current), mine[-1] if mine else None)
        if chosen is None:
            return None
        self._entered.remove(chosen)
        return chosen[1]


def _caller() -> str:
    """Returns what the code around a with-block is called in messages."""
    frame: Any = inspect.currentframe()
    code = frame.f_back.f_back
    function = code.f_code.co_qualname
    return f"{module_name(code.f_globals.get('__name__'))}{'' if function == '<module>' else '.' + function}"
