"""Owns the translation of everything that can go wrong with a request into nxtrack's own errors.

| what happened | error |
|---|---|
| no byte of the request left: name, connection, TLS, proxy, URL | `NotReached` |
| it left, and then: timeout, reset, no HTTP, cut or unreadable answer | `AnswerLost` |
| 408, 425, 5xx, or a status that HTTP does not know | `AnswerLost` |
| 402 | `QuotaUsedUp` |
| 401, 403 | `AccessRefused`; from the object store `UploadExpired` |
| 404 | `NotFound`; from the object store `Rejected` |
| 407 | `NotReached`: a proxy said it, not the platform |
| 429, and from the object store 503 `SlowDown` | `RateLimited` |
| 3xx | `Redirected`: the address is at fault, not the run; nothing is ever followed |
| any other 4xx | `Rejected` |

The text of requests' and urllib3's exceptions is never shown: it holds whole URLs, and those of uploads are secrets.
"""

from __future__ import annotations

import dataclasses
import email.utils
import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING

import msgspec
import requests
import urllib3.exceptions as urllib3_errors

from nxtrack.cloud.messages import ErrorAnswer
from nxtrack.cloud.wire import Stage
from nxtrack.errors import (
    AccessRefused,
    AnswerLost,
    CloudError,
    NotFound,
    NotReached,
    QuotaUsedUp,
    RateLimited,
    Redirected,
    Rejected,
    UploadExpired,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TRANSPORT_ERRORS = (
    requests.RequestException,
    urllib3_errors.HTTPError,
    http.client.HTTPException,
    OSError,  # ssl.SSLError and every socket error among them
    ValueError,  # requests and urllib3 let some through for odd proxies and headers
)
"""Whatever sending a request or reading its answer may raise."""

LONGEST_WAIT = 3600.0
"""Seconds at most that `Retry-After` is believed."""

_SHORT = 8
"""Characters of a secret from which on it is taken out wherever it stands."""

_NEVER_SENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.URLRequired,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidJSONError,
    requests.exceptions.ConnectTimeout,
    urllib3_errors.NewConnectionError,
    urllib3_errors.ConnectTimeoutError,
    urllib3_errors.LocationValueError,
    urllib3_errors.ProxySchemeUnsupported,
    urllib3_errors.InvalidHeader,
    urllib3_errors.EmptyPoolError,
    urllib3_errors.FullPoolError,
    urllib3_errors.ClosedPoolError,
    socket.gaierror,
    ConnectionRefusedError,
    ssl.SSLCertVerificationError,
)
"""Exceptions that only a request which never left ends in."""

_QUERY = re.compile(r"(https?://[^\s?\"'<>]*\?)[^\s\"'<>]+")
"""A URL up to its query, which may be a signature that an answer repeats."""

_BY_SYSTEM = ""

_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (urllib3_errors.NameResolutionError, "name not resolved"),
    (socket.gaierror, "name not resolved"),
    (ssl.SSLError, "TLS failed"),
    (urllib3_errors.SSLError, "TLS failed"),
    (ConnectionRefusedError, "connection refused"),
    (http.client.RemoteDisconnected, "it closed the connection without an answer"),
    (ConnectionResetError, "connection reset"),
    (BrokenPipeError, "connection closed"),
    (urllib3_errors.InvalidChunkLength, "the answer broke off"),
    (http.client.IncompleteRead, "the answer broke off"),
    (urllib3_errors.IncompleteRead, "the answer broke off"),
    (urllib3_errors.DecodeError, "the answer cannot be decompressed"),
    (http.client.HTTPException, "what came back is no HTTP"),
    (urllib3_errors.ReadTimeoutError, "timed out"),
    (requests.exceptions.Timeout, "timed out"),
    (urllib3_errors.NewConnectionError, _BY_SYSTEM),
    (urllib3_errors.ConnectTimeoutError, "timed out"),
    (TimeoutError, "timed out"),
    (urllib3_errors.ClosedPoolError, "the client is closed"),
    (requests.exceptions.InvalidProxyURL, "the proxy's address is not valid"),
    (urllib3_errors.ProxySchemeUnknown, "the proxy's address is not valid"),
    (urllib3_errors.LocationValueError, "the address is not valid"),
    (requests.exceptions.InvalidURL, "the address is not valid"),
    (requests.exceptions.InvalidSchema, "the address or the proxy is of a kind that is not supported"),
    (OSError, _BY_SYSTEM),
)
"""What to say, by the first of these that is in the chain of exceptions; `_BY_SYSTEM` is what the system says."""


