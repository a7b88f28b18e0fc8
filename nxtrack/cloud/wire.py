"""Owns the connections: how far each request got, how old a connection may be, and what of a URL others may see.

Which exception a broken request ends in does not tell whether it was sent: a TLS handshake and a read both time out
as `ReadTimeout`, a refused proxy tunnel and a reset answer are both a `ConnectionError`. Posting a run twice is what
that would cost, so the connections themselves say when the first byte of a request leaves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from collections.abc import Generator

    from urllib3.connectionpool import HTTPConnectionPool
    from urllib3.poolmanager import PoolManager

IDLE_SECONDS = 20.0
"""A connection unused for longer is not used again: the far end may be about to close it under a request."""

HOSTS = 16
"""To how many hosts connections are kept."""


class Stage(enum.Enum):
    """How far a request got."""

    PREPARED = enum.auto()
    CONNECTING = enum.auto()
    SENT = enum.auto()


@dataclasses.dataclass(slots=True)
class Exchange:
    """One request on its way, as the connection that carries it sees it.

    Attributes:
        send_timeout: Seconds that one block may take to leave.
        secret_target: What stands after the host in the request line, in place of the `/` that the URL given to
            requests ends with. The signature of a presigned URL so never enters an exception or urllib3's log.
        stage: How far the request got.
        opened: Connections that were opened for it.
    """

    send_timeout: float
    secret_target: str | None = None
    stage: Stage = Stage.PREPARED
    opened: int = 0


class _Current(threading.local):
    """The exchange that this thread is at; one that nobody looks at when there is none."""

    def __init__(self) -> None:
        self.exchange = Exchange(send_timeout=60.0)


_current = _Current()


@contextlib.contextmanager
def watching(exchange: Exchange) -> Generator[None]:
    """Lets the connections that this thread uses report to `exchange`."""
    _current.exchange = exchange
    try:
        yield
    finally:
        _current.exchange = Exchange(exchange.send_timeout)


class _Watched(HTTPConnection):
    """What every connection of ours adds to urllib3's, whether plain, TLS or through a proxy."""

    _ready = False
    _used = 0.0

    def connect(self) -> None:
        self._ready = False
        exchange = _current.exchange
        exchange.stage = Stage.CONNECTING
        exchange.opened += 1
        super().connect()
        self._ready = True  # connected, through the proxy's tunnel and the TLS handshake if there are any

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:  # noqa: FBT001, FBT002  (the signature is http.client's)
        if (target := _current.exchange.secret_target) is not None:
            url = url.removesuffix("/") + target  # it is `/`, or `http://host/` for a proxy that forwards
        super().putrequest(method, url, skip_host=skip_host, skip_accept_encoding=skip_accept_encoding)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # as http.client would, but before the bytes count as sent
        exchange = _current.exchange
        # Until it is ready, what goes out asks a proxy for a tunnel.
        if self._ready and self.sock is not None:
            if exchange.stage is not Stage.SENT:
                # urllib3 leaves the connect timeout on the socket, and a slow uplink may need longer for a block.
                self.sock.settimeout(exchange.send_timeout)
                exchange.stage = Stage.SENT
            self._used = time.monotonic()
        super().send(data)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self._used = time.monotonic()
        return response

    @property
    def is_connected(self) -> bool:
        """False makes urllib3 open the connection anew before it is used again."""
        return super().is_connected and time.monotonic() - self._used < IDLE_SECONDS


@functools.cache
def _watched(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    connection = type(f"Watched{pool.ConnectionCls.__name__}", (_Watched, pool.ConnectionCls), {})
    return cast("type[HTTPConnectionPool]", type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": connection}))


def _watch(manager: PoolManager) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in pools.items()}


class Adapter(HTTPAdapter):
    """Connections that are watched, and never a second try; safe to share between threads.

    Args:
        kept: Connections kept open to each host; more may be open at a time.
    """

    def __init__(self, *, kept: int) -> None:
        self._lock = threading.Lock()
        super().__init__(pool_connections=HOSTS, pool_maxsize=kept, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _watch(self.poolmanager)

    def close(self) -> None:
        """Closes the idle connections now; urllib3 leaves it to the garbage collector, for a program's end too late."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in list(manager.pools.keys()):
                if (pool := manager.pools.get(key)) is not None:
                    with contextlib.suppress(OSError):  # What was to be said was said.
                        pool.close()
        with contextlib.suppress(OSError):
            super().close()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Returns the pools of connections through a proxy."""
        with self._lock:
            known = proxy in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **kwargs)
            if not known:
                _watch(manager)
        return manager
