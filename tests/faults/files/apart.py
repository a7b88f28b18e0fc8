"""Work in forked children, which may hang, be killed or eat all memory without harm to the suite."""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.bench import Trial

MEMORY = 256 << 20
"""Bytes that a child may take beyond what it was forked with."""


class Ended(NamedTuple):
    """How a child ended: by itself, with what its work returned or raised, or killed as it took too long."""

    value: Any = None
    error: str = ""


class Child:
    """A forked child that does one piece of work.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, work: Callable[[], Any], *, memory: int | None = None) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._read)
                _lead_nowhere()
                if memory is not None:
                    most = _address_space() + memory
                    resource.setrlimit(resource.RLIMIT_AS, (most, most))
                try:
                    ended = Ended(value=work())
                except BaseException as error:
                    ended = Ended(error=f"{type(error).__name__}: {error}"[:2000])
                with os.fdopen(write, "wb") as pipe:
                    pickle.dump(ended, pipe)
            finally:
                os._exit(0)
        os.close(write)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = 60.0) -> Ended | None:
        """Waits for its end; None when it was killed. One that takes too long is killed, and told as an error."""
        content, until = b"", time.monotonic() + seconds
        hung = False
        while True:
            if not hung and not select.select([self._read], [], [], max(0.0, until - time.monotonic()))[0]:
                hung = True
                self.kill()
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                break
            content += chunk
        os.close(self._read)
        os.waitpid(self.pid, 0)
        if hung:
            return Ended(error=f"hung for {seconds:.0f} s")
        try:
            return pickle.loads(content)
        except (EOFError, pickle.UnpicklingError):
            return None


def apart(work: Callable[[], Any], *, seconds: float = 60.0, memory: int | None = MEMORY) -> Ended:
    """Does work in a child, within bounds of time and memory."""
    return Child(work, memory=memory).wait(seconds) or Ended(error="was killed")


def commands(trial: Trial, *calls: list[str], seconds: float = 60.0) -> Iterator[tuple[list[str], object, str]]:
    """Runs nxtrack's commands one after the other; yields each with its exit status and what it printed."""
    from nxtrack.cli import commands as _loaded  # noqa: F401  (not in each child anew)

    def work() -> list[tuple[list[str], int, str]]:
        from nxtrack.cli.main import main

        os.environ.clear()
        os.environ.update(trial.environment(NXTRACK_DEBUG="1"))
        results = []
        for call in calls:
            with tempfile.TemporaryFile() as file:
                for descriptor in (1, 2):
                    os.dup2(file.fileno(), descriptor)
                status = main(call)
                sys.stdout.flush()
                sys.stderr.flush()
                file.seek(0)
                results.append((call, status, file.read(100_000).decode(errors="replace")))
        return results

    ended = apart(work, seconds=seconds)
    if ended.error:
        yield from ((call, ended.error, "") for call in calls)
    else:
        yield from ended.value


def _lead_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