def of_transport(error: BaseException, stage: Stage, server: str) -> CloudError:
    """Translates an exception of requests, urllib3, http.client, ssl or the operating system.

    Args:
        error: What sending the request or reading the answer raised.
        stage: How far the request got, as its connection saw it.
        server: The platform or the store, as a sentence names it.

    Returns:
        `NotReached` only if surely no byte left, else `AnswerLost`.
    """
    chain = tuple(_chain(error))
    reason = _reason(chain)
    # Before a connection is asked for, the kind of exception has to agree as well.
    unsent = stage is Stage.CONNECTING or (
        stage is Stage.PREPARED and (type(error) is OSError or any(isinstance(link, _NEVER_SENT) for link in chain))
    )
    if unsent:
        return NotReached(f"Could not reach {server} ({reason}).")
    return AnswerLost(f"No usable answer came from {server} ({reason}): it may have done what was asked.")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an exception and all that it wraps, in the several ways requests and urllib3 wrap one."""
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        link = queue.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            queue += [*link.args, getattr(link, "reason", None), link.__cause__, link.__context__]


def _reason(chain: tuple[BaseException, ...]) -> str:
    through = "through the proxy: " if any(isinstance(link, urllib3_errors.ProxyError) for link in chain) else ""
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"{through}its TLS certificate is not trusted: {one_line(link.verify_message)}"
        if isinstance(link, ssl.SSLError) and link.reason:
            return f"{through}TLS failed: {link.reason.lower().replace('_', ' ')}"
        if type(link) is OSError and (match := re.match(r"Tunnel connection failed: (\d{3})", str(link))):
            return f"the proxy refused with {match[1]}"
        if type(link) is OSError and "CA certificate bundle" in str(link):
            return "the trusted certificates that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names are not there"
    for kind, sentence in _REASONS:
        if any(isinstance(link, kind) for link in chain):
            return through + (sentence or _by_system(chain))
    return type(chain[0]).__name__


def _by_system(chain: tuple[BaseException, ...]) -> str:
    said = next((link.strerror for link in chain if isinstance(link, OSError) and link.strerror), "no connection")
    return one_line(said).lower()


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a plain success.

    Attributes:
        status: The HTTP status.
        detail: What the body says, as one line without secrets.
        code: The object store's word for it, such as `SlowDown`; empty if there is none.
        retry_after: Seconds that the answer asks to wait.
    """

    status: int
    detail: str
    code: str = ""
    retry_after: float | None = None

    @property
    def shown(self) -> str:
        """The status with what was said."""
        return f"{self.status}: {self.detail}" if self.detail else str(self.status)


def of_answer(answer: Answer, server: str) -> CloudError:
    """Translates an answer of the platform that is no success; see the table above."""
    status, detail = answer.status, answer.detail
    match status:
        case 401 | 403:
            return AccessRefused(
                f"{server} refused the API key ({answer.shown}): check the key, and that it may use this application.",
                status=status,
                detail=detail,
            )
        case 404:
            return NotFound(
                f"{server} knows no such application, instance or run ({answer.shown}).", status=status, detail=detail
            )
        case 429:
            return _limited(answer, server)
        case _:
            return _of_any(answer, server)


