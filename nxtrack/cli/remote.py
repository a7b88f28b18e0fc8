"""Owns `nxtrack result`, `input` and `logs`: what there is of a run on the platform, waited for if that is wished."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack.cli import remote_place
from nxtrack.cli.main import DONE, LATER, REJECTED
from nxtrack.cli.output import complain, emit, line, on_stdout, plain, say, shorten, size, span
from nxtrack.cli.remote_bar import Waiting
from nxtrack.cli.remote_files import ARCHIVES, check_target, pour, save
from nxtrack.cloud.limits import DEFAULT_LIMITS, Limits
from nxtrack.cloud.polling import PollingOptions
from nxtrack.cloud.waiting import bad_end
from nxtrack.errors import CloudError, SettingsError, StillRunning
from nxtrack.settings import parse_bytes

if TYPE_CHECKING:
    from nxtrack.cli.remote_place import Place
    from nxtrack.cloud.messages import RunInformation

_LOG_LINES = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be done about a run's result.

    Attributes:
        wait: Wait until the run has ended.
        timeout: Wait too, but so many seconds at most; None for no bound.
        output: The file for the output, or a folder to unpack it into; None for stdout.
        limits: What payloads may weigh.
        as_json: Print JSON, and nothing else, on stdout.
    """

    wait: bool = False
    timeout: float | None = None
    output: str | None = None
    limits: Limits = DEFAULT_LIMITS
    as_json: bool = False

    @property
    def waits(self) -> bool:
        """Whether to wait."""
        return self.wait or self.timeout is not None


def limits(*, upload: str = "500MB", download: str = "100MB") -> Limits:
    """Returns the limits that were typed, such as `500MB`.

    Raises:
        SettingsError: One of them is no size.
    """
    sizes: dict[str, int] = {}
    for name, text in (("upload", upload), ("download", download)):
        try:
            sizes[name] = parse_bytes(text)
        except ValueError as error:
            raise SettingsError(f"--max-{name} {line(text, 40)}: {error}.") from error
    return Limits(**sizes)


class Told(msgspec.Struct, kw_only=True):
    """What `nxtrack result --json` prints.

    Attributes:
        status: `queued`, `running`, `succeeded`, `failed` or `canceled`.
        duration_ms: How long it was executed, in milliseconds.
        error: Why it failed; empty if it did not.
        log: Of a run that failed or was canceled, what the platform's error log says.
        output: The output, unless it is an archive or went to `output_file`; null when there is none.
    """

    run_id: str
    app_id: str
    name: str
    description: str
    status: str
    created_at: str
    duration_ms: int
    error: str
    input_size: int
    output_size: int
    input_format: str
    output_format: str
    options: dict[str, Any]
    metrics: dict[str, Any]
    log: str | None = None
    output_file: str | None = None
    output: Any = None


def result(text: str, app_id: str | None, wish: Wish) -> int:
    """Gives what came of a run: its output on stdout or in a file, byte for byte, or all that is known as JSON.

    Args:
        text: The run; see `remote_place.found`.
        app_id: Its application, if it was typed.
        wish: What is to be done.

    Returns:
        The exit status: 0 for a run that succeeded, 1 for one that failed or was canceled, 75 for one that goes on.

    Raises:
        NxtrackError: It cannot be had.
    """
    check_target(wish.output)
    with remote_place.found(text, app_id, wish.limits) as place:
        return finish(place, wish)


def finish(place: Place, wish: Wish) -> int:
    """Does what is wished about the result of a run; see `result`."""
    application = place.application
    with place.asked():
        information = application.run_metadata(place.run_id)
    if information.metadata.is_final:
        return _give(place, information, wish)
    if not wish.waits:
        return _goes_on(place, wish, f"is {line(information.metadata.outcome, 20)}", information)
    polling = PollingOptions(max_duration=-1.0 if wish.timeout is None else wish.timeout)
    shown = Waiting(place.run_id, silent=wish.as_json)
    try:
        with shown:
            information = application.wait_for_run(place.run_id, polling, polled=shown.polled)
    except StillRunning:
        return _goes_on(place, wish, f"goes on after {span(wish.timeout or 0)}", shown.last or information)
    except (KeyboardInterrupt, CloudError):
        complain(f"Run {place.run_id} goes on: {place.way_back} waits for it again.")
        raise
    return _give(place, information, wish)


