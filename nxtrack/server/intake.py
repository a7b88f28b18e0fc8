"""Takes a new run in: checks every field of `POST .../runs`, reads its payloads, and stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack.cloud.messages import ExternalResult, NewRun, RunFormat
from nxtrack.server import contents
from nxtrack.server.ids import new_run_id
from nxtrack.server.refusals import ApiRefusal
from nxtrack.server.store import Artefact, Run, StoredAsset, UploadChanged

if TYPE_CHECKING:
    from nxtrack.server.state import Platform

_LONGEST_NAME = 1_000
_LONGEST_DESCRIPTION = 10_000
# A hundred years; it also keeps the number within what SQLite holds.
_LONGEST_DURATION = 100 * 366 * 24 * 3600 * 1000
_TRIES = 5


@dataclass
class _Intake:
    """One run on its way in."""

    platform: Platform
    application: str
    uploads: dict[str, str] = field(default_factory=dict[str, str])
    artefacts: dict[str, Artefact] = field(default_factory=dict[str, Artefact])
    assets: list[StoredAsset] = field(default_factory=list[StoredAsset])
    metrics: dict[str, Any] | None = None
    made: list[str] = field(default_factory=list[str])

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

    def add(self, kind: str, data: bytes) -> None:
        """Stores bytes that came with the request, or out of another payload."""
        payload = self.platform.payloads.add(data)
        self.made.append(payload)
        self.artefacts[kind] = Artefact(payload=payload, size=len(data))

    def inspected(self, where: str, artefact: Artefact) -> bytes | None:
        """The bytes of a JSON payload, or None when it is too large to be looked into."""
        if artefact.size > self.platform.limits.inspected:
            return None
        data = self.platform.payloads.read(artefact.payload)
        if not contents.is_json(data):
            raise _bad(f"{where}: the upload is not valid JSON in UTF-8.")
        return data

    def adopt(self, findings: contents.Findings) -> None:
        """Takes over what was found in a payload; what was found last wins."""
        if findings.metrics is not None:
            self.metrics = findings.metrics
        if not findings.assets:
            return
        self.assets = []
        for number, asset in enumerate(findings.assets):
            kind = f"asset-{number}"
            self.add(kind, bytes(asset.content))
            self.assets.append(
                StoredAsset(
                    kind=kind,
                    name=asset.name,
                    description=asset.description or "",
                    content_type=asset.content_type,
                    visual=asset.visual,
                )
            )


def accept_run(platform: Platform, application: str, instance: str | None, body: bytes) -> str:
    """Stores the run that a request describes, and gives its id.

    Raises:
        ApiRefusal: The request cannot be accepted; the sentence names the field.
    """
    request = _decode(body)
    if request.result is None:
        raise _bad(
            "result: it is missing, and this platform runs no instances; send the result of a run made elsewhere."
        )
    _check(request, request.result)
    for _ in range(_TRIES):
        intake = _Intake(platform, application)
        try:
            return _accept(intake, request, request.result, instance)
        except (UploadChanged, FileNotFoundError):
            # An upload was replaced while it was being looked at: the next try finds its new payload.
            platform.payloads.remove(intake.made)
        except BaseException:
            platform.payloads.remove(intake.made)
            raise
    raise ApiRefusal(HTTPStatus.CONFLICT, "An upload of this run is being replaced over and over; send it again.")


def _accept(intake: _Intake, request: NewRun, result: ExternalResult, instance: str | None) -> str:
    formats = (request.configuration and request.configuration.format) or RunFormat()
    output_format = formats.output.type if formats.output else "json"
    _take_input(intake, request)
    _take_result(intake, result, output_format)
    platform = intake.platform
    run = Run(
        id=new_run_id(instance),
        application=intake.application,
        instance=instance or "",
        name=request.name or "",
        description=request.description or "",
        status=result.status,
        created_at=platform.microseconds(),
        duration=result.execution_duration or 0,
        error=result.error_message or "",
        run_type="external",
        input_format=formats.input.type,
        output_format=output_format,
        execution_class=(request.configuration and request.configuration.execution_class) or "",
        experiment=request.batch_experiment_id,
        options=request.options or {},
        metrics=intake.metrics,
        artefacts=intake.artefacts,
    )
    owner = platform.application(intake.application)
    platform.store.add_run(run, intake.assets, uploads=intake.uploads, owner=owner)
    return run.id


def _take_input(intake: _Intake, request: NewRun) -> None:
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
        intake.add("input", data)


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
        options: dict[str, Any] = msgspec.json.decode(body).get("options", {})
        wrong = next(name for name, value in options.items() if not isinstance(value, str))
        return f"options: the value of {wrong[:64]!r} is not a string"
    return str(error).replace("`$.", "`")


def _check(request: NewRun, result: ExternalResult) -> None:
    inline = request.input is not msgspec.UNSET and bytes(request.input) != b"null"
    if inline and request.upload_id:
        raise _bad("input and upload_id: send one of them, not both.")
    if not inline and not request.upload_id:
        raise _bad("upload_id: the run has no input; send input or upload_id.")
    if result.error_message and result.status != "failed":
        raise _bad("result.error_message: only a failed run may have one.")
    if (result.execution_duration or 0) > _LONGEST_DURATION:
        raise _bad(f"result.execution_duration: it is more than {_LONGEST_DURATION} ms.")
    check_texts(request.name, request.description)


def check_texts(name: str | None, description: str | None) -> None:
    """Bounds what people write about a run.

    Raises:
        ApiRefusal: One is too long.
    """
    if len(name or "") > _LONGEST_NAME:
        raise _bad(f"name: it is longer than {_LONGEST_NAME} characters.")
    if len(description or "") > _LONGEST_DESCRIPTION:
        raise _bad(f"description: it is longer than {_LONGEST_DESCRIPTION} characters.")


def _bad(message: str) -> ApiRefusal:
    return ApiRefusal(HTTPStatus.BAD_REQUEST, message)
