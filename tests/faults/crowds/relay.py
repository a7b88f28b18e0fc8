"""A relay of bytes before the platform: it goes away and comes back, stalls, and holds the posts of runs."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

POST_RUN = re.compile(rb"^POST \S*/runs(\?\S*)? HTTP/", re.MULTILINE)


class Relay:
    """Stands on one port for good, whatever happens to what is behind it.

    Attributes:
        url: Its address.
        posts: How many posts of runs came.
        held: How many of them are, or were, held.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = address.hostname, address.port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._let = asyncio.Event()
        self._let.set()
        self.posts = self.held = 0
        self._dropping = False
        self.back()
        self.url = f"http://127.0.0.1:{self._port}"

    def away(self) -> None:
        """Refuses connections, and breaks those that stand."""
        self._do(self._away())

    def back(self) -> None:
        """Takes connections again, and forwards everything."""
        self._do(self._back())

    def restart(self) -> None:
        """Breaks what stands, with all bytes on their way, and takes connections anew."""
        self.away()
        self.back()

    def stall(self) -> None:
        """Takes connections and what comes through them, and forwards nothing."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def hold(self) -> None:
        """Forwards everything but the posts of runs, which stay on their way."""
        self._dropping = False
        self._loop.call_soon_threadsafe(self._let.clear)

    def release(self, *, drop: bool) -> None:
        """Lets the held posts arrive, whether their sender still lives or not; or has none of them ever arrive."""
        self._dropping = drop
        self._loop.call_soon_threadsafe(self._let.set)

    def close(self) -> None:
        self.away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _away(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for _ in range(3):
            await asyncio.sleep(0)  # What was taken just now begins, and can be ended then.
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _back(self) -> None:
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            await self._open.wait()
            there, on = await asyncio.open_connection(*self._target)
            writers.append(on)
            back = asyncio.ensure_future(self._pump(there, writer, posts=False))
            try:
                await self._pump(reader, on, posts=True)
                # Its sender is gone; what it has sent is still being answered.
                await asyncio.wait([back], timeout=2)
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for one in writers:
                one.transport.abort()
                with suppress(OSError, asyncio.CancelledError):
                    await one.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, posts: bool) -> None:
        with suppress(OSError):
            while block := await reader.read(2**18):
                if posts and POST_RUN.search(block):
                    self.posts += 1
                    if not self._let.is_set():
                        self.held += 1
                        await self._let.wait()
                        if self._dropping:
                            return
                await self._open.wait()
                writer.write(block)
                await writer.drain()
            if not posts:
                writer.transport.abort()  # The platform closed: so does the relay.


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    """Gives a relay for the length of a block."""
    made = Relay(target)
    try:
        yield made
    finally:
        made.close()
