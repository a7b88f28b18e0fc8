"""The API for what a run took and gave: its input, output, logs and assets, inline or by a URL."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from nxtrack.cloud.messages import FINAL_STATUSES, AssetDownload, AssetPage, DownloadURL, LiveLogs, LogEntry, RunLogs
from nxtrack.server.data import contents
from nxtrack.server.endpoints.answers import asset_answer
from nxtrack.server.endpoints.exchange import answer, find_run, parameter, refuse
from nxtrack.server.endpoints.objects import download_url
from nxtrack.server.state import platform_of
from nxtrack.server.times import rfc3339

if TYPE_CHECKING:
    from starlette.requests import Request

    from nxtrack.server.data.store import Run

_ARCHIVES = {"csv-archive", "multi-file"}
# How long a client that follows the logs is to wait: the SDK (1.13) asks at once when this is 0.
_WAIT_SECONDS = 1.0


def get_input(request: Request) -> Response:
    """`GET .../runs/{run}/input`: JSON as it was uploaded, a text as a JSON string, or a URL for either."""
    return _payload(request, "input")


def get_output(request: Request) -> Response:
    """`GET .../runs/{run}/output`: as the input."""
    return _payload(request, "output")


def get_logs(request: Request) -> Response:
    """`GET .../runs/{run}/logs`: all of them, so far; or with `?format=url` a URL for them."""
    run = find_run(request)
    limit = platform_of(request).limits.download
    as_url = wants_url(request)
    if "logs" in run.artefacts:
        if as_url:
            return answer(whereabouts(request, run, "logs"))
        if run.artefacts["logs"].size > limit:
            refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The logs of run {run.id} exceed {limit} bytes.")
    return answer(RunLogs(log=platform_of(request).logs(run, last=limit).decode(errors="replace")))


def follow_logs(request: Request) -> Response:
    """`GET .../runs/{run}/logs/live?since=`: what was logged since the answer that gave out this token."""
    run = find_run(request)
    platform = platform_of(request)
    token = parameter(request, "since")
    since = platform.signer.number(f"logs {run.id}", token) if token else 0
    if since is None:
        refuse(HTTPStatus.BAD_REQUEST, "since: it is not a token that the logs of this run gave out.")
    found = platform.live_logs(run, since)
    # The SDK asks no more once it reads a final status, so that one comes with the last of the logs only.
    status = run.status if found.complete or run.status not in FINAL_STATUSES else "running"
    return answer(
        LiveLogs(
            items=[LogEntry(timestamp=rfc3339(when), log=text) for when, text in found.items],
            status_v2=status,
            next_page_token=platform.signer.token(f"logs {run.id}", found.next),
            next_available_in_seconds=0 if run.status in FINAL_STATUSES else _WAIT_SECONDS,
        )
    )


def list_assets(request: Request) -> Response:
    """`GET .../runs/{run}/assets`: what they are; their content has URLs of its own."""
    run = find_run(request)
    return answer(AssetPage(items=[asset_answer(run, asset) for asset in platform_of(request).store.assets(run)]))


def get_asset(request: Request) -> Response:
    """`GET .../runs/{run}/assets/{asset}`: a URL for its content."""
    run = find_run(request)
    kind: str = request.path_params["asset"]
    assets = {asset.kind: asset for asset in platform_of(request).store.assets(run)}
    if kind not in assets:
        refuse(HTTPStatus.NOT_FOUND, f"The run {run.id} has no such asset.")
    return answer(AssetDownload(download_url=download_url(request, run, kind), type=assets[kind].content_type))


def wants_url(request: Request) -> bool:
    """Whether the query asks for a URL in place of bytes.

    Raises:
        ApiRefusal: It asks for something else.
    """
    return parameter(request, "format", one_of=("url",)) == "url"


def whereabouts(request: Request, run: Run, kind: str) -> DownloadURL:
    """The message that holds a URL for a payload.

    Raises:
        ApiRefusal: The payload is larger than what may be downloaded.
    """
    return DownloadURL(url=download_url(request, run, kind))


def inline_bytes(request: Request, run: Run, kind: str) -> bytes:
    """A payload that goes into an answer.

    Raises:
        ApiRefusal: It is too large for that, or an archive, or was deleted meanwhile.
    """
    artefact = run.artefacts[kind]
    limit = platform_of(request).limits.inline
    if artefact.size > limit:
        refuse(
            HTTPStatus.BAD_REQUEST,
            f"The {kind} of run {run.id} has {artefact.size} bytes, more than the {limit} that are sent inline; "
            "ask again with ?format=url.",
        )
    if run.format_of(kind) in _ARCHIVES:
        refuse(HTTPStatus.BAD_REQUEST, f"The {kind} of run {run.id} is an archive; ask again with ?format=url.")
    try:
        return platform_of(request).payloads.read(artefact.payload)
    except FileNotFoundError:
        refuse(HTTPStatus.NOT_FOUND, f"The {kind} of run {run.id} is no longer there.")


def in_json(run: Run, kind: str, data: bytes) -> bytes:
    """What stands for a payload in JSON: it itself, or a text as a string."""
    # The public SDK (1.13) calls a text input `json`, too, and reads every input that is not a URL as JSON.
    if run.format_of(kind) == "json" and (kind == "output" or contents.is_json(data)):
        return data
    return msgspec.json.encode(data.decode(errors="replace"))


def _payload(request: Request, kind: str) -> Response:
    run = find_run(request)
    as_url = wants_url(request)
    if kind not in run.artefacts:
        refuse(HTTPStatus.NOT_FOUND, f"The run {run.id} has no {kind}.")
    if as_url:
        return answer(whereabouts(request, run, kind))
    return Response(
        in_json(run, kind, inline_bytes(request, run, kind)),
        media_type="application/json",
        headers={"X-Content-Type-Options": "nosniff"},
    )
