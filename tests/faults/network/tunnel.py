"""A relay that understands nothing of what it carries: TLS goes through it, and a proxy's CONNECT opens it."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from faults.network.streams import LONGEST, Gone, Stream


@dataclass
class Break:
    """What happens to the next connections.

    Attributes:
        times: How many.
        side: Whose bytes are counted: `client` or `server`; `connect` answers a proxy's CONNECT.
        at: After how many bytes the connection breaks.
        how: `reset`, `close` or `stall`.
        content: What a CONNECT is answered with.
        happened: How often it did.
    """

    times: int
    side: str
    at: int = 0
    how: str = "reset"
    content: bytes = b""
    happened: int = 0


class Tunnel:
    """Carries bytes to a port of this machine.

    Attributes:
        url: Its address.
        breaks: What happens to the next connections, the first one first.
        carried: Bytes that the last connection carried, by side.
    """

    def __init__(self, port: int, *, proxy: bool = False, scheme: str = "http") -> None:
        self.breaks: list[Break] = []
        self.carried = {"client": 0, "server": 0}
        self._proxy = proxy
        self._port = port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._start(self._accept)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(LONGEST)

    def _start(self, work, *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            fault = self.breaks[0] if self.breaks else None
            if fault is not None:
                fault.times -= 1
                if not fault.times:
                    self.breaks.pop(0)
        self._open.add(connection)
        client, server = Stream(connection), None
        try:
            if self._proxy:
                self._connect(client, fault)
            server = Stream(socket.create_connection(("127.0.0.1", self._port), timeout=LONGEST))
            self._open.add(server.socket)
            self._carry(client, server, fault)
        except (OSError, Gone):
            pass
        finally:
            for stream in (client, server):
                if stream is not None:
                    self._open.discard(stream.socket)
                    stream.socket.close()

    def _connect(self, client: Stream, fault: Break | None) -> None:
        if not client.head():
            raise Gone
        if fault is not None and fault.side == "connect":
            fault.happened += 1
            client.send(fault.content)
            client.then(fault.how)
        client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def _carry(self, client: Stream, server: Stream, fault: Break | None) -> None:
        """Carries both directions until one ends, and breaks both after so many bytes of one."""
        counts = self.carried = {"client": 0, "server": 0}
        ways = {client.socket: ("client", client, server), server.socket: ("server", server, client)}
        while True:
            ready, _, _ = select.select(list(ways), [], [], LONGEST)
            if not ready:
                return
            for readable in ready:
                side, source, target = ways[readable]
                block = source.socket.recv(2**16)
                if not block:
                    return
                if fault is not None and fault.side == side and counts[side] + len(block) > fault.at:
                    target.send(block[: fault.at - counts[side]])
                    fault.happened += 1
                    server.socket.shutdown(socket.SHUT_RDWR)
                    client.then(fault.how)
                counts[side] += len(block)
                target.send(block)
