"""Owns one exchange: a request out, once, and its answer in, with bounds on size and time.

Nothing is ever retried or redirected here, and no exception of requests or urllib3 comes out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.cookiejar
import importlib.metadata
import ipaddress
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from nxtrack.cloud import failures
from nxtrack.cloud.wire import HOSTS, Adapter, Exchange, Stage, watching
from nxtrack.errors import AnswerLost, CloudError, NotReached, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3 import BaseHTTPResponse

T = TypeVar("T")

_ERROR_LIMIT = 2**16
_BLOCK = 2**18


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes:
        connect: For a connection to stand, TLS included.
        read: For a read, or a block's write, to get anywhere.
        answer: For the whole body of an answer of the API, so that a trickle cannot hold up a flush. Uploads and
            downloads have no such bound.
    """

    connect: float = 10.0
    read: float = 60.0
    answer: float = 300.0

    @classmethod
    def within(cls, seconds: float) -> Timeouts:
        """Returns what is usual, in proportion to the seconds that one read may take."""
        return cls(connect=min(10.0, seconds), read=seconds, answer=5 * seconds)


class Bearer(AuthBase):
    """Sends the API key. As requests is given this, it leaves `~/.netrc` alone, which would replace the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Adds the header."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class NoAuth(AuthBase):
    """Sends nothing, and keeps requests from sending what `~/.netrc` has for the object store's host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leaves the request as it is."""
        return request


class SourceFailed(Exception):
    """The bytes to upload could not be read, which is no fault of the network and must not pass for one."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(failure)
        self.failure = failure


class Sink(Protocol):
    """Takes the body of a success as it comes, so that it need not fit into the memory."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Told of the answer's head. What it raises ends the exchange; nothing of the body is read then."""

    def write(self, block: bytes, /) -> object:
        """Takes the next block of the body, decompressed if the server compressed it."""


class Body:
    """Exactly `size` bytes of a source, in blocks; iterable, so that http.client does not cut it into 16 KiB.

    Attributes:
        remaining: Bytes that were not asked for yet.
    """

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source = source
        self._size = size
        self.remaining = size

    def __iter__(self) -> Iterator[bytes]:
        """Yields the blocks.

        Raises:
            SourceFailed: The source cannot be read, or ended early.
        """
        while self.remaining:
            try:
                block = self._source.read(min(_BLOCK, self.remaining))
            except Exception as error:  # noqa: BLE001  (whatever the source raises is told apart from the network's)
                raise SourceFailed(error) from None
            if not block:
                done = self._size - self.remaining
                raise SourceFailed(ValueError(f"The source ended after {done} of {self._size} bytes."))
            self.remaining -= len(block)
            yield block


@dataclasses.dataclass(slots=True, kw_only=True, repr=False)
class Outgoing:
    """One request, and how its answer is to be taken.

    Attributes:
        method: The HTTP method.
        url: Where to; see `wire.Exchange.secret_target` for presigned ones.
        secret_target: As there.
        headers: The headers, besides those that every request has.
        auth: `Bearer` or `NoAuth`.
        data: The body, if it is in memory.
        body: The body, if it is streamed.
        size: Its size in bytes.
        before: Called each time before it is sent; what it raises goes through.
        server: Who is asked, as a sentence names it.
        judge: Translates an answer that is no success.
        secrets: Text that no error may hold.
        limit: Bytes that the answer's body may have; None when the body of a success says nothing.
        seconds: For the whole answer, or None for no bound.
    """

    method: str
    url: str
    auth: AuthBase
    server: str
    judge: Callable[[failures.Answer], CloudError]
    secrets: tuple[str, ...]
    limit: int | None
    seconds: float | None
    headers: dict[str, str]
    secret_target: str | None = None
    data: bytes | None = None
    body: Body | None = None
    size: int = 0
    before: Callable[[], None] | None = None


