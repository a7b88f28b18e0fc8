"""A program of a user's at a terminal, or with a pipe for each stream: what it wrote, and ways to end it."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from fcntl import ioctl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal, Self

    Streams = Literal["pty", "pipes"]

# The program gets the terminal that Ctrl-C is typed at, and Ctrl-C as an interactive shell would leave it: a harness
# that was started in the background ignores it, and children inherit that.
_AS_A_SHELL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
CTRL_C = b"\x03"
QUIET = 0.5
"""Seconds without a byte after which whatever outlives a killed program is taken to have nothing more to say."""


class Terminal:
    """A running program, in a session of its own, and all bytes that came from it.

    Attributes:
        process: The program.
        streams: Whether stdin, stdout and stderr are one terminal, or stdout and stderr a pipe each.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: Path, streams: Streams) -> None:
        """Starts the program."""
        self.streams = streams
        self._heard: dict[str, bytearray] = {}
        self._last = time.monotonic()
        self._news = threading.Condition()
        launch = [sys.executable, "-S", "-c", _AS_A_SHELL, *command]
        if streams == "pty":
            self._master, slave = pty.openpty()
            _be_plain(slave)
            ends = {"stdin": slave, "stdout": slave, "stderr": slave}
            sources = {"both": self._master}
        else:
            readers, ends = {}, {"stdin": os.open(os.devnull, os.O_RDONLY)}
            for name in ("stdout", "stderr"):
                readers[name], ends[name] = os.pipe()
            sources = readers
        self.process = subprocess.Popen(launch, env=environment, cwd=folder, start_new_session=True, **ends)
        for end in set(ends.values()):
            os.close(end)
        self._sources = sources
        self._threads = []
        for name, source in sources.items():
            self._heard[name] = bytearray()
            thread = threading.Thread(target=self._listen, args=(name, source), daemon=True)
            thread.start()
            self._threads.append(thread)

    def __enter__(self) -> Self:
        """Gives the program."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what is left of the program, its children too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for thread in self._threads:
            thread.join(5)
        for source in self._sources.values():
            os.close(source)

    def text(self, stream: str = "") -> bytes:
        """Returns what came so far: on one of `stdout`, `stderr`, or on all, one stream after the other."""
        with self._news:
            return b"".join(bytes(heard) for name, heard in self._heard.items() if stream in {"", name})

    def shows(self, part: bytes, seconds: float) -> bool:
        """Waits until the program shows some text; False when it has not in so many seconds, or has ended without."""
        until = time.monotonic() + seconds
        while part not in self.text():
            ended = not any(thread.is_alive() for thread in self._threads)
            if ended or time.monotonic() > until:
                return part in self.text()
            with self._news:
                self._news.wait(0.05)
        return True

    def ended(self, seconds: float) -> bool:
        """Waits until the program has ended and all it wrote is here; False when it runs on after so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        # A child of the program's may hold its streams for as long as it likes; without one their end is not far.
        ended = time.monotonic()
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() - max(ended, self._last) < QUIET:
            time.sleep(0.01)
        return True

    def kill(self) -> None:
        """Kills the program alone, as the kernel does when memory is short: its children go on."""
        self.process.kill()

    def type_ctrl_c(self) -> None:
        """Has Ctrl-C typed at the terminal, which sends SIGINT to the program and its children."""
        os.write(self._master, CTRL_C)

    def _listen(self, name: str, source: int) -> None:
        # When its last writer is gone, a terminal fails to be read, where a pipe is at its end.
        with contextlib.suppress(OSError):
            while data := os.read(source, 1 << 16):
                with self._news:
                    self._heard[name] += data
                    self._last = time.monotonic()
                    self._news.notify_all()


def _be_plain(slave: int) -> None:
    """Lets a terminal pass bytes as they are written, and show nothing that is typed; Ctrl-C still interrupts.

    But it does not throw away what was written just before, as it would by default.
    """
    how = termios.tcgetattr(slave)
    how[1] &= ~termios.OPOST
    how[3] = how[3] & ~termios.ECHO | termios.NOFLSH
    termios.tcsetattr(slave, termios.TCSANOW, how)
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
