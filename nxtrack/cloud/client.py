"""Owns the two ways to ask: the platform, with the API key, and its object store, with a presigned URL and no key.

`Client.call`, `fetch`, `put` and `receive` each send one request once, and what they raise tells whether it
may be sent again. `Client.request`, for whoever goes the steps by hand, repeats what does no harm.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import time
import weakref
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, TypeVar
from urllib.parse import SplitResult, unquote_plus, urlencode, urlsplit

import msgspec
from requests.utils import requote_uri

from nxtrack import settings
from nxtrack.cloud import failures
from nxtrack.cloud.credentials import credentials
from nxtrack.cloud.limits import DEFAULT_LIMITS
from nxtrack.cloud.messages import read_message
from nxtrack.cloud.payloads import json_of
from nxtrack.cloud.response import Response
from nxtrack.cloud.retries import HARMLESS, UNDONE, Patience
from nxtrack.cloud.transport import Bearer, Body, NoAuth, Outgoing, SourceFailed, Timeouts, Transport
from nxtrack.errors import AnswerLost, NotReached, Rejected
from nxtrack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from nxtrack.cloud.transport import Incoming, Sink

T = TypeVar("T")

ANSWER_LIMIT: Final = 16 * 2**20
"""Bytes that an answer may have unless a call says otherwise: an inline output of 5 MB fits, with what JSON adds."""

_SHORTEST_SECRET = 8
_REPEATABLE = frozenset({"GET", "HEAD", "PUT"})


class Client:
    """A way to the platform; threads may share it. A context manager, which closes it.

    No redirect is ever followed. Proxies and the bundle of trusted certificates are taken from the environment, as
    requests does, when a host is asked first; `~/.netrc` is not.

    Args:
        api_key: The API key. What is not given, of this and the next two, is taken from `nxtrack.configure`, the
            environment (`NEXTMV_API_KEY`, ...) or the profile file, in this order.
        endpoint: The platform's address.
        profile: The profile of `~/.nextmv/config.yaml` to look into. `NEXTMV_PROFILE` wins over it, as it does in the
            platform's own tools.
        timeout: How long to wait; by default in proportion to the setting `answer_wait`.
        before_request: Called before each request to `/v1`, so that the caller can pace them, and not before those
            to the object store. What it raises goes through.
        connections: Connections that the caller works with at a time.
        patience: How requests are repeated that do no harm when they come twice, or surely had no effect.
        clock: The time in seconds since the epoch.

    Attributes:
        endpoint: The platform's address, with scheme and without a trailing slash.
        patience: As given, or by the setting `backoff`.

    Raises:
        CredentialsMissing: No API key was found.
        SettingsError: The key, the endpoint, the profile or a setting cannot be used.
    """

    def __init__(
        self,
        api_key: str | None = None,
        endpoint: str | None = None,
        profile: str | None = None,
        *,
        timeout: Timeouts | None = None,
        before_request: Callable[[], None] | None = None,
        connections: int = 8,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Whoever gives everything, as delivery does, is not kept from it by a variable that it does not need.
        needed = not (api_key and endpoint and timeout and patience)
        chosen = settings.current() if needed else Settings()
        access = credentials(
            dataclasses.replace(
                chosen,
                api_key=api_key or chosen.api_key,
                endpoint=endpoint or chosen.endpoint,
                profile=chosen.profile or profile,
            )
        )
        self.endpoint = access.endpoint
        self.patience = patience or Patience(backoff=chosen.backoff)
        self._key = access.api_key
        self._timeout = timeout or Timeouts.within(chosen.answer_wait)
        self._before_request = before_request
        # More are kept than asked for, as a run's few artefacts may go side by side, and urllib3 logs a warning for
        # each connection that it cannot keep.
        self._transport = Transport(timeout=self._timeout, kept=4 * max(connections, 1), clock=clock)
        # Not at the end of the program, whose last delivery may still be under way.
        weakref.finalize(self, self._transport.close).atexit = False

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
            TooLarge: A GET was answered with more bytes than `limit`.
            Refused: The platform said no; `nxtrack.errors` lists how. `Rejected` with status 0 means that the body
                cannot be written as JSON, so nothing was sent.
        """
        data = self.fetch(method, path, body=body, query=query, limit=limit)
        try:
            return read_message(data, answer)
        except (ValueError, RecursionError):
            pass  # raised below, without the answer's text as context
        raise AnswerLost(
            f"No usable answer came from {self.endpoint} (not the JSON that {method} {path} promises): it may have "
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
        data = None if body is None else _encode(body)
        return self._transport.exchange(self._to_platform(method, path, data, query=query, limit=limit))

    def request(
        self,
        method: str,
        endpoint: str,
        *,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        payload: Any = None,
        query_params: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Response:
        """Sends one request, for whoever goes the platform's steps by hand ("Large payloads").

        What fails is sent again when that does no harm: after errors that say that nothing was done, and for GET, HEAD
        and PUT also when the answer was lost.

        Args:
            method: The HTTP method.
            endpoint: A path such as `/v1/applications`. Or a presigned URL, whole: to that one the API key is never
                sent.
            data: The body, as it is.
            headers: Headers to add or to replace, but `Authorization`.
            payload: What to send as JSON.
            query_params: What to add after `?`.
            limit: Bytes that the answer may have; by default 16 MiB, and 100 MB from a presigned URL.

        Raises:
            CloudError: There was no success; see `nxtrack.errors`.
            TypeError: Both `data` and `payload` are given.
        """
        if data is not None and payload is not None:
            raise TypeError("A request takes data or payload, not both.")
        if re.fullmatch(r"[A-Za-z]{1,20}", method) is None:
            raise TypeError(f"{method[:40]!r} is no HTTP method.")
        content = data.encode() if isinstance(data, str) else data
        if payload is not None:
            content = json_of(payload, "The request")
        query = {name: str(value) for name, value in (query_params or {}).items()}
        if re.match(r"https?://", endpoint, re.IGNORECASE):
            url = endpoint + (("&" if "?" in endpoint else "?") + urlencode(query) if query else "")
            outgoing = self._presigned(
                method.upper(),
                url,
                limit=DEFAULT_LIMITS.download if limit is None else limit,
                size=None if content is None else len(content),
            )
            outgoing.data = content
        else:
            path = f"/{endpoint.lstrip('/')}"
            outgoing = self._to_platform(
                method.upper(), path, content, query=query, limit=ANSWER_LIMIT if limit is None else limit
            )
        outgoing.headers |= {name: value for name, value in (headers or {}).items() if name.lower() != "authorization"}

        def once() -> Response:
            return self._transport.receive(outgoing, functools.partial(_response, outgoing))

        return self.patience.repeat(once, HARMLESS if outgoing.method in _REPEATABLE else UNDONE)

    def _to_platform(
        self, method: str, path: str, data: bytes | None, *, query: Mapping[str, str] | None, limit: int
    ) -> Outgoing:
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        return Outgoing(
            method=method,
            url=f"{self.endpoint}{path}{'?' if query else ''}{urlencode(query or {})}",
            headers=headers,
            auth=Bearer(self._key),
            data=data,
            server=self.endpoint,
            judge=functools.partial(failures.of_answer, server=self.endpoint),
            secrets=(self._key,),
            limit=limit,
            seconds=self._timeout.answer,
            before=self._before_request,
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

    def receive(self, url: str, sink: Sink, *, headers: Mapping[str, str] | None = None) -> None:
        """Gives what is behind a presigned URL to a sink, block by block; `transfers` goes on after a break.

        Args:
            url: The presigned URL.
            sink: Takes the answer's head, then its body.
            headers: What to ask with, such as `Range`.

        Raises:
            CloudError: As for `put`.
            Exception: What the sink raises comes out as it is.
        """
        outgoing = self._presigned("GET", url, limit=None, size=None)
        outgoing.headers |= headers or {}

        def take(incoming: Incoming) -> None:
            sink.begin(incoming.status, incoming.headers)
            for block in incoming.blocks():
                sink.write(block)

        self._transport.receive(outgoing, take)

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


def _response(outgoing: Outgoing, incoming: Incoming) -> Response:
    return Response(incoming.status, incoming.headers, incoming.whole(outgoing))


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
