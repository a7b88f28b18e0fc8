"""Owns one exchange: a request out, once, and its answer in, with bounds on size and time.

Nothing is ever retried or redirected here, and no exception of requests or urllib3 comes out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.cookiejar
import importlib.metadata
import ipaddress
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from nxtrack.cloud import failures
from nxtrack.cloud.wire import Adapter, Exchange, Stage, watching
from nxtrack.errors import AnswerLost, CloudError, NotReached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urllib3 import BaseHTTPResponse

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


DEFAULT_TIMEOUTS: Final = Timeouts()


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


@dataclasses.dataclass(slots=True, kw_only=True)
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
        """Sends a request once and returns the body of the success that answers it.

        Raises:
            CloudError: There was no such answer; see `failures`.
            SourceFailed: The body could not be read.
        """
        if self._closed:
            raise NotReached(f"Could not reach {outgoing.server} (the client is closed).")
        exchange = Exchange(self._timeout.read, outgoing.secret_target)
        # Errors are raised outside of `except`, so that no exception of requests, which knows the key and the
        # presigned URL, hangs on them as context.
        result: bytes | CloudError
        try:
            with watching(exchange), contextlib.closing(self._send(outgoing)) as response:
                result = self._take(outgoing, response)
        except failures.TRANSPORT_ERRORS as error:
            result = failures.of_transport(error, exchange.stage, outgoing.server)
        finally:
            with self._lock:
                self.requests_sent += exchange.stage is Stage.SENT
                self.connections_opened += exchange.opened
        if isinstance(result, CloudError):
            raise result
        return result

    def _send(self, outgoing: Outgoing) -> requests.Response:
        session = self._session()
        prepared = session.prepare_request(
            requests.Request(
                outgoing.method, outgoing.url, headers=outgoing.headers, data=outgoing.data, auth=outgoing.auth
            )
        )
        if outgoing.body is not None:
            # Set by hand, as requests would send an empty file in chunks, which the object store refuses.
            prepared.headers["Content-Length"] = str(outgoing.size)
            prepared.body = cast("Any", outgoing.body)
        settings = session.merge_environment_settings(prepared.url, {}, True, None, None)
        if _is_this_machine(prepared.url):
            settings["proxies"] = {}  # a proxy would look for the local platform on its own machine
        return session.send(
            prepared, allow_redirects=False, timeout=(self._timeout.connect, self._timeout.read), **settings
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.headers["User-Agent"] = _user_agent()
            session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
            session.mount("https://", self._adapter)
            session.mount("http://", self._adapter)
            self._local.session = session
        return session

    def _take(self, outgoing: Outgoing, response: requests.Response) -> bytes | CloudError:
        content = bytearray()
        status = response.status_code
        success = 200 <= status < 300  # noqa: PLR2004  (the class of successes)
        if success and outgoing.limit is not None:
            whole = _read(response, content, limit=outgoing.limit, seconds=outgoing.seconds)
            if whole:
                return bytes(content)
            return AnswerLost(
                f"No usable answer came from {outgoing.server} (longer than {outgoing.limit} bytes, or not complete "
                "in time): it may have done what was asked."
            )
        with contextlib.suppress(*failures.TRANSPORT_ERRORS):  # the status is known, which says enough
            _read(response, content, limit=_ERROR_LIMIT, seconds=self._timeout.answer)
        if success:
            return b""
        answer = failures.read_answer(
            status,
            bytes(content[:_ERROR_LIMIT]),
            response.headers.get("Retry-After"),
            now=self._clock(),
            secrets=outgoing.secrets,
        )
        return outgoing.judge(answer)


def _read(response: requests.Response, content: bytearray, *, limit: int, seconds: float | None) -> bool:
    """Reads a body, decompressed, into `content`.

    Returns:
        Whether that was all of it; it is not when it has more than `limit` bytes, or takes longer than `seconds`.
    """
    raw = cast("BaseHTTPResponse", response.raw)
    end = None if seconds is None else time.monotonic() + seconds
    while block := raw.read1(_BLOCK, decode_content=True):
        content += block
        if len(content) > limit or (end is not None and time.monotonic() > end):
            return False
    return True


def _is_this_machine(url: str | None) -> bool:
    host = urlsplit(url or "").hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _user_agent() -> str:
    try:
        return f"nxtrack/{importlib.metadata.version('nxtrack')}"
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        return "nxtrack"
