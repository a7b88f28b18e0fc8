"""Who is let in: the Host a request names, and the key it carries."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

from nxtrack.errors import ServerError
from nxtrack.server.refusals import api_answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
# These prove themselves by a signature, or hold nothing of anybody's.
_OPEN = ("/uploads/", "/downloads/", "/static/")
_OPEN_EXACTLY = ("/healthz", "/openapi.json")
_SAFE = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Whether a host name or address, as in `--host` or a Host header without its port, means this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, key: str | None) -> None:
    """Refuses to serve other machines without a key.

    Raises:
        ServerError: The key cannot be one, or is missing while `host` is not loopback.
    """
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        # Anything else would not survive the way through a header unchanged.
        raise ServerError("The key may have ASCII letters, digits and signs only, and at least one: change --key.")
    if key is None and not is_loopback(host):
        raise ServerError(f"Listening on {host or 'all addresses'} lets other machines in: give a key by --key.")


class KeyCheck:
    """Compares keys in constant time; of the right one it keeps only a hash."""

    def __init__(self, key: str | None) -> None:
        self._digest = None if key is None else _digest(key)

    @property
    def configured(self) -> bool:
        """Whether there is one right key; otherwise any will do."""
        return self._digest is not None

    def accepts(self, key: str) -> bool:
        """Whether `key` opens the door."""
        if self._digest is None:
            return bool(key)
        return hmac.compare_digest(_digest(key), self._digest)


class Guard:
    """Stands before every route.

    On loopback it refuses requests whose Host is another name: a web page that has its own name resolve to
    127.0.0.1 could otherwise have the user's browser read the runs (DNS rebinding). Another web page's forms
    change nothing either.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyCheck, loopback: bool) -> None:
        self._app = app
        self._keys = keys
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it."""
        answer = self._refuse(scope) if scope["type"] == "http" else None
        await (answer or self._app)(scope, receive, send)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = _HOST.fullmatch(headers.get("host", ""))
        if host is None:
            return api_answer(HTTPStatus.BAD_REQUEST, "The request has no valid Host header.")
        if self._loopback and not is_loopback(host.group(1)):
            return api_answer(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This platform answers to localhost and 127.0.0.1 only; the request's Host header is another name.",
            )
        path: str = scope["path"]
        if path.startswith(_OPEN) or path in _OPEN_EXACTLY:
            return None
        given = headers.get("authorization", "")
        if path.startswith("/v1/"):
            return self._check_api(given)
        if scope["method"] not in _SAFE and not _same_site(headers):
            return PlainTextResponse(
                "This comes from another web page: do it on a page of this platform.\n",
                status_code=HTTPStatus.FORBIDDEN,
            )
        return self._check_page(given)

    def _check_api(self, given: str) -> Response | None:
        scheme, _, key = given.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return api_answer(
                HTTPStatus.UNAUTHORIZED, "The request carries no API key: send `Authorization: Bearer <key>`."
            )
        if not self._keys.accepts(key.strip()):
            return api_answer(HTTPStatus.UNAUTHORIZED, "The API key is not the one this platform was started with.")
        return None

    def _check_page(self, given: str) -> Response | None:
        if not self._keys.configured:
            return None
        scheme, _, value = given.partition(" ")
        key = value.strip() if scheme.lower() == "bearer" else _password(scheme, value)
        if self._keys.accepts(key):
            return None
        return PlainTextResponse(
            "Sign in with the platform's key as the password.\n",
            status_code=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": 'Basic realm="nxtrack", charset="UTF-8"'},
        )


def _same_site(headers: Headers) -> bool:
    """Whether a request that changes something comes from a page of this platform, or from no page at all.

    A browser sends it with the user's sign-in, and on loopback without any, whichever page asks for it (CSRF). The
    API needs no such check: no other page's form or script can send its key.
    """
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == headers["host"].lower()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _password(scheme: str, value: str) -> str:
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
