"""The object store's part: signed URLs that take one upload or hand out one payload, in the manner of S3."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from nxtrack.cloud.messages import UploadURL
from nxtrack.server.data.store import Artefact, Run, Upload
from nxtrack.server.endpoints.exchange import answer, application_id
from nxtrack.server.ids import new_upload_id
from nxtrack.server.refusals import ApiRefusal, ObjectRefusal
from nxtrack.server.signing import Verdict
from nxtrack.server.state import Platform, platform_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from nxtrack.server.data.files import Draft

_CHUNK = 1024 * 1024
_MEDIA = {"json": ("application/json", "json"), "text": ("text/plain; charset=utf-8", "txt")}
# A download is somebody's data: a browser must neither show it as a page of this server nor keep it.
_DOWNLOAD_HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
}
_ARCHIVE = ("application/gzip", "tar.gz")


class _Download(FileResponse):
    chunk_size = _CHUNK
    # One range is enough to resume a download.
    max_ranges = 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Below version 2.4 of the protocol Starlette watches each download from a second task, to stop when the
        # client leaves. All that this spares us is reading the rest of one bounded file.
        await super().__call__({**scope, "asgi": {**scope["asgi"], "spec_version": "2.4"}}, receive, send)


def base_url(request: Request) -> str:
    """The address by which the client reached this server, so that signed URLs go the same way, proxies included.

    A proxy that speaks TLS says so in `X-Forwarded-Proto`. Whoever else sends it gets URLs that lead nowhere.
    """
    base = request.base_url
    if request.headers.get("x-forwarded-proto") == "https":
        base = base.replace(scheme="https")
    return str(base).rstrip("/")


def create_upload(request: Request) -> Response:
    """`POST /v1/applications/{app}/runs/uploadurl`: a new upload id and where to PUT its bytes."""
    platform = platform_of(request)
    application = application_id(request)
    platform.sweep_uploads()
    seconds = platform.limits.url_seconds
    upload = Upload(
        id=new_upload_id(),
        application=application,
        expires_at=int(platform.clock()) + seconds,
        payload=None,
        size=0,
    )
    platform.store.add_upload(upload, platform.application(application))
    path = f"/uploads/{upload.id}"
    url = f"{base_url(request)}{path}?{platform.signer.query('PUT', path, seconds=seconds)}"
    return answer(UploadURL(upload_id=upload.id, upload_url=url))


def download_url(request: Request, run: Run, kind: str) -> str:
    """A signed URL for one payload of a run.

    Raises:
        ApiRefusal: The payload is larger than what may be downloaded.
    """
    platform = platform_of(request)
    size = run.artefacts[kind].size
    if size > platform.limits.download:
        raise ApiRefusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The {kind} of run {run.id} has {size} bytes; at most {platform.limits.download} may be downloaded.",
        )
    path = f"/downloads/{run.application}/{run.id}/{kind}"
    return f"{base_url(request)}{path}?{platform.signer.query('GET', path, seconds=platform.limits.url_seconds)}"


async def put_upload(request: Request) -> Response:
    """`PUT /uploads/{upload_id}`: takes the bytes; a second PUT replaces those of the first."""
    platform = platform_of(request)
    _check_signature(request, "PUT")
    length = _definite_length(request)
    if length > platform.limits.upload:
        raise ObjectRefusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "EntityTooLarge",
            f"Your proposed upload of {length} bytes exceeds the maximum allowed size of {platform.limits.upload}",
        )
    name: str = request.path_params["upload_id"]
    if await run_in_threadpool(platform.store.upload, name) is None:
        raise _no_such_upload()
    draft = await run_in_threadpool(platform.payloads.draft)
    with draft:
        await _receive(request, draft, length=length, idle=platform.limits.idle_seconds)
        await run_in_threadpool(_keep, platform, name, draft)
    return Response()


def get_download(request: Request) -> Response:
    """`GET /downloads/{app}/{run}/{kind}`: hands out a payload, or one range of it."""
    platform = platform_of(request)
    _check_signature(request, "GET")
    parts = request.path_params
    run = platform.store.run(parts["app"], parts["run"])
    artefact = run and run.artefacts.get(parts["kind"])
    file = artefact and platform.payloads.path(artefact.payload)
    # A run may be deleted between one look and the next.
    if not run or not file or not file.is_file():
        raise ObjectRefusal(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
    media, suffix = media_of(run, parts["kind"])
    return _Download(
        file,
        media_type=media,
        filename=f"{run.id}-{parts['kind']}.{suffix}",
        headers=_DOWNLOAD_HEADERS,
    )


def media_of(run: Run, kind: str) -> tuple[str, str]:
    """The media type of a run's payload, and the suffix of a file that holds it."""
    return _MEDIA.get(run.format_of(kind), _ARCHIVE)


def _check_signature(request: Request, method: str) -> None:
    if "authorization" in request.headers:
        raise ObjectRefusal(
            HTTPStatus.BAD_REQUEST,
            "InvalidArgument",
            "Only one auth mechanism allowed: the URL is signed, so send no Authorization header",
        )
    query = request.query_params
    verdict = platform_of(request).signer.check(
        method, request.scope["path"], expires=query.get("expires", ""), signature=query.get("signature", "")
    )
    if verdict is Verdict.FORGED:
        raise ObjectRefusal(
            HTTPStatus.FORBIDDEN,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )
    if verdict is Verdict.EXPIRED:
        raise ObjectRefusal(HTTPStatus.FORBIDDEN, "AccessDenied", "Request has expired")


def _definite_length(request: Request) -> int:
    length = request.headers.get("content-length")
    if length is None or "transfer-encoding" in request.headers:
        raise ObjectRefusal(
            HTTPStatus.LENGTH_REQUIRED, "MissingContentLength", "You must provide the Content-Length HTTP header."
        )
    return int(length)


async def _receive(request: Request, draft: Draft, *, length: int, idle: float) -> None:
    """Writes the body to the draft in large pieces, off the event loop; refuses one that stalls or falls short."""
    pending = bytearray()
    received = 0
    stream = aiter(request.stream())
    try:
        while True:
            async with asyncio.timeout(idle):
                chunk = await anext(stream, None)
            if chunk is None:
                break
            received += len(chunk)
            pending += chunk
            if len(pending) >= _CHUNK:
                await run_in_threadpool(draft.write, pending)
                pending = bytearray()
    except (TimeoutError, ClientDisconnect) as error:
        raise ObjectRefusal(
            HTTPStatus.BAD_REQUEST,
            "RequestTimeout",
            "Your socket connection to the server was idle or was closed.",
            close=True,
        ) from error
    if received != length:
        raise ObjectRefusal(
            HTTPStatus.BAD_REQUEST, "IncompleteBody", "The body has not the number of bytes that Content-Length says"
        )
    await run_in_threadpool(draft.write, pending)


def _keep(platform: Platform, name: str, draft: Draft) -> None:
    artefact = Artefact(payload=draft.keep(), size=draft.size)
    try:
        replaced = platform.store.fill_upload(name, artefact)
    except BaseException:
        platform.payloads.remove([artefact.payload])
        raise
    if replaced is None:
        platform.payloads.remove([artefact.payload])
        raise _no_such_upload()
    platform.payloads.remove(replaced)


def _no_such_upload() -> ObjectRefusal:
    return ObjectRefusal(HTTPStatus.NOT_FOUND, "NoSuchUpload", "The specified upload does not exist.")
