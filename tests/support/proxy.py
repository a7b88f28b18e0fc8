"""An HTTP proxy that stands before the real local platform and breaks what it is told to."""

from __future__ import annotations

import http.client
import http.server
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What to do with requests that match: `times` of them, after letting `skip` pass.

    `forward` says whether the platform gets the request at all; `status` answers in its place; without a status the
    connection is reset.
    """

    method: str
    path: str
    times: int = 1
    skip: int = 0
    forward: bool = False
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def matches(self, method: str, path: str) -> bool:
        if method != self.method or not re.search(self.path, path) or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Proxy:
    """An HTTP proxy on loopback that forwards to the platform, and breaks what its faults say."""

    def __init__(self, target: str) -> None:
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self.connections = 0
        self._lock = threading.Lock()
        target_host, target_port = urlsplit(target).hostname, urlsplit(target).port
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                proxy.connections += 1

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if len(body) < length:  # Whoever sent it is dead.
                    self.close_connection = True
                    return
                with proxy._lock:
                    proxy.seen.append((self.command, self.path))
                    fault = next((f for f in proxy.faults if f.matches(self.command, self.path)), None)
                answer = None
                if fault is None or fault.forward:
                    answer = self.forward(body)
                if fault is None:
                    self.answer(*answer)
                elif fault.status is None:
                    # An abortive close: the client sees a reset, as from a machine that went away.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                else:
                    self.answer(fault.status, list(fault.headers.items()), fault.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                connection = http.client.HTTPConnection(target_host, target_port, timeout=30)
                try:
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                    connection.request(self.command, self.path, body=body, headers=headers)
                    response = connection.getresponse()
                    content = response.read()
                    kept = [h for h in response.getheaders() if h[0].lower() not in {"content-length", "connection"}]
                    return response.status, kept, content
                finally:
                    connection.close()

            def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() != "transfer-encoding":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """A connection that we broke ourselves is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def fail(self, method: str, path: str, **what: object) -> Fault:
        fault = Fault(method, path, **what)
        self.faults.append(fault)
        return fault

    def count(self, method: str, path: str) -> int:
        return sum(1 for m, p in self.seen if m == method and re.search(path, p))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


POST_RUN = r"/runs(\?.*)?$"
UPLOAD_URL = r"/runs/uploadurl$"
