"""Owns `nxtrack submit`: from what was typed to a run on the platform, its input sent in constant memory."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from nxtrack.cli import remote_place
from nxtrack.cli.main import DONE
from nxtrack.cli.options import options_of
from nxtrack.cli.output import complain, emit, say
from nxtrack.cli.remote import finish
from nxtrack.cli.remote_bar import Transfer
from nxtrack.cli.remote_files import ARCHIVES, check_target, local_file
from nxtrack.cloud.payloads import payload_of
from nxtrack.cloud.retries import TRANSFER
from nxtrack.errors import CloudError, RunUnconfirmed, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nxtrack.cli.remote import Wish
    from nxtrack.cloud.application import Application
    from nxtrack.cloud.payloads import Payload

_STDIN = "-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submission:
    """The options of `nxtrack submit` as they were typed.

    Attributes:
        source: The input: a file, a folder, or `-` for stdin.
        app_id: The application; None for the one of the settings.
        instance_id: The instance; None for the one of the settings, else the application's own.
        options: `k=v` for each option of the run.
        form: The input's format; None to find out.
        output_form: The format of what the run returns.
    """

    source: str
    app_id: str | None = None
    instance_id: str | None = None
    options: Sequence[str] = ()
    name: str | None = None
    description: str | None = None
    form: str | None = None
    output_form: str = "json"


class Submitted(msgspec.Struct, frozen=True):
    """What `nxtrack submit --json` prints when it does not wait."""

    run_id: str
    app_id: str


def submit(order: Submission, wish: Wish) -> int:
    """Submits a run, and if that is wished waits for it and gives its output.

    Returns:
        The exit status: as `result`, or 0 once it is submitted.

    Raises:
        NxtrackError: The input or an option cannot be used, or the platform did not take the run.
    """
    options = options_of(order.options)
    check_target(wish.output, order.output_form)
    with remote_place.application(order.app_id, wish.limits) as application:
        run_id = _submit(application, order, options, silent=wish.as_json)
        place = remote_place.place(application, run_id)
        if wish.waits:
            if not wish.as_json:
                complain(f"Run {run_id} submitted to {application.id}.")
            return finish(place, wish)
    if wish.as_json:
        emit(Submitted(run_id, application.id))
    else:
        say(f"Run {run_id} submitted to {application.id}: {place.way_back} fetches what comes of it.")
    return DONE


def _submit(application: Application, order: Submission, options: dict[str, str], *, silent: bool) -> str:
    source = sys.stdin.buffer if order.source == _STDIN else Path(order.source)
    try:
        with (
            local_file("stdin" if order.source == _STDIN else order.source),
            payload_of(source, what="The input", limit=application.limits.upload) as payload,
        ):
            form = order.form or _form(order.source, payload, application.limits.inline)
            given: dict[str, Any] = {}
            with payload.open() as file:
                if payload.size > application.limits.inline or form in ARCHIVES:
                    given["upload_id"] = _upload(application, file, silent=silent)
                else:
                    given["input"] = file
                return application.new_run(
                    **given,
                    instance_id=order.instance_id,
                    name=order.name,
                    description=order.description,
                    options=options or None,
                    configuration={"format": {"input": {"type": form}, "output": {"type": order.output_form}}},
                )
    except KeyboardInterrupt as interrupt:
        # A note tells that the run was on its way, and what to look for.
        complain(*getattr(interrupt, "__notes__", ["Stopped: no run was submitted."]))
        raise
    except RunUnconfirmed:  # which tells itself what to do
        raise
    except CloudError as error:
        complain(f"No run was submitted{': try again' if isinstance(error, TRANSFER) else ''}.")
        raise


def _upload(application: Application, file: BinaryIO, *, silent: bool) -> str:
    with Transfer("Uploading", silent=silent) as shown:
        return application.upload(file, progress=shown.progress).upload_id


def _form(source: str, payload: Payload, most: int) -> str:
    """Returns the format of an input: by its name where that tells, else by what is in it."""
    if payload.form != "json":
        return payload.form
    if not payload.size:
        raise SettingsError("The input is empty, and no run was submitted: give `--format text` if it is meant to be.")
    if re.search(r"\.(tar\.gz|tgz)$", source, re.IGNORECASE):
        return "multi-file"
    if source.lower().endswith(".json"):
        return "json"
    with payload.open() as file:
        if payload.size > most:  # too large to be looked through for this
            return "json" if file.read(1000).lstrip()[:1] in {b"{", b"["} else "text"
        data = file.read(payload.size)
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return "text"
    return "json"
