"""The files that pages refer to: style sheets and scripts, read once and known by name."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from nxtrack.server.drawing import palette

if TYPE_CHECKING:
    from starlette.requests import Request

_MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FILES = {
    file.name: (_MEDIA[file.suffix], file.read_bytes())
    for file in (Path(__file__).parent.parent / "static").iterdir()
    if file.suffix in _MEDIA
}
_FILES["terminal.css"] = (_MEDIA[".css"], palette.stylesheet())
_TAGS = {name: f'"{hashlib.sha256(body).hexdigest()[:32]}"' for name, (_, body) in _FILES.items()}


def static(request: Request) -> Response:
    """`GET /static/{name}`."""
    name: str = request.path_params["name"]
    if name not in _FILES:
        return PlainTextResponse("There is no such file.\n", status_code=HTTPStatus.NOT_FOUND)
    media, body = _FILES[name]
    # Asked for again each time, and answered with 304: a new version's script never meets an old one's page.
    headers = {"Cache-Control": "no-cache", "ETag": _TAGS[name], "X-Content-Type-Options": "nosniff"}
    if _TAGS[name] in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=media, headers=headers)
