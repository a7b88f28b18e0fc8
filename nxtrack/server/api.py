"""The API under `/v1`: applications, and the runs tracked in them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from nxtrack.cloud.messages import (
    AssetDownload,
    AssetPage,
    DownloadURL,
    ErrorLog,
    NewApplication,
    RunChange,
    RunCreated,
    RunLogs,
    RunResult,
)
from nxtrack.server.answers import application_answer, asset_answer, information_answer, list_item, metadata_answer
from nxtrack.server.ids import is_id, new_application_id
from nxtrack.server.intake import accept_run, check_texts
from nxtrack.server.objects import download_url, media_of, platform_of
from nxtrack.server.refusals import ApiRefusal
from nxtrack.server.store import Run, StoredApplication

if TYPE_CHECKING:
    from starlette.requests import Request

_Body = TypeVar("_Body")

_SMALL_BODY = 64 * 1024
# What a run request may hold besides its inline input.
_RUN_BODY = 1024 * 1024


# Applications


async def create_application(request: Request) -> Response:
    """`POST /v1/applications`."""
    new = _decode(await _body(request, _SMALL_BODY), NewApplication)
    name = new.id or new_application_id()
    _check_id("application", name)
    platform = platform_of(request)
    application = StoredApplication(
        id=name,
        name=new.name or name,
        description=new.description or "",
        default_instance=new.default_instance_id,
        created_at=platform.microseconds(),
    )
    if not await run_in_threadpool(platform.store.add_application, application):
        _refuse(HTTPStatus.CONFLICT, f"The application {name} exists already.")
    return _json(application_answer(application))


def list_applications(request: Request) -> Response:
    """`GET /v1/applications`, in the order of their ids."""
    platform = platform_of(request)
    size = platform.limits.page
    after = request.query_params.get("pagetoken", "")
    if after:
        _check_id("page token's application", after)
    found = platform.store.applications(limit=size + 1, after=after)
    answer: dict[str, object] = {"items": [application_answer(application) for application in found[:size]]}
    if len(found) > size:
        answer["next_page_token"] = found[size - 1].id
    return _json(answer)


def get_application(request: Request) -> Response:
    """`GET /v1/applications/{app}`."""
    return _json(application_answer(_application(request)))


def delete_application(request: Request) -> Response:
    """`DELETE /v1/applications/{app}`: with all its runs."""
    platform = platform_of(request)
    name = _application_id(request)
    unused = platform.store.remove_application(name)
    if unused is None:
        _refuse(HTTPStatus.NOT_FOUND, f"No application {name} exists.")
    platform.payloads.remove(unused)
    return _json({})


# Runs


async def create_run(request: Request) -> Response:
    """`POST /v1/applications/{app}/runs`: see `intake`."""
    platform = platform_of(request)
    application = _application_id(request)
    instance = request.query_params.get("instance_id") or None
    if instance is not None:
        _check_id("instance", instance)
    body = await _body(request, platform.limits.inline + _RUN_BODY)
    run_id = await run_in_threadpool(accept_run, platform, application, instance, body)
    return _json(RunCreated(run_id=run_id))


def list_runs(request: Request) -> Response:
    """`GET /v1/applications/{app}/runs`: newest first; a page goes on where the last one ended, whatever came since."""
    platform = platform_of(request)
    application = _application(request).id
    token = request.query_params.get("pagetoken")
    before = platform.signer.number(f"runs {application}", token) if token else None
    if token and before is None:
        _refuse(HTTPStatus.BAD_REQUEST, "pagetoken: it is not one that this list of runs gave out.")
    size = platform.limits.page
    found = platform.store.runs(limit=size + 1, application=application, before=before)
    answer: dict[str, object] = {"runs": [list_item(run) for run in found[:size]]}
    if len(found) > size:
        answer["next_page_token"] = platform.signer.token(f"runs {application}", found[size - 1].number)
    return _json(answer)


def get_run(request: Request) -> Response:
    """`GET .../runs/{run}`: the result, with the output or a URL for it."""
    run = _run(request)
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    if "output" in run.artefacts:
        output = msgspec.Raw(_output(request, run))
    error_log = None
    if run.status == "failed":
        error_log = ErrorLog(error=run.error, stdout="", stderr=_logs(request, run, last=platform_inline(request)))
    return _json(
        RunResult(
            id=run.id,
            name=run.name,
            description=run.description,
            metadata=metadata_answer(run),
            output=output,
            error_log=error_log,
        )
    )


def get_metadata(request: Request) -> Response:
    """`GET .../runs/{run}/metadata`."""
    return _json(information_answer(_run(request)))


def get_input(request: Request) -> Response:
    """`GET .../runs/{run}/input`: the bytes as they were uploaded, or a URL for them."""
    return _payload(request, "input")


def get_output(request: Request) -> Response:
    """`GET .../runs/{run}/output`: as the input."""
    return _payload(request, "output")


def get_logs(request: Request) -> Response:
    """`GET .../runs/{run}/logs`: all of them, or with `?format=url` a URL for them."""
    run = _run(request)
    limit = platform_of(request).limits.download
    if "logs" in run.artefacts:
        if _wants_url(request):
            return _json(_url(request, run, "logs"))
        if run.artefacts["logs"].size > limit:
            _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The logs of run {run.id} exceed {limit} bytes.")
    return _json(RunLogs(log=_logs(request, run)))


def list_assets(request: Request) -> Response:
    """`GET .../runs/{run}/assets`: what they are; their content has URLs of its own."""
    run = _run(request)
    return _json(AssetPage(items=[asset_answer(run, asset) for asset in platform_of(request).store.assets(run)]))


def get_asset(request: Request) -> Response:
    """`GET .../runs/{run}/assets/{asset}`: a URL for its content."""
    run = _run(request)
    kind: str = request.path_params["asset"]
    assets = {asset.kind: asset for asset in platform_of(request).store.assets(run)}
    if kind not in assets:
        _refuse(HTTPStatus.NOT_FOUND, f"The run {run.id} has no such asset.")
    return _json(AssetDownload(download_url=download_url(request, run, kind), type=assets[kind].content_type))


async def change_run(request: Request) -> Response:
    """`PUT .../runs/{run}`: another name or description."""
    change = _decode(await _body(request, _SMALL_BODY), RunChange)
    check_texts(change.name, change.description)
    run = await run_in_threadpool(_run, request)
    name = run.name if change.name is None else change.name
    description = run.description if change.description is None else change.description
    store = platform_of(request).store
    await run_in_threadpool(store.rename_run, run, name=name, description=description)
    return _json(information_answer(await run_in_threadpool(_run, request)))


def delete_run(request: Request) -> Response:
    """`DELETE .../runs/{run}`."""
    platform = platform_of(request)
    platform.payloads.remove(platform.store.remove_run(_run(request)))
    return _json({})


# What they share


def platform_inline(request: Request) -> int:
    """The most bytes that stand inside an answer."""
    return platform_of(request).limits.inline


def _application_id(request: Request) -> str:
    name: str = request.path_params["app"]
    _check_id("application", name)
    return name


def _application(request: Request) -> StoredApplication:
    name = _application_id(request)
    application = platform_of(request).store.application(name)
    if application is None:
        _refuse(HTTPStatus.NOT_FOUND, f"No application {name} exists.")
    return application


def _run(request: Request) -> Run:
    application = _application_id(request)
    name: str = request.path_params["run"]
    _check_id("run", name)
    run = platform_of(request).store.run(application, name)
    if run is None:
        _refuse(HTTPStatus.NOT_FOUND, f"No run {name} exists in application {application}.")
    return run


def _output(request: Request, run: Run) -> bytes:
    """What stands for the output in a result: it itself, a text as a JSON string, or a URL."""
    if _wants_url(request):
        return msgspec.json.encode(_url(request, run, "output"))
    data = _inline(request, run, "output")
    return data if run.output_format == "json" else msgspec.json.encode(data.decode(errors="replace"))


def _payload(request: Request, kind: str) -> Response:
    run = _run(request)
    if kind not in run.artefacts:
        _refuse(HTTPStatus.NOT_FOUND, f"The run {run.id} has no {kind}.")
    if _wants_url(request):
        return _json(_url(request, run, kind))
    media, _ = media_of(run, kind)
    return Response(_inline(request, run, kind), media_type=media, headers={"X-Content-Type-Options": "nosniff"})


def _wants_url(request: Request) -> bool:
    wanted = request.query_params.get("format", "")
    if wanted not in {"", "url"}:
        _refuse(HTTPStatus.BAD_REQUEST, "format: the only value it may have is url.")
    return wanted == "url"


def _url(request: Request, run: Run, kind: str) -> DownloadURL:
    return DownloadURL(url=download_url(request, run, kind))


def _inline(request: Request, run: Run, kind: str) -> bytes:
    artefact = run.artefacts[kind]
    limit = platform_inline(request)
    if artefact.size > limit:
        _refuse(
            HTTPStatus.BAD_REQUEST,
            f"The {kind} of run {run.id} has {artefact.size} bytes, more than the {limit} that are sent inline; "
            "ask again with ?format=url.",
        )
    if (run.output_format if kind == "output" else run.input_format) in {"csv-archive", "multi-file"}:
        _refuse(HTTPStatus.BAD_REQUEST, f"The {kind} of run {run.id} is an archive; ask again with ?format=url.")
    return platform_of(request).payloads.read(artefact.payload)


def _logs(request: Request, run: Run, *, last: int | None = None) -> str:
    logs = run.artefacts.get("logs")
    if logs is None:
        return ""
    return platform_of(request).payloads.read(logs.payload, last=last).decode(errors="replace")


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                _refuse(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"The request's body has more than {limit} bytes; upload large payloads and send their ids.",
                )
    except ClientDisconnect:
        _refuse(HTTPStatus.BAD_REQUEST, "The request broke off.")  # Nobody is left to read this.
    return bytes(body)


def _decode(body: bytes, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (ValueError, RecursionError) as error:
        _refuse(HTTPStatus.BAD_REQUEST, f"The request's body cannot be used: {error}.")


def _check_id(what: str, name: str) -> None:
    if not is_id(name):
        _refuse(
            HTTPStatus.BAD_REQUEST,
            f"The {what} id may have letters, digits, `.`, `_` and `-`, begins with one of the first two, "
            "and has at most 128 of them.",
        )


def _refuse(status: int, message: str) -> NoReturn:
    raise ApiRefusal(status, message)


def _json(answer: object) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