class Incoming:
    """An answer, while its body comes in.

    Attributes:
        status: The HTTP status, such as 200 or 206.
        headers: The headers; their names are found in any case.
    """

    def __init__(self, response: requests.Response, server: str) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._raw = cast("BaseHTTPResponse", response.raw)
        self._server = server

    def blocks(self) -> Iterator[bytes]:
        """Yields the body, decompressed, in blocks of at most 256 KiB, as soon as there is something.

        Raises:
            AnswerLost: The connection broke before the end.
        """
        lost: CloudError | None = None
        while lost is None:
            block = b""
            try:
                block = self._raw.read1(_BLOCK, decode_content=True)
            except failures.TRANSPORT_ERRORS as error:
                lost = failures.of_transport(error, Stage.SENT, self._server)
            if lost is None:
                if not block:
                    return
                yield block
        raise lost

    def whole(self, outgoing: Outgoing) -> bytes:
        """Returns the body, decompressed, of at most the bytes and seconds that the request allows.

        Raises:
            TooLarge: It has more bytes than a GET allows, and would have them again.
            AnswerLost: The connection broke, or the body took too long; or another request was answered at too great
                length, and may have had an effect.
        """
        content = bytearray()
        limit = outgoing.limit
        end = None if outgoing.seconds is None else time.monotonic() + outgoing.seconds
        for block in self.blocks():
            content += block
            if limit is not None and len(content) > limit:
                if outgoing.method == "GET":
                    raise TooLarge(
                        f"The answer of {self._server} is longer than {limit} bytes, the most that may come: nothing "
                        "of it was kept.",
                        size=len(content),
                        limit=limit,
                    )
                raise self._lost(f"longer than {limit} bytes")
            if end is not None and time.monotonic() > end:
                raise self._lost("not complete in time")
        return bytes(content)

    def _lost(self, why: str) -> AnswerLost:
        return AnswerLost(f"No usable answer came from {self._server} ({why}): it may have done what was asked.")


class _Session(requests.Session):
    """Follows no redirect, and does not look at where one leads either."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Says that there is none: requests would otherwise read the whole body and consult netrc."""


