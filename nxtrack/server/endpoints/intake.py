"""Takes a new run in: checks every field of `POST .../runs`, reads its payloads, and stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack.cloud.messages import ExternalResult, NewRun, RunFormat
from nxtrack.server.data import contents
from nxtrack.server.data.gathering import Gathering
from nxtrack.server.data.store import Artefact, Run, UploadChanged
from nxtrack.server.execution.instances import NoInstance
from nxtrack.server.ids import is_id, new_run_id
from nxtrack.server.refusals import ApiRefusal

if TYPE_CHECKING:
    from nxtrack.server.state import Platform

_TRIES = 5
# Of the others, which are archives, a program would get bytes that it can make nothing of.
_EXECUTED_FORMATS = frozenset({"json", "text"})


@dataclass(kw_only=True)
class _Intake(Gathering):
    """One run on its way in."""

    platform: Platform
    application: str
    uploads: dict[str, str] = field(default_factory=dict[str, str])

    def take(self, where: str, upload_id: str) -> Artefact:
        """The payload of an upload, which the field `where` names."""
        upload = self.platform.store.upload(upload_id)
        shown = repr(upload_id[:64])
        if upload is None:
            raise _bad(f"{where}: no upload {shown} is known here; ask for an upload URL first.")
        if upload.application != self.application:
            raise _bad(f"{where}: the upload {shown} belongs to another application.")
        if self.platform.clock() > upload.expires_at:
            raise _bad(f"{where}: the upload {shown} has expired; upload it again under a new id.")
        if upload.payload is None:
            raise _bad(f"{where}: nothing was PUT to the upload URL of {shown}.")
        self.uploads[upload.id] = upload.payload
        return Artefact(payload=upload.payload, size=upload.size)

    def inspected(self, where: str, artefact: Artefact) -> bytes | None:
        """The bytes of a JSON payload, or None when it is too large to be looked into."""
        data = self.looked_into(artefact)
        if data is not None and not contents.is_json(data):
            raise _bad(f"{where}: the upload is not valid JSON in UTF-8.")
        return data

    def looked_into(self, artefact: Artefact) -> bytes | None:
        """The bytes of a payload, or None when it is too large for that."""
        if artefact.size > self.platform.limits.inspected:
            return None
        return self.platform.payloads.read(artefact.payload)


def accept_run(platform: Platform, application: str, instance: str | None, body: bytes) -> str:
    """Stores the run that a request describes, and gives its id; one without a result is queued.

    Raises:
        ApiRefusal: The request cannot be accepted; the sentence names the field.
    """
    request = _decode(body)
    executed_by = None if request.result else _choose(platform, application, instance)
    _check(request)
    for _ in range(_TRIES):
        intake = _Intake(payloads=platform.payloads, platform=platform, application=application)
        try:
            run_id = _accept(intake, request, instance if executed_by is None else executed_by)
        except (UploadChanged, FileNotFoundError):
            # An upload was replaced while it was being looked at: the next try finds its new payload.
            intake.forget()
        except BaseException:
            intake.forget()
            raise
        else:
            if executed_by is not None:
                platform.runner.wake()
            return run_id
    raise ApiRefusal(HTTPStatus.CONFLICT, "An upload of this run is being replaced over and over; send it again.")


def _choose(platform: Platform, application: str, asked: str | None) -> str:
    """The name of the instance that is to execute a run."""
    known = platform.store.application(application)
    default = None if known is None else known.default_instance
    try:
        return platform.instances.choose(asked, default).name
    except NoInstance as error:
        raise _bad(str(error)) from error


def _accept(intake: _Intake, request: NewRun, instance: str | None) -> str:
    formats = (request.configuration and request.configuration.format) or RunFormat()
    result = request.result
    output_format = formats.output.type if formats.output else _unnamed(intake, result, formats.input.type)
    if result is None:
        _check_formats(formats.input.type, output_format)
    _take_input(intake, request, formats.input.type)
    if result is not None:
        _take_result(intake, result, output_format)
    platform = intake.platform
    run = Run(
        id=new_run_id(instance),
        application=intake.application,
        instance=instance or "",
        name=request.name or "",
        description=request.description or "",
        status=result.status if result else "queued",
        created_at=platform.microseconds(),
        duration=(result and result.execution_duration) or 0,
        error=(result and result.error_message) or "",
        run_type="external" if result else "standard",
        input_format=formats.input.type,
        output_format=output_format,
        execution_class=(request.configuration and request.configuration.execution_class) or "",
        experiment=request.batch_experiment_id or None,
        options=request.options or {},
        metrics=intake.metrics,
        artefacts=intake.artefacts,
    )
    owner = platform.application(intake.application)
    platform.store.add_run(run, intake.assets, uploads=intake.uploads, owner=owner)
    return run.id


def _unnamed(intake: _Intake, result: ExternalResult | None, input_format: str) -> str:
    """The format of an output of which none is named: JSON, but what is none is of the input's format.

    So tracks the command line of the public SDK (1.13), which names the input's only.
    """
    if input_format == "json" or result is None or result.output_upload_id is None:
        return "json"
    data = intake.looked_into(intake.take("result.output_upload_id", result.output_upload_id))
    return "json" if data is not None and contents.is_json(data) else input_format


def _check_formats(input_format: str, output_format: str) -> None:
    for where, name in (("input", input_format), ("output", output_format)):
        if name not in _EXECUTED_FORMATS:
            raise _bad(
                f"configuration.format.{where}.type: instances of this platform read and print json or text, not "
                f"{name}; execute the run elsewhere and track it."
            )


def _take_input(intake: _Intake, request: NewRun, input_format: str) -> None:
    if request.upload_id:
        intake.artefacts["input"] = intake.take("upload_id", request.upload_id)
    elif request.input is not msgspec.UNSET:
        data = bytes(request.input)
        if len(data) > intake.platform.limits.inline:
            raise ApiRefusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"input: {len(data)} bytes are more than the {intake.platform.limits.inline} that may stand in a "
                "request; upload it and send its upload_id.",
            )
        # A text comes as a JSON string; what is stored, and executed, is the text.
        text = _text_of(data) if input_format == "text" else None
        intake.add("input", data if text is None else text)


def _text_of(data: bytes) -> bytes | None:
    try:
        return msgspec.json.decode(data, type=str).encode()
    except ValueError:
        return None


def _take_result(intake: _Intake, result: ExternalResult, output_format: str) -> None:
    if result.output_upload_id is not None:
        output = intake.take("result.output_upload_id", result.output_upload_id)
        intake.artefacts["output"] = output
        if output_format == "json" and (data := intake.inspected("result.output_upload_id", output)) is not None:
            intake.adopt(contents.in_output(data))
    if result.error_upload_id is not None:
        logs = intake.take("result.error_upload_id", result.error_upload_id)
        if not contents.is_text(intake.platform.payloads.path(logs.payload)):
            raise _bad("result.error_upload_id: the logs are not UTF-8 text.")
        intake.artefacts["logs"] = logs
    separate = {
        "statistics": result.statistics_upload_id,
        "metrics": result.metrics_upload_id,
        "assets": result.assets_upload_id,
    }
    for kind, upload_id in separate.items():
        if upload_id is None:
            continue
        where = f"result.{kind}_upload_id"
        artefact = intake.take(where, upload_id)
        if (data := intake.inspected(where, artefact)) is not None:
            intake.adopt(contents.in_upload(kind, data))


class _Options(msgspec.Struct):
    """Of a run request only the options, whatever their values are."""

    options: dict[str, Any] = {}


def _decode(body: bytes) -> NewRun:
    try:
        body.decode()
        return msgspec.json.decode(body, type=NewRun)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _bad(f"The run request cannot be used: {_named(body, error)}.") from error
    except ValueError as error:
        raise _bad(f"The run request is not valid JSON: {error}.") from error


def _named(body: bytes, error: Exception) -> str:
    """What is wrong with the request; for an option, which one, as the decoder does not say."""
    if "$.options[" in str(error):
        try:
            options = msgspec.json.decode(body, type=_Options).options
        except (ValueError, RecursionError):
            options = {}  # It has them twice, say.
        wrong = next((name for name, value in options.items() if not isinstance(value, str)), None)
        if wrong is not None:
            return f"options: the value of {wrong[:64]!r} is not a string"
    return str(error).replace("`$.", "`")


def _check(request: NewRun) -> None:
    result = request.result
    inline = request.input is not msgspec.UNSET and bytes(request.input) != b"null"
    if inline and request.upload_id:
        raise _bad("input and upload_id: send one of them, not both.")
    if not inline and not request.upload_id:
        raise _bad("upload_id: the run has no input; send input or upload_id.")
    for name, value in (request.options or {}).items() if result is None else ():
        # A program gets them as words of its command line, which can hold anything but this.
        if not name or name.startswith("-") or "\0" in name + value:
            raise _bad(f"options: {name[:64]!r} cannot be handed to a program; begin its name with no dash.")
    if result and result.error_message and result.status != "failed":
        raise _bad("result.error_message: only a failed run may have one.")
    if request.batch_experiment_id and not is_id(request.batch_experiment_id):
        raise _bad(
            "batch_experiment_id: it may have letters, digits, `.`, `_` and `-`, begins with one of the first two, "
            "and has at most 128 of them."
        )


def _bad(message: str) -> ApiRefusal:
    return ApiRefusal(HTTPStatus.BAD_REQUEST, message)
