"""A relay of the tests' own that stands between a flush and the real platform, and breaks what it is told to."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from faults.network.streams import LONGEST, Gone, Stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

POST_RUN = r"/runs(\?.*)?$"
UPLOAD_URL = r"/runs/uploadurl$"
PUT_UPLOAD = r"/uploads/"


@dataclass
class Request:
    """One request as it came: `head` with its empty line, and the length that its body has."""

    head: bytes
    method: str
    path: str
    application: str
    length: int
    body: bytes = b""
    at: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        return len(self.head) + self.length


@dataclass(kw_only=True)
class Fault:
    """What happens to requests that match: `times` of them (-1: all), after letting `skip` pass.

    Attributes:
        application: Only requests of this application, its uploads among them.
        happened: How often it did.
    """

    method: str
    path: str
    application: str = ""
    times: int = 1
    skip: int = 0
    happened: int = 0

    def takes(self, request: Request) -> bool:
        if (
            not self.times
            or request.method != self.method
            or self.application not in {"", request.application}
            or not re.search(self.path, request.path)
        ):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(kw_only=True)
class Cut(Fault):
    """A stream breaks after `at` bytes of the request, or of the answer to it.

    When the request breaks, the platform never gets the rest of it. When the answer breaks, the platform has done all
    its work before.

    Attributes:
        how: `reset`, `close` (both directions end), `half` (the request ends, the answer may still come) or `stall`
            (nothing more comes until the client gives up); of an answer also `garble` (the byte is another one),
            `repeat` (the byte comes twice) and `again` (all from that byte on comes twice).
    """

    side: str
    at: int
    how: str


@dataclass(kw_only=True)
class Reply(Fault):
    """Other bytes come in place of the platform's answer.

    Attributes:
        content: They.
        forward: The platform gets the request, and has done its work before they come.
        after: Answer as soon as so many bytes of the body came; the rest is not read.
        then: What becomes of the connection: `keep`, `close`, `reset` or `stall`.
        pause: Seconds between two bytes of it.
    """

    content: bytes
    forward: bool = False
    after: int | None = None
    then: str = "close"
    pause: float = 0.0


@dataclass(kw_only=True)
class Edit(Fault):
    """The platform's answer is changed on its way; the length that its head tells is made right.

    Attributes:
        change: Returns the other body.
        bare: The platform is asked without what stands after `?`.
    """

    change: Callable[[Request, bytes], bytes]
    bare: bool = False


@dataclass(kw_only=True)
class Late(Fault):
    """The client is cut off, and the platform gets the whole request only `seconds` later.

    Attributes:
        taken: How many of them the platform has.
    """

    seconds: float
    taken: int = 0


class Breaker:
    """Takes connections on loopback and passes whole requests and answers on, but for what its faults say.

    A list of runs is only asked for while the platform is at no run's POST, so that a request whose sender gave up
    while the platform was at it has been dealt with: no time to settle is needed, however slow the machine is.

    Attributes:
        url: Its address.
        faults: What it does to whom; the first that takes a request has it.
        seen: The requests that came.
        host: The `Host` that the platform is shown in place of the one that came.
        prepare: Told of each whole request before the platform gets it.
        watch: Told of each request that the platform answered, and the answer.
    """

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None, host: str = "") -> None:
        self.faults: list[Fault] = []
        self.seen: list[Request] = []
        self.host = host
        self.prepare: Callable[[Request], object] = lambda request: None
        self.watch: Callable[[Request, bytes], object] = lambda request, answer: None
        self.tls = tls
        self._target = urlsplit(target)
        self._lock = threading.Condition()
        self._posting = 0
        self._owners: dict[str, str] = {}
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.up()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listens, on the same port as before."""
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def down(self) -> None:
        """Refuses connections from now on, and breaks those that are open."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
            listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it, and every thread and connection of it."""
        self.down()
        for thread in list(self._threads):
            thread.join(LONGEST)

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self.faults += faults

    def asked(self, method: str, path: str, application: str = "") -> list[Request]:
        """Returns the requests that came, of those that match."""
        wanted = Fault(method=method, path=path, application=application, times=-1)
        return [request for request in list(self.seen) if wanted.takes(request)]

    def _start(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, args=(connection,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        sockets = [connection]
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(LONGEST)
            if self.tls:
                sockets.append(self.tls.wrap_socket(connection, server_side=True))
                self._open.add(sockets[-1])
            client = Stream(sockets[-1])
            sockets.append(socket.create_connection((self._target.hostname, self._target.port), timeout=LONGEST))
            self._open.add(sockets[-1])
            upstream = Stream(sockets[-1])
            upstream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := client.head():
                self._one(head, client, upstream)
        except (OSError, Gone):
            pass
        finally:
            for side in sockets:
                self._open.discard(side)
                side.close()

    def _one(self, head: bytes, client: Stream, upstream: Stream) -> None:
        """Deals with one request; raises `Gone` when the connection is not to be used again."""
        request = self._read(head)
        with self._lock:
            self.seen.append(request)
            fault = next((fault for fault in self.faults if fault.takes(request)), None)
            if fault is not None and not fault.times:
                self.faults.remove(fault)
        match fault:
            case Cut(side="request") if fault.at < request.size:
                fault.happened += 1
                _cut_request(fault, request, client, upstream)
            case Reply() if fault.after is not None:
                client.take(min(fault.after, request.length))
                fault.happened += 1
                _reply(fault, client)
            case Late():
                request.body = client.take(request.length)
                fault.happened += 1
                client.reset()
                time.sleep(fault.seconds)
                upstream.send(self._shown(request))
                _answer(upstream)
                fault.taken += 1
                raise Gone
            case Reply(forward=False):
                request.body = client.take(request.length)
                fault.happened += 1
                _reply(fault, client)
            case _:
                request.body = client.take(request.length)
                bare = isinstance(fault, Edit) and fault.bare
                asked = replace(request, path=request.path.partition("?")[0]) if bare else request
                _finish(fault, request, client, self._forwarded(asked, client, upstream))

    def _read(self, head: bytes) -> Request:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        path = target if target.startswith("/") else "/" + target.split("/", 3)[-1]
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        named = re.match(r"/v1/applications/([^/?]+)", path)
        application = named[1] if named else self._owners.get(path.partition("?")[0], "")
        return Request(head, method, path, application, int(length[1]) if length else 0)

    def _shown(self, request: Request) -> bytes:
        """Returns the request as the platform is to get it: by its path alone, and as from this machine."""
        line, _, rest = request.head.partition(b"\r\n")
        version = line.rpartition(b" ")[2]
        if self.host:
            rest = re.sub(rb"(?im)^host: .*$", b"Host: " + self.host.encode() + b"\r", rest)
        return b"%b %b %b\r\n%b%b" % (request.method.encode(), request.path.encode(), version, rest, request.body)

    def _forwarded(self, request: Request, client: Stream, upstream: Stream) -> bytes:
        """Returns the platform's whole answer to a whole request."""
        if len(request.body) < request.length:
            raise Gone
        self.prepare(request)
        runs = re.search(POST_RUN, request.path) is not None
        with self._lock:
            if request.method == "GET" and runs:
                self._lock.wait_for(lambda: not self._posting, LONGEST)
            if client.is_gone():
                raise Gone  # Nobody waits for it any more, so the platform must not do it later.
            self._posting += runs
        try:
            upstream.send(self._shown(request))
            answer = _answer(upstream)
        finally:
            with self._lock:
                self._posting -= runs
                self._lock.notify_all()
        self.watch(request, answer)
        if re.search(UPLOAD_URL, request.path):
            with suppress(ValueError, KeyError):
                url = json.loads(answer.partition(b"\r\n\r\n")[2])["upload_url"]
                self._owners[urlsplit(url).path] = request.application
        return answer


def _finish(fault: Fault | None, request: Request, client: Stream, answer: bytes) -> None:
    """Gives the client the answer, or what a fault makes of it."""
    match fault:
        case Cut(side="answer") if fault.at < len(answer):
            fault.happened += 1
            _cut_answer(fault, client, answer)
        case Reply():
            fault.happened += 1
            _reply(fault, client)
        case Edit():
            fault.happened += 1
            head, _, body = answer.partition(b"\r\n\r\n")
            changed = fault.change(request, body)
            head = re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>%d" % len(changed), head)
            client.send(head + b"\r\n\r\n" + changed)
        case _:
            client.send(answer)


def _reply(fault: Reply, client: Stream) -> None:
    if fault.pause:
        for number in range(len(fault.content)):
            client.send(fault.content[number : number + 1])
            time.sleep(fault.pause)
    else:
        client.send(fault.content)
    client.then(fault.then)


def _cut_request(fault: Cut, request: Request, client: Stream, upstream: Stream) -> None:
    body = client.take(max(0, fault.at - len(request.head)))
    upstream.send((request.head + body)[: fault.at])
    match fault.how:
        case "reset":
            client.reset()
            upstream.reset()
        case "close":
            upstream.socket.close()
            client.end()
        case "half":
            upstream.socket.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while block := upstream.socket.recv(2**16):
                    client.send(block)
            client.end()
        case "stall":
            client.wait_until_gone()
    raise Gone


def _cut_answer(fault: Cut, client: Stream, answer: bytes) -> None:
    at = fault.at
    match fault.how:
        case "garble":
            client.send(answer[:at] + bytes([garbled(answer[at])]) + answer[at + 1 :])
        case "repeat":
            client.send(answer[: at + 1] + answer[at:])
        case "again":
            client.send(answer + answer[at:])
        case _:
            client.send(answer[:at])
            client.then(fault.how)


def garbled(byte: int) -> int:
    """Returns another byte; of a digit one that makes no refusal of a success."""
    return ord("9") if byte == ord("2") else byte ^ 0x41


def _answer(upstream: Stream) -> bytes:
    """Reads one whole answer of the platform, which always tells the length of its body."""
    head = upstream.head()
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if not head or length is None:
        raise Gone
    return head + upstream.take(int(length[1]))