class Transport:
    """Sends requests for any number of threads, over connections they share.

    Args:
        timeout: How long to wait.
        kept: Connections that are kept open to each host.
        clock: The time in seconds since the epoch.

    Attributes:
        requests_sent: Requests of which at least one byte left.
        connections_opened: Connections that were opened, or tried to.
    """

    def __init__(self, *, timeout: Timeouts, kept: int, clock: Callable[[], float]) -> None:
        self._timeout = timeout
        self._clock = clock
        self._adapter = Adapter(kept=kept)
        self._headers = {**requests.utils.default_headers(), "User-Agent": _user_agent()}
        self._ways: dict[tuple[str, str], dict[str, Any]] = {}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._closed = False
        self.requests_sent = 0
        self.connections_opened = 0

    def close(self) -> None:
        """Closes all connections: idle ones now, busy ones when their answer has been read."""
        self._closed = True
        self._adapter.close()

    def exchange(self, outgoing: Outgoing) -> bytes:
        """Sends a request once and returns the body of the success that answers it, as `receive`."""
        return self.receive(outgoing, functools.partial(self._whole, outgoing))

    def receive(self, outgoing: Outgoing, take: Callable[[Incoming], T]) -> T:
        """Sends a request once and returns what `take` makes of the success that answers it.

        What `take` raises goes through.

        Raises:
            CloudError: There was no such answer; see `failures`.
            SourceFailed: The body could not be read.
        """
        if outgoing.before is not None:
            outgoing.before()
        if self._closed:
            raise NotReached(f"Could not reach {outgoing.server} (the client is closed).")
        exchange = Exchange(self._timeout.read, outgoing.secret_target)
        # Errors are raised outside of `except`, so that no exception of requests, which knows the key and the
        # presigned URL, hangs on them as context.
        taken: list[T] = []
        error: Exception | None = None
        try:
            with watching(exchange), contextlib.closing(self._send(outgoing)) as response:
                error = self._refusal(outgoing, response)
                if error is None:
                    try:
                        taken.append(take(Incoming(response, outgoing.server)))
                    except Exception as failure:  # noqa: BLE001  (not to be mistaken for the network's below)
                        error = failure
        except failures.TRANSPORT_ERRORS as failure:
            error = error or failures.of_transport(failure, exchange.stage, outgoing.server)
        finally:
            with self._lock:
                self.requests_sent += exchange.stage is Stage.SENT
                self.connections_opened += exchange.opened
        if taken:
            return taken[0]
        assert error is not None
        try:
            raise error
        finally:
            del error  # or it and this frame would keep each other, and the body, in the memory

    def _send(self, outgoing: Outgoing) -> requests.Response:
        # Not by the session, which takes as long again to look whether it has anything to add.
        prepared: Any = requests.PreparedRequest()
        prepared.prepare(
            outgoing.method,
            outgoing.url,
            headers=self._headers | outgoing.headers,
            data=outgoing.data,
            auth=outgoing.auth,
        )
        if outgoing.body is not None:
            # Set by hand, as requests would send an empty file in chunks, which the object store refuses.
            prepared.headers["Content-Length"] = str(outgoing.size)
            prepared.body = cast("Any", outgoing.body)
        session = self._session()
        return session.send(
            prepared,
            allow_redirects=False,
            timeout=(self._timeout.connect, self._timeout.read),
            **self._way(session, prepared.url),
        )

    def _way(self, session: requests.Session, url: str | None) -> dict[str, Any]:
        """Returns which proxies and certificates the environment has for a host, which was looked up once."""
        parts = urlsplit(url or "")
        origin = parts.scheme, parts.netloc
        way = self._ways.get(origin)
        if way is None:
            way = cast("dict[str, Any]", session.merge_environment_settings(url, {}, True, None, None))
            if _is_this_machine(parts.hostname or ""):
                way["proxies"] = {}  # a proxy would look for the local platform on its own machine
            if len(self._ways) >= HOSTS:  # A store may have a host for each bucket.
                self._ways.clear()
            self._ways[origin] = way
        return way

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
            session.mount("https://", self._adapter)
            session.mount("http://", self._adapter)
            self._local.session = session
        return session

    def _whole(self, outgoing: Outgoing, incoming: Incoming) -> bytes:
        if outgoing.limit is None:  # What a success says does not matter.
            _beginning(incoming, self._timeout.answer)
            return b""
        return incoming.whole(outgoing)

    def _refusal(self, outgoing: Outgoing, response: requests.Response) -> CloudError | None:
        """Returns what an answer that is no success says."""
        status = response.status_code
        if 200 <= status < 300:  # noqa: PLR2004  (the class of successes)
            return None
        content = _beginning(Incoming(response, outgoing.server), self._timeout.answer)
        answer = failures.read_answer(
            status,
            content[:_ERROR_LIMIT],
            response.headers.get("Retry-After"),
            now=self._clock(),
            secrets=outgoing.secrets,
        )
        return outgoing.judge(answer)


def _beginning(incoming: Incoming, seconds: float) -> bytes:
    """Returns as much of a body as comes, of one that is short: its status is known already, which says enough."""
    content = bytearray()
    end = time.monotonic() + seconds
    with contextlib.suppress(AnswerLost):
        for block in incoming.blocks():
            content += block
            if len(content) > _ERROR_LIMIT or time.monotonic() > end:
                break
    return bytes(content)


def _is_this_machine(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _user_agent() -> str:
    try:
        return f"nxtrack/{importlib.metadata.version('nxtrack')}"
    except (importlib.metadata.PackageNotFoundError, OSError):  # run from a folder of sources, or from a failing disk
        return "nxtrack"