def of_store_answer(answer: Answer, server: str, *, size: int | None) -> CloudError:
    """Translates an answer of the object store that is no success; see the table above.

    Codes are those of Amazon S3's "Error responses" page. A PUT may always be repeated, so nothing here is
    ambiguous for the caller.

    Args:
        answer: The answer.
        server: The store, as a sentence names it.
        size: Bytes that were to be uploaded, or None for a download.
    """
    status, detail = answer.status, answer.detail
    expired = status in {401, 403} or answer.code in {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
    if status in {429, 503} and (status == http.client.TOO_MANY_REQUESTS or answer.code == "SlowDown"):
        return _limited(answer, server)
    if expired:
        return UploadExpired(
            f"{server} no longer accepts the presigned URL ({answer.shown}): a new one is needed.",
            status=status,
            detail=detail,
        )
    if answer.code in {"RequestTimeout", "InternalError", "IncompleteBody"}:
        return AnswerLost(f"{server} did not take the bytes in time ({answer.shown}): try again.")
    if size is not None and status in {400, 411, 413}:
        return Rejected(
            f"{server} did not accept an upload of {size} bytes ({answer.shown}).", status=status, detail=detail
        )
    return _of_any(answer, server)


def _limited(answer: Answer, server: str) -> RateLimited:
    wait = "" if answer.retry_after is None else f", and asks to wait {answer.retry_after:.0f} s"
    said = f" ({answer.detail})" if answer.detail else ""
    return RateLimited(
        f"{server} had too many requests{said}{wait}: try again later.",
        detail=answer.detail,
        retry_after=answer.retry_after,
    )


def _of_any(answer: Answer, server: str) -> CloudError:
    status, detail = answer.status, answer.detail
    match status:
        case 402:
            return QuotaUsedUp(
                f"{server} says that the quota is used up ({answer.shown}): try again when there is some.",
                status=status,
                detail=detail,
            )
        case 407:
            return NotReached(f"Could not reach {server} (the proxy refused with {answer.shown}).")
        case 408 | 425:
            return AnswerLost(f"{server} did not take the request in time ({answer.shown}): it may have been done.")
        case _ if 300 <= status < 400:  # noqa: PLR2004  (the classes of HTTP)
            return Redirected(
                f"{server} answered with a redirect ({status}), which is never followed: check the endpoint.",
                status=status,
                detail=detail,
            )
        case _ if 400 <= status < 500:  # noqa: PLR2004
            return Rejected(f"{server} rejected the request ({answer.shown}).", status=status, detail=detail)
        case _:
            return AnswerLost(f"{server} failed ({answer.shown}): it may have done what was asked.")


def read_answer(status: int, body: bytes, retry_after: str | None, *, now: float, secrets: Iterable[str]) -> Answer:
    """Reads what an answer that is no success says.

    Args:
        status: The HTTP status.
        body: The beginning of the body: JSON, S3's XML, HTML, or anything.
        retry_after: The header of that name.
        now: The time in seconds since the epoch, which dates are relative to.
        secrets: Text that must not come out again.
    """
    text = body.decode("utf-8", "replace")
    code = ""
    try:
        said = msgspec.json.decode(body, type=ErrorAnswer)
        detail = said.error or said.message or ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        code = _tag(text, "Code")
        detail = " ".join(filter(None, (code, _tag(text, "Message")))) or _tag(text, "title") or text
    for secret in secrets:
        # A short key, such as a local platform may have, is not looked for within words.
        pattern = rf"(?<!\w){re.escape(secret)}(?!\w)" if len(secret) < _SHORT else re.escape(secret)
        detail = re.sub(pattern, "***", detail)
    detail = _QUERY.sub(r"\1***", detail)
    return Answer(status, one_line(detail), code, wait_seconds(retry_after, now))


def _tag(text: str, name: str) -> str:
    match = re.search(rf"<{name}>([^<]*)</{name}>", text, re.IGNORECASE)
    return match[1].strip() if match else ""


def one_line(text: str, longest: int = 300) -> str:
    """Returns text as one line of printable characters, at most `longest` of them."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def wait_seconds(header: str | None, now: float) -> float | None:
    """Reads `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3).

    Returns:
        Seconds, at most an hour; None for what is absent, past or no such value.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return min(float(text), LONGEST_WAIT)
    try:
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None
    return min(seconds, LONGEST_WAIT) if seconds >= 0 else None
