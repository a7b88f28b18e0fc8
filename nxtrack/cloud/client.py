"""Owns the two ways to ask: the platform, with the API key, and its object store, with a presigned URL and no key."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, BinaryIO, Final, Self, TypeVar
from urllib.parse import SplitResult, unquote_plus, urlencode, urlsplit

import msgspec
from requests.utils import requote_uri

from nxtrack.cloud import failures
from nxtrack.cloud.transport import DEFAULT_TIMEOUTS, Bearer, Body, NoAuth, Outgoing, SourceFailed, Timeouts, Transport
from nxtrack.errors import AnswerLost, NotReached, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from nxtrack.cloud.credentials import Credentials

T = TypeVar("T")

ANSWER_LIMIT: Final = 16 * 2**20
"""Bytes that an answer may have unless a call says otherwise: an inline output of 5 MB fits, with what JSON adds."""

_SHORTEST_SECRET = 8


class Client:
    """A way to the platform, for one flush; threads may share it. A context manager, which closes it.

    Nothing is ever sent twice and no redirect followed: callers decide what may be sent again, by the error they
    get. Proxies and the bundle of trusted certificates are taken from the environment, as requests does;
    `~/.netrc` is not.

    Args:
        credentials: Where to go, and as whom.
        timeout: How long to wait.
        before_request: Called before each request to `/v1`, so that the caller can pace them, and not before those
            to the object store. What it raises goes through.
        connections: Connections that the caller works with at a time.
        clock: The time in seconds since the epoch.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        timeout: Timeouts = DEFAULT_TIMEOUTS,
        before_request: Callable[[], None] | None = None,
        connections: int = 8,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint = credentials.endpoint
        self._key = credentials.api_key
        self._timeout = timeout
        self._before_request = before_request
        # More are kept than asked for, as a run's few artefacts may go side by side, and urllib3 logs a warning for
        # each connection that it cannot keep.
        self._transport = Transport(timeout=timeout, kept=4 * max(connections, 1), clock=clock)

    @property
    def requests_sent(self) -> int:
        """Requests of which at least the first byte left, uploads and downloads among them."""
        return self._transport.requests_sent

    @property
    def connections_opened(self) -> int:
        """Connections that were opened, or tried to."""
        return self._transport.connections_opened

    def __enter__(self) -> Self:
        """Returns the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Closes all connections: idle ones now, busy ones when their answer has been read.

        A request that is begun later raises `NotReached`.
        """
        self._transport.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        answer: type[T],
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
        limit: int = ANSWER_LIMIT,
    ) -> T:
        """Sends one request to the platform and reads its JSON answer.

        Args:
            method: The HTTP method.
            path: The path from `/v1/` on, percent-encoded.
            answer: The type of the answer.
            body: What to send as JSON; by default the request has an empty body.
            query: What to add after `?`.
            limit: Bytes that the answer may have.

        Returns:
            The answer.

        Raises:
            NotReached: Nothing was sent.
            AnswerLost: The request was sent, and no usable answer came. A success that cannot be read is one of
                these whatever the method, as the platform may have acted.
            Refused: The platform said no; `nxtrack.errors` lists how. `Rejected` with status 0 means that the body
                cannot be written as JSON, so nothing was sent.
        """
        data = self.fetch(method, path, body=body, query=query, limit=limit)
        try:
            return msgspec.json.decode(data, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # raised below, without the answer's text as context
        raise AnswerLost(
            f"No usable answer came from {self._endpoint} (not the JSON that {method} {path} promises): it may have "
            "done what was asked."
        )

    def fetch(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
        limit: int = ANSWER_LIMIT,
    ) -> bytes:
        """Sends one request to the platform and returns the body of its answer as it is; else as `call`."""
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = _encode(body)
        if self._before_request is not None:
            self._before_request()
        return self._transport.exchange(
            Outgoing(
                method=method,
                url=f"{self._endpoint}{path}{'?' if query else ''}{urlencode(query or {})}",
                headers=headers,
                auth=Bearer(self._key),
                data=data,
                server=self._endpoint,
                judge=functools.partial(failures.of_answer, server=self._endpoint),
                secrets=(self._key,),
                limit=limit,
                seconds=self._timeout.answer,
            )
        )

    def put(self, url: str, source: BinaryIO, size: int, *, content_type: str = "application/json") -> None:
        """Uploads to a presigned URL, with a definite length and without the key. It may always be repeated.

        Args:
            url: The presigned URL.
            source: Read from where it stands, in blocks of at most 256 KiB.
            size: Bytes to upload; what the source has beyond them is not read.
            content_type: The media type.

        Raises:
            NotReached: Nothing was sent.
            AnswerLost: The store did not confirm.
            UploadExpired: The URL is not valid any more.
            RateLimited: The store wants fewer requests.
            Rejected: The store will never take these bytes.
            ValueError: The source ended before `size` bytes; the store has nothing then.
            OSError: The source cannot be read; the same.
        """
        if size < 0:
            raise ValueError(f"An upload cannot have {size} bytes.")
        outgoing = self._presigned("PUT", url, limit=None, size=size)
        outgoing.headers["Content-Type"] = content_type
        outgoing.body = body = Body(source, size)
        outgoing.size = size
        failure: Exception | None = None
        try:
            self._transport.exchange(outgoing)
        except SourceFailed as failed:
            failure = failed.failure
        if failure is not None:
            raise failure
        if body.remaining:
            raise AnswerLost(f"{outgoing.server} answered before it had all of the {size} bytes: upload them again.")

    def download(self, url: str, *, limit: int) -> bytes:
        """Returns what is behind a presigned URL, asked for without the key.

        Args:
            url: The presigned URL.
            limit: Bytes that it may have.

        Raises:
            CloudError: As for `put`.
        """
        return self._transport.exchange(self._presigned("GET", url, limit=limit, size=None))

    def _presigned(self, method: str, url: str, *, limit: int | None, size: int | None) -> Outgoing:
        parts = _split(url)
        if parts is None:
            raise NotReached("Could not reach the object store (the presigned URL is no http or https address).")
        server = f"the object store {parts.hostname}"
        # A store may repeat a signature in its answer, percent-encoded or not.
        values = [parts.query, *(field.partition("=")[2] for field in parts.query.split("&"))]
        secrets = {form for value in values for form in (value, unquote_plus(value)) if len(form) >= _SHORTEST_SECRET}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Outgoing(
            method=method,
            url=f"{parts.scheme}://{parts.netloc}/",
            secret_target=requote_uri(target),
            headers={"Accept-Encoding": "identity"},  # an archive must come as it was stored
            auth=NoAuth(),
            server=server,
            judge=functools.partial(failures.of_store_answer, server=server, size=size),
            secrets=tuple(sorted(secrets, key=len, reverse=True)),
            limit=limit,
            seconds=None,
        )


def _encode(body: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        pass
    raise Rejected("The request cannot be written as JSON, so it was not sent.", status=0)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
    except ValueError:
        return None
    return parts if usable else None
