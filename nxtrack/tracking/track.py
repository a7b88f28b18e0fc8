"""Owns `track`, the one name for both uses, and its types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from nxtrack.tracking.tracker import Tracker

Function = TypeVar("Function", bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]")


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
    input_dir: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str] | None = None,
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
            redact: What shall not be recorded: names of keys, patterns, functions of the decoded value. A function
                returns what may be kept, and nothing of a value is when it raises. It also gets each line of the log,
                as `{"log": line}`, of which it keeps the text under `log`.
            process_input: Makes of the input what is recorded.
            process_output: Makes of the output what is recorded.
            input_dir: The parameter that holds the path of a folder, or in a with-block the path itself: the files in
                it are the input, packed before the code runs. Paths may be text or `os.PathLike`; None is no folder.
            output_dir: Likewise, packed when the code has ended: the files are the output. Of what is returned or
                assigned beside them only `metrics` and `assets` count. Folders with `.csv` files and no others are
                `csv-archive`, all others `multi-file`; `redact` does not look into them.
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
    # Here, so that importing nxtrack costs a program hardly more than importing its parts; who decorates needs all.
    from nxtrack.tracking.tracker import Tracker, tracked_function  # noqa: PLC0415

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
        "input_dir",
        "output_dir",
        "sample_rate",
        "enabled",
    }
)
