"""One side of a connection, as relays read, write and break it."""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress

LONGEST = 30.0
"""Seconds after which a relay gives up whatever it waits for."""


class Gone(Exception):
    """The connection cannot be used any more."""


class Stream:
    """One side's connection, read through a buffer of our own."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = bytearray()
        connection.settimeout(LONGEST)

    def head(self) -> bytes:
        """Returns all up to and with the first empty line, or nothing when the other side has gone."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not self._fill():
                return b""
        return self.take(end + 4)

    def take(self, size: int) -> bytes:
        while len(self._buffer) < size and self._fill():
            pass
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def send(self, content: bytes) -> None:
        try:
            self.socket.sendall(content)
        except OSError as error:
            raise Gone from error

    def is_gone(self) -> bool:
        """Says whether the other side has hung up, as far as can be known now."""
        return bool(select.select([self.socket], [], [], 0)[0]) and not self._fill()

    def wait_until_gone(self) -> None:
        with suppress(OSError):
            while self.socket.recv(2**16):
                pass

    def end(self) -> None:
        """Ends our direction, reads the other one to its end, and closes: no byte on its way is lost."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.wait_until_gone()
        self.socket.close()

    def reset(self) -> None:
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def then(self, what: str) -> None:
        """Goes on as told, `keep`, `close`, `reset` or `stall`; raises `Gone` unless the connection is kept."""
        match what:
            case "keep":
                return
            case "close":
                self.end()
            case "reset":
                self.reset()
            case "stall":
                self.wait_until_gone()
        raise Gone

    def _fill(self) -> bool:
        try:
            block = self.socket.recv(2**18)
        except OSError:
            return False
        self._buffer += block
        return bool(block)
