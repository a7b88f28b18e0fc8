"""A platform that is far away: each answer comes a fixed time after its request, whatever the load, and all is counted.

It takes what a tracked run takes, keeps nothing, and knows nothing of nxtrack, so that its own cost, some 50 µs a
request, stays out of what is measured; `nxtrack serve`, which stores every run, would cost many times that.
As a program it prints its address. `GET /counts` answers at once with what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@dataclass
class Counts:
    """What a platform saw.

    Attributes:
        requests: Requests to anything but `/counts`.
        connections: Connections that carried at least one of them.
        received: Bytes of their bodies.
        refused: When it answered 429, in seconds on the machine's monotonic clock.
        posted: When runs were posted, those it refused left out; on the same clock.
        first: When the first request came.
    """

    requests: int = 0
    connections: int = 0
    received: int = 0
    refused: list[float] = field(default_factory=list)
    posted: list[float] = field(default_factory=list)
    first: float | None = None


class Platform:
    """A running platform, in a process of its own.

    Attributes:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> Counts:
        return Counts(**json.loads(_get(self.url, "/counts")))

    def variables(self) -> dict[str, str]:
        """Returns the environment that leads a program there."""
        return {"NEXTMV_ENDPOINT": self.url, "NEXTMV_API_KEY": "benchmarks", "NEXTMV_APP_ID": "benchmarks"}


def _get(url: str, path: str) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


@contextlib.contextmanager
def platform(*, latency: float = 0.0, rate: float = 0.0) -> Generator[Platform]:
    """Runs a platform.

    Args:
        latency: Seconds between the end of a request and its answer.
        rate: Run posts a second, after a first burst of as many, beyond which it answers 429; 0 for any number.
    """
    command = [sys.executable, __file__, "--latency", str(latency), "--rate", str(rate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Platform(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stdin):
            if pipe is not None:
                pipe.close()


def carried(where: Platform, connections: int, seconds: float) -> float:
    """Returns how many requests a second so many kept connections carry, when whoever asks has nothing else to do."""
    parts = urlsplit(where.url)
    return asyncio.run(_carry(parts.hostname or "", parts.port or 0, connections, seconds))


async def _carry(host: str, port: int, connections: int, seconds: float) -> float:
    request = b"POST /v1/applications/a/runs/uploadurl HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    streams = [await asyncio.open_connection(host, port) for _ in range(connections)]
    end = time.monotonic() + seconds

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        number = 0
        while time.monotonic() < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            number += 1
        writer.close()
        return number

    began = time.monotonic()
    numbers = await asyncio.gather(*(one(*stream) for stream in streams))
    return sum(numbers) / (time.monotonic() - began)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


class _Connection(asyncio.Protocol):
    """One connection: reads requests one after the other, as HTTP/1.1 clients send them."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._head = b""
        self._left = 0
        self._target = ""
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._body(data)
            return
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        self._head = b""
        self._left = _length(head)
        self._target = head[: head.index(b"\r\n")].decode().rpartition(" ")[0]
        if b"100-continue" in head.lower():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._body(body)

    def _body(self, data: bytes) -> None:
        self._left -= len(data)
        self._server.counts.received += len(data)
        if self._left > 0:
            return
        if self._target == "GET /counts":
            self._transport.write(_answer("200 OK", json.dumps(self._server.counts.__dict__).encode()))
            return
        counts = self._server.counts
        counts.connections += not self._counted
        self._counted = True
        answer = self._server.answer(self._target)
        self._server.later(lambda: self._transport.write(answer))


def _answer(status: str, body: bytes, more: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


class _Server:
    """What all connections share: the counts, the bucket of run posts, and the distance."""

    def __init__(self, latency: float, rate: float) -> None:
        self.counts = Counts()
        self.url = ""
        self._latency = latency
        self._rate = self._tokens = rate
        self._filled = time.monotonic()

    def later(self, action: Callable[[], object]) -> None:
        """Does something when its time has come."""
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, action)
        else:
            action()

    def answer(self, target: str) -> bytes:
        """Returns the answer to a request, by its method and target."""
        counts, now = self.counts, time.monotonic()
        counts.requests += 1
        counts.first = counts.first or now
        if target.endswith("/runs/uploadurl"):
            upload = f"u{counts.requests}"
            return _answer(
                "200 OK",
                json.dumps({"upload_id": upload, "upload_url": f"{self.url}/{upload}?signature=0123456789"}).encode(),
            )
        if target.startswith("POST "):
            return self._take(now)
        if target.startswith("GET "):
            return _answer("200 OK", b'{"runs":[]}')
        return _answer("200 OK", b"")

    def _take(self, now: float) -> bytes:
        if self._rate:
            self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            if self._tokens < 1:
                self.counts.refused.append(now)
                wait = max(1, round((1 - self._tokens) / self._rate))
                return _answer("429 Too Many Requests", b'{"error":"too many runs"}', f"Retry-After: {wait}\r\n")
            self._tokens -= 1
        self.counts.posted.append(now)
        return _answer("200 OK", f'{{"run_id":"run-{len(self.counts.posted)}"}}'.encode())


async def _serve(latency: float, rate: float) -> None:
    loop = asyncio.get_running_loop()
    server = _Server(latency, rate)
    listening = await loop.create_server(lambda: _Connection(server), "127.0.0.1", 0, backlog=512)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    print(server.url, flush=True)
    # Whoever began it holds the other end: when that is dead, there is nobody left to serve.
    await loop.run_in_executor(None, lambda: os.read(0, 1))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    chosen = parser.parse_args()
    asyncio.run(_serve(chosen.latency, chosen.rate))


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]
    _main()
