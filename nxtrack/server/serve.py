"""The process: binds the address, runs the platform in the foreground or in a thread, and stops it cleanly."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import shlex
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nxtrack.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from types import FrameType

    from nxtrack.server.options import ServeOptions

try:
    import uvicorn

    from nxtrack.server.app import make_app
    from nxtrack.server.auth import KeyCheck, check_exposure, is_loopback
    from nxtrack.server.protocol import protocol
    from nxtrack.server.state import open_platform
    from nxtrack.server.tls import secure
except ModuleNotFoundError as error:
    raise ServerError(f'The local platform needs {error.name}: run `pip install "nxtrack[server]"`.') from error

_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 2
_BACKLOG = 1024
_LAST_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class RunningPlatform:
    """A platform that answers.

    Attributes:
        url: Its address, such as `http://127.0.0.1:8770`, without a slash at its end.
        data: The folder that holds its data.
        authority: What clients are to trust, a PEM file, when it speaks TLS with a certificate that it made.
    """

    url: str
    data: Path
    authority: Path | None = None


def serve(options: ServeOptions) -> int:
    """Runs the platform in the foreground until SIGINT or SIGTERM.

    The first line on stdout holds the address; from then on connections are accepted.

    Returns:
        The exit status, 0.

    Raises:
        ServerError: The address, the folder or the options cannot be used.
    """
    with _listening(options) as (server, sockets, platform), _quiet_signals(server):
        print(f"Local platform on {platform.url} (data in {platform.data})", flush=True)  # noqa: T201
        if platform.authority:
            # To be copied into a shell.
            trusted, bare = shlex.quote(str(platform.authority)), platform.url.partition("://")[2]
            print(  # noqa: T201
                f"Clients trust it with REQUESTS_CA_BUNDLE={trusted} (curl: CURL_CA_BUNDLE); the command nextmv wants "
                f"NEXTMV_ENDPOINT={bare}, without https://.",
                flush=True,
            )
        server.run(sockets)
    return 0


@contextlib.contextmanager
def running(options: ServeOptions) -> Generator[RunningPlatform, None, None]:
    """Runs the platform in a thread of this process, for as long as the block lasts.

    Raises:
        ServerError: The address, the folder or the options cannot be used.
    """
    with _listening(options) as (server, sockets, platform):
        thread = threading.Thread(target=server.run, args=(sockets,), name="nxtrack-platform", daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            if not server.started:
                raise ServerError("The local platform ended before it began to answer.")
            yield platform
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _listening(
    options: ServeOptions,
) -> Generator[tuple[uvicorn.Server, list[socket.socket], RunningPlatform], None, None]:
    check_exposure(options.host, options.key)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_bind(options.host, options.port))
        data = options.data.expanduser().absolute()
        # Before the data is opened: that begins to execute runs.
        secured = options.tls and secure(options.tls, data=data, host=options.host)
        platform = open_platform(options)
        stack.callback(platform.close)
        app = make_app(
            platform,
            keys=KeyCheck(options.key),
            loopback=is_loopback(options.host),
            rate_limit=options.rate_limit,
        )
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=protocol(head_seconds=options.limits.head_seconds),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=_BACKLOG,
        )
        config.load()
        if secured:
            config.ssl = secured.context
        scheme = "https" if secured else "http"
        yield (
            uvicorn.Server(config),
            [listener],
            RunningPlatform(
                url=f"{scheme}://{_address(options.host, listener)}",
                data=platform.data,
                authority=secured.authority if secured else None,
            ),
        )


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= _LAST_PORT:
        raise ServerError(f"Cannot listen on port {port}: give one from 1 to {_LAST_PORT}, or 0 for a free one.")
    listener = None
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        # Naming TCP here matters: asyncio turns Nagle's algorithm off only on sockets that say so, and with it on,
        # an answer to a kept connection waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        if sys.platform != "win32":
            # After a restart the port is free at once; on Windows this would let two platforms share it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        said = getattr(error, "strerror", None) or str(error)
        raise ServerError(f"Cannot listen on {host}:{port} ({said}): choose another by --host or --port.") from error
    return listener


def _address(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).version == 6:  # noqa: PLR2004
            return f"[{host}]:{port}"
    return f"{host}:{port}"


@contextlib.contextmanager
def _quiet_signals(server: uvicorn.Server) -> Generator[None, None, None]:
    """Has SIGINT and SIGTERM end the server and nothing else.

    uvicorn handles both while it serves, and raises them again when it has stopped: that would end a platform which
    stopped as it was asked with a traceback, or with the signal's exit status.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    handled = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        handled.append(signal.SIGBREAK)
    before = {number: signal.signal(number, stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