def _goes_on(place: Place, wish: Wish, how: str, information: RunInformation) -> int:
    if wish.as_json:
        emit(_told(place, information))
    else:
        complain(f"Run {place.run_id} {how}: {place.way_back} waits for it.")
    return LATER


def _give(place: Place, information: RunInformation, wish: Wish) -> int:
    """Gives the output of a run that has ended, and tells of a bad end."""
    run_id, metadata = place.run_id, information.metadata
    failure = bad_end(place.application, information)
    told = _told(place, information)
    # A failed run may have an output: a tracked one that kept what it had. A run that succeeded should have.
    if failure is None or metadata.output_size:
        if wish.output is not None:
            save(place, "output", wish.output, told.output_format, silent=wish.as_json)
            told.output_file = wish.output
        elif not wish.as_json:
            pour(place, "output", told.output_format)
        elif told.output_format not in ARCHIVES:
            told.output = _embedded(place.application.run_output(run_id), told.output_format)
    if wish.as_json:
        told.log = None if failure is None else failure.log
        emit(told)
    elif failure is not None:
        complain(str(failure), *_last_lines(failure.log.removeprefix(metadata.error).lstrip("\n")))
    elif wish.output is not None:
        took = metadata.execution_duration or metadata.duration
        say(f"Run {run_id} succeeded in {span(took / 1000)}: {size(int(metadata.output_size))} in {line(wish.output)}.")
    return DONE if failure is None else REJECTED


def _told(place: Place, information: RunInformation) -> Told:
    metadata = information.metadata
    output = metadata.format.output
    return Told(
        run_id=place.run_id,
        app_id=place.application.id,
        name=information.name,
        description=information.description,
        status=metadata.outcome,
        created_at=metadata.created_at,
        duration_ms=int(metadata.execution_duration or metadata.duration),
        error=metadata.error,
        input_size=int(metadata.input_size),
        output_size=int(metadata.output_size),
        input_format=metadata.format.input.type,
        output_format="json" if output is None else output.type,
        options=metadata.options.request_options or {},
        metrics=metadata.metrics or metadata.statistics or {},
    )


def _embedded(data: bytes, form: str) -> Any:
    if form == "json":
        try:
            return msgspec.json.decode(data, type=msgspec.Raw)
        except (ValueError, RecursionError):
            pass  # Then it is given as the text that it is.
    return data.decode("utf-8", "replace")


def _last_lines(log: str) -> list[str]:
    return [f"  {shorten(plain(text.expandtabs()))}" for text in log.rstrip("\n").split("\n")[-_LOG_LINES:] if log]


def fetch_input(text: str, app_id: str | None, wish: Wish) -> int:
    """Gives a run's input, byte for byte, on stdout or in a file; else as `result`."""
    check_target(wish.output)
    with remote_place.found(text, app_id, wish.limits) as place:
        with place.asked():
            metadata = place.application.run_metadata(place.run_id).metadata
        form = metadata.format.input.type
        if wish.output is None:
            pour(place, "input", form)
        else:
            save(place, "input", wish.output, form, silent=False)
            say(f"The input of run {place.run_id}: {size(int(metadata.input_size))} in {line(wish.output)}.")
    return DONE


def logs(text: str, app_id: str | None, *, follow: bool) -> int:
    """Prints a run's logs, so far or until it has ended; else as `result`.

    Returns:
        The exit status: 0, however the run ended.
    """
    with remote_place.found(text, app_id) as place:
        if not follow:
            with place.asked():
                text = place.application.run_logs(place.run_id)
            _write(text)
            return DONE
        try:
            with place.asked():
                for entry in place.application.follow_logs(place.run_id):
                    _write(entry.log)
        except KeyboardInterrupt:
            complain(f"Run {place.run_id} goes on: {place.way_back} waits for it.")
            raise
    return DONE


def _write(text: str) -> None:
    with on_stdout() as stdout:
        stdout.buffer.write(text.encode("utf-8", "replace"))
