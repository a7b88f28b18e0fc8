"""The API for runs: makes, lists, shows, changes, cancels and deletes them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.concurrency import run_in_threadpool

from nxtrack.cloud.messages import FINAL_STATUSES, Done, ErrorLog, RunChange, RunCreated, RunList, RunResult
from nxtrack.server.endpoints.answers import information_answer, list_item, metadata_answer
from nxtrack.server.endpoints.exchange import (
    SMALL_BODY,
    answer,
    application_id,
    check_id,
    decode,
    find_application,
    find_run,
    parameter,
    read_body,
    refuse,
)
from nxtrack.server.endpoints.intake import accept_run
from nxtrack.server.endpoints.payloads import in_json, inline_bytes, wants_url, whereabouts
from nxtrack.server.state import platform_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nxtrack.server.data.store import Run

# What a run request may hold besides its inline input.
_RUN_BODY = 1024 * 1024


async def create_run(request: Request) -> Response:
    """`POST /v1/applications/{app}/runs`: see `intake`."""
    platform = platform_of(request)
    application = application_id(request)
    instance = parameter(request, "instance_id") or None
    if instance is not None:
        check_id("instance", instance)
    body = await read_body(request, platform.limits.inline + _RUN_BODY)
    run_id = await run_in_threadpool(accept_run, platform, application, instance, body)
    return answer(RunCreated(run_id=run_id))


def list_runs(request: Request) -> Response:
    """`GET /v1/applications/{app}/runs`: newest first; a page goes on where the last one ended, whatever came since."""
    platform = platform_of(request)
    application = find_application(request).id
    # Every answer is a page: the parameter is only there for clients that always send it.
    parameter(request, "pagereturn", one_of=("true", "false"))
    token = parameter(request, "pagetoken")
    before = platform.signer.number(f"runs {application}", token) if token else None
    if token and before is None:
        refuse(HTTPStatus.BAD_REQUEST, "pagetoken: it is not one that this list of runs gave out.")
    size = platform.limits.page
    found = platform.store.runs(limit=size + 1, application=application, before=before)
    page = RunList(runs=[list_item(run) for run in found[:size]])
    if len(found) > size:
        page.next_page_token = platform.signer.token(f"runs {application}", found[size - 1].number)
    return answer(page)


def get_run(request: Request) -> Response:
    """`GET .../runs/{run}`: the result, with the output or a URL for it."""
    run = find_run(request)
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    as_url = wants_url(request)
    if "output" in run.artefacts:
        output = msgspec.Raw(_output(request, run, as_url=as_url))
    return answer(
        RunResult(
            id=run.id,
            name=run.name,
            description=run.description,
            metadata=metadata_answer(run),
            output=output,
            error_log=_error_log(request, run) if run.status == "failed" else None,
        )
    )


def get_metadata(request: Request) -> Response:
    """`GET .../runs/{run}/metadata`."""
    return answer(information_answer(find_run(request)))


async def change_run(request: Request) -> Response:
    """`PUT .../runs/{run}`: another name or description."""
    change = decode(await read_body(request, SMALL_BODY), RunChange)
    run = await run_in_threadpool(find_run, request)
    name = run.name if change.name is None else change.name
    description = run.description if change.description is None else change.description
    store = platform_of(request).store
    await run_in_threadpool(store.rename_run, run, name=name, description=description)
    return answer(information_answer(await run_in_threadpool(find_run, request)))


def cancel_run(request: Request) -> Response:
    """`PATCH .../runs/{run}/cancel`: ends a run that is queued or running; one that was canceled stays so."""
    run = find_run(request)
    if run.status not in FINAL_STATUSES:
        platform_of(request).cancel(run)
        run = find_run(request)
    if run.status != "canceled":
        refuse(HTTPStatus.CONFLICT, f"The run {run.id} has {run.status} already: there is nothing to cancel.")
    return answer(information_answer(run))


def delete_run(request: Request) -> Response:
    """`DELETE .../runs/{run}`: one that still runs is canceled first."""
    platform_of(request).remove(find_run(request))
    return answer(Done())


def _output(request: Request, run: Run, *, as_url: bool) -> bytes:
    """What stands for the output in a result: it itself, a text as a JSON string, or a URL."""
    if as_url:
        return msgspec.json.encode(whereabouts(request, run, "output"))
    return in_json(run, "output", inline_bytes(request, run, "output"))


def _error_log(request: Request, run: Run) -> ErrorLog:
    platform = platform_of(request)
    most = platform.limits.inline
    printed = b""
    if "stdout" in run.artefacts:
        printed = platform.payloads.read(run.artefacts["stdout"].payload, last=most)
    return ErrorLog(
        error=run.error,
        stdout=printed.decode(errors="replace"),
        stderr=platform.logs(run, last=most).decode(errors="replace"),
    )
