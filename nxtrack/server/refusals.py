"""How the platform says no: JSON from the API, XML from the object store, a small page to a browser."""

from __future__ import annotations

import sqlite3
from http import HTTPStatus
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from nxtrack.cloud.messages import ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request


# What S3 calls them.
_CODES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "NoSuchKey",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}
# A refusal may repeat what was asked for: no browser is to guess that it is anything but text.
_PLAIN = {"X-Content-Type-Options": "nosniff"}
_CLOSE = {"Connection": "close"}
_SHOWN = 200


class ApiRefusal(Exception):  # an answer, not an error of the platform's own
    """An answer of the API that refuses a request, in one sentence, and may give up the connection, too."""

    def __init__(self, status: int, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.close = close
        self.status = status
        self.message = message


class ObjectRefusal(Exception):  # as above
    """An answer of the object store that refuses a request, with the code that S3 has for it."""

    def __init__(self, status: int, code: str, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.close = close
        self.status = status
        self.code = code
        self.message = message


def api_answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal of the API."""
    body = msgspec.json.encode(ErrorAnswer(error=message))
    more = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return Response(
        body, status_code=status, headers={**_PLAIN, **more, **(headers or {})}, media_type="application/json"
    )


def object_answer(status: int, code: str, message: str, *, close: bool = False) -> Response:
    """A refusal of the object store, which may give up the connection, too."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    )
    headers = {**_PLAIN, **(_CLOSE if close else {})}
    return Response(body, status_code=status, headers=headers, media_type="application/xml")


def on_api_refusal(_: Request, error: Exception) -> Response:
    """Answers an `ApiRefusal`."""
    assert isinstance(error, ApiRefusal)
    return api_answer(error.status, error.message, _CLOSE if error.close else None)


def on_object_refusal(_: Request, error: Exception) -> Response:
    """Answers an `ObjectRefusal`."""
    assert isinstance(error, ObjectRefusal)
    return object_answer(error.status, error.code, error.message, close=error.close)


def on_http_error(request: Request, error: Exception) -> Response:
    """Answers what the router refuses: no such path, or not by that method, when it says which ones there are."""
    assert isinstance(error, HTTPException)
    path: str = request.scope["path"]
    refusal = _in_the_manner_of(request, error.status_code, f"{request.method} {path[:_SHOWN]}: {error.detail}.")
    refusal.headers.update(error.headers or {})
    return refusal


def on_storage_error(request: Request, error: Exception) -> Response:
    """Answers when the disk or the database fails: full, gone, no permission."""
    assert isinstance(error, OSError | sqlite3.Error)
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    message = f"The platform cannot read or write its data: {said}."
    return _in_the_manner_of(request, HTTPStatus.SERVICE_UNAVAILABLE, message)


def on_fault(request: Request, _: Exception) -> Response:
    """Answers a fault of the platform's own; the server writes its traceback to stderr."""
    message = "The platform failed on this request: its terminal shows why."
    return _in_the_manner_of(request, HTTPStatus.INTERNAL_SERVER_ERROR, message)


def _in_the_manner_of(request: Request, status: int, message: str) -> Response:
    path: str = request.scope["path"]
    if path.startswith("/v1/"):
        return api_answer(status, message)
    if path.startswith(("/uploads/", "/downloads/")):
        return object_answer(status, _CODES.get(status, "InternalError"), message)
    return PlainTextResponse(f"{message}\n", status_code=status, headers=_PLAIN)
