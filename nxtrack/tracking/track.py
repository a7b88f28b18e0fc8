"""Owns `track`, the one name for both uses: the decorator, and the context manager it is a thin skin over."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeVar, overload

from nxtrack.tracking.functions import module_name, tracked_function
from nxtrack.tracking.plan import make
from nxtrack.tracking.recording import Recording
from nxtrack.tracking.run import Run, current_run
from nxtrack.tracking.state import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

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


@overload
def track(function: Function, /) -> Function: ...


@overload
def track(
    *,
    app_id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    input: Any = None,
    options: Mapping[str, Any] | Iterable[str] | None = None,
    instance_id: str | None = None,
    batch_experiment_id: str | None = None,
    capture: str | None = None,
    streams: str | Iterable[str] | None = None,
    redact: Any = None,
    process_input: Callable[[Any], Any] | None = None,
    process_output: Callable[[Any], Any] | None = None,
    sample_rate: float | None = None,
    enabled: bool = True,
) -> Tracker: ...


def track(function: Any = None, /, **arguments: Any) -> Any:
    """Tracks the calls of a function, or the code of a with-block, as runs of a decision model.

    As a decorator, bare or with arguments, `input` and `options` name parameters; in a with-block they give values.
    What is tracked behaves as without: result, exception, signature and timing are its own.

    Args:
        function: The function, when used as a bare decorator.
        **arguments: All optional:
            app_id: The application on the platform; default `NEXTMV_APP_ID`, at the latest when flushing.
            name: The run's name.
            description: The run's description.
            input: The parameter that is the input, or in a with-block the input itself. Without it, the one
                argument there is, else a dict of all arguments by name.
            options: The parameters that are options, or in a with-block the options by name.
            instance_id: The instance the run is counted to.
            batch_experiment_id: The batch experiment the run joins.
            capture: `auto`, `fd`, `sys` or `off`; default `NXTRACK_CAPTURE`.
            streams: `stderr`, `stdout` or both; default `NXTRACK_STREAMS`.
            redact: What shall not be recorded: names of keys, patterns, functions of the decoded value.
            process_input: Makes of the input what is recorded.
            process_output: Makes of the output what is recorded.
            sample_rate: Which part of the calls is recorded, from 0 to 1.
            enabled: Whether anything is recorded.

    Returns:
        The tracked function, or a `Tracker` to decorate with or to enter.

    Raises:
        TypeError: An argument is unknown or of the wrong type; when decorating, never when the solver runs.
        ValueError: An argument has a value that cannot be used; likewise.
    """
    if unknown := sorted(arguments.keys() - _ARGUMENTS):
        raise TypeError(f"track has no argument {', '.join(unknown)}; it has {', '.join(sorted(_ARGUMENTS))}")
    if function is None:
        return Tracker(arguments)
    if arguments:
        raise TypeError("track takes a function or keyword arguments, not both; write @track(...) with the arguments")
    return tracked_function(function, {})


_ARGUMENTS = frozenset(
    {
        "app_id",
        "name",
        "description",
        "input",
        "options",
        "instance_id",
        "batch_experiment_id",
        "capture",
        "streams",
        "redact",
        "process_input",
        "process_output",
        "sample_rate",
        "enabled",
    }
)
