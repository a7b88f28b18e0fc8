"""Real servers on loopback that behave as badly as a test asks them to."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.proxy import Proxy
from support.solvers import instance

import nxtrack
from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.cloud.retries import NEVER
from nxtrack.cloud.transport import Timeouts
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

KEY = "nxmvv1_lhcoj3zDR:f5d1c365105ef511b4c47d67c6c13a729c2faecd36231d37dcdd2fcfffd03a6813235230"


@dataclasses.dataclass
class Heard:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    size: int = 0


class Line:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self.sock = sock
        self.server = server
        self.file = sock.makefile("rb")

    def hear(self, *, body: bool = True) -> Heard | None:
        """Reads a request, or returns None at the end of the connection."""
        first = self.file.readline().decode("latin-1").split()
        if not first:
            return None
        headers: dict[str, str] = {}
        while line := self.file.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        heard = Heard(first[0], first[1], headers)
        if body:
            left = int(headers.get("content-length", "0"))
            if left <= 2**22:
                heard.body = self.file.read(left)
                heard.size = len(heard.body)
            else:
                while left and (block := self.file.read(min(left, 2**20))):
                    left -= len(block)
                    heard.size += len(block)
        self.server.heard.append(heard)
        return heard

    def say(self, raw: bytes) -> None:
        self.sock.sendall(raw)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        head = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.say(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode("latin-1") + body)

    def reset(self) -> None:
        """Drops the connection with a RST, as a crashed peer or a firewall does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.file.close()
        self.sock.close()


class Server:
    """Accepts connections and gives each to `behave`, in a thread of its own."""

    def __init__(self, behave: Callable[[Line], None], context: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.context = context
        self.heard: list[Heard] = []
        self.accepted = 0
        self.stopping = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            if self.stopping.is_set():
                sock.close()
                return
            self.accepted += 1
            self._open.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            line = Line(sock, self)
            try:
                self.behave(line)
            finally:
                line.file.close()
        sock.close()

    def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            pass
        self._socket.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for sock in self._open:
            sock.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers: `serve(behave)` or `serve(behave, context)`."""
    with contextlib.ExitStack() as stack:

        def start(behave: Callable[[Line], None], context: ssl.SSLContext | None = None) -> Server:
            server = Server(behave, context)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Makes clients of a server's URL, which do not wait long, and send nothing again unless told to."""
    with contextlib.ExitStack() as stack:

        def make(endpoint: str, **options: Any) -> Client:
            options.setdefault("timeout", Timeouts(connect=2, read=2, answer=5))
            options.setdefault("patience", NEVER)
            return stack.enter_context(Client(KEY, endpoint, **options))

        yield make


@pytest.fixture
def key() -> str:
    """The API key that `connect` uses."""
    return KEY


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    names = ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "curl_ca_bundle", "requests_ca_bundle", "netrc"]
    names += [f"nextmv_{name}" for name in ("api_key", "endpoint", "profile", "app_id", "instance_id")]
    for name in names:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


# Echoes what it is given, in the size that it is asked for; or waits, or fails.
SOLVER = """
    import json, sys, time
    text = sys.stdin.read()
    try:
        given = json.loads(text)
    except ValueError:
        given = {}
    print("solving", flush=True, file=sys.stderr)
    if given.get("fail"):
        sys.exit("No plan\\nby \\x1b[31mtonight")
    time.sleep(given.get("sleep", 0))
    print(json.dumps({"words": sys.argv[1:], "characters": len(text), "pad": "x" * given.get("pad", 0)}))
"""


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real local platform that can run things."""
    folder = tmp_path_factory.mktemp("remote")
    with running(ServeOptions(port=0, data=folder / "data", instances=(instance(folder, SOLVER, "latest"),))) as served:
        with Client("any", served.url) as client:  # It would come into being with its first run.
            client.request("POST", "/v1/applications", payload={"id": "routing", "name": "Routing"})
        yield served.url


@pytest.fixture
def routing(remote: str) -> Iterator[Application]:
    """An application on that platform."""
    with Client("any", remote) as client:
        yield Application("routing", client)


@pytest.fixture
def flaky(remote: str) -> Iterator[Proxy]:
    """A way to that platform that breaks as it is told; the settings lead there, and wait little."""
    with contextlib.closing(Proxy(remote)) as proxy:
        nxtrack.configure(endpoint=proxy.url, api_key="any", backoff=0.02, settle=0.3)
        yield proxy


@pytest.fixture
def astray(flaky: Proxy) -> Iterator[Application]:
    """An application at the end of that way, which the settings describe."""
    with Client() as client:
        yield Application("routing", client)
