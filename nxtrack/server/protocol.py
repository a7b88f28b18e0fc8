"""HTTP on one connection: uvicorn's, but it waits neither for the rest of a head nor for the last word of TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# For what was written to get out.
_LAST_WORD_SECONDS = 0.2


class Protocol(H11Protocol):
    """Gives up who does not finish the head of a request, and hangs up on TLS clients when the platform stops.

    Without the first, who sends one byte now and then holds a descriptor for as long as the platform runs. Without
    the second, TLS would have it wait for each of them to agree, for half a minute.
    """

    head_seconds: float
    _head_timer: asyncio.TimerHandle | None = None
    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to count."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Goes on counting while a head is not whole."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the counting."""
        self._unwatch()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Hangs up when this was the last answer that is due."""
        super().on_response_complete()
        if self._stopping:
            self._hang_up()

    def shutdown(self) -> None:
        """Hangs up, or does so after the answer that is under way."""
        super().shutdown()
        self._stopping = True
        if self.transport.is_closing():
            self._hang_up()

    def _hang_up(self) -> None:
        if self.scheme == "https":
            self.loop.call_later(_LAST_WORD_SECONDS, self.transport.abort)

    def _watch(self) -> None:
        """Counts while a head is due, or has begun to come; between requests the keep-alive time runs."""
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._head_timer is None:
            # What ends a connection that is kept for too long is right for this, too.
            give_up: Callable[[], None] = self.timeout_keep_alive_handler
            self._head_timer = self.loop.call_later(self.head_seconds, give_up)

    def _unwatch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def protocol(*, head_seconds: float) -> type[Protocol]:
    """The protocol whose clients have so many seconds to send the head of a request."""
    return type("Protocol", (Protocol,), {"head_seconds": head_seconds})
