"""One execution of a program: its streams, bounded while they are read, its time limit, and how it is stopped."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import sys
import threading
import time
from bisect import bisect_right
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from nxtrack.server.execution import processes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from nxtrack.server.data.files import Draft

_CHUNK = 64 * 1024
_LOOK_SECONDS = 0.02
_GRACE_SECONDS = 3.0
_DRAIN_SECONDS = 1.0
_MOST_MOMENTS = 20_000
_NEAR_SECONDS = 0.005
_DROPPED = b"\n[the logs go on, but this platform keeps no more of them]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to execute, and within which bounds.

    Attributes:
        command: Its words, options included.
        stdin: The file with its input.
        folder: Its working folder.
        mark: What all its processes carry in their environment.
        seconds: How long it may run.
        output_bytes: How much it may print on stdout; more fails it.
        log_bytes: How much of its stderr is kept; the rest is read and dropped.
    """

    command: tuple[str, ...]
    stdin: Path | None
    folder: Path
    mark: str
    seconds: float
    output_bytes: int
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an execution ended.

    Attributes:
        reason: A sentence, empty for one that succeeded.
        seconds: How long it ran.
        exit_status: What the program exited with, when that made it fail.
    """

    status: str
    reason: str
    seconds: float = 0.0
    exit_status: int = 0


class Moments:
    """When which part of a log came."""

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._times: list[float] = []

    def note(self, offset: int, when: float) -> None:
        """Notes that what begins at an offset came at a time, in seconds since the program was started."""
        if len(self._times) < _MOST_MOMENTS and (not self._times or when - self._times[-1] > _NEAR_SECONDS):
            # In this order, as another thread may look up between the two.
            self._times.append(when)
            self._offsets.append(offset)

    def at(self, offset: int) -> float:
        """When the byte at an offset came, in seconds since the program was started."""
        place = bisect_right(self._offsets, offset) - 1
        return self._times[place] if place >= 0 else 0.0


class Execution:
    """One program from its start to its end. `stop` and `moments` are for other threads than that of `perform`."""

    def __init__(self, program: Program) -> None:
        self.moments = Moments()
        self._program = program
        self._stopping = threading.Event()
        self._stopped = Ending(status="canceled", reason="")
        self._grace = _GRACE_SECONDS

    def stop(self, *, status: str, reason: str, grace: float = _GRACE_SECONDS) -> None:
        """Has the program end, by SIGTERM and after a grace in seconds by SIGKILL; the run gets this status."""
        self._grace = min(self._grace, grace)
        if not self._stopping.is_set():
            self._stopped = Ending(status=status, reason=reason)
            self._stopping.set()

    def perform(self, output: Draft, logs: Draft, *, on_start: Callable[[int], None]) -> Ending:
        """Runs the program to its end and collects what it prints. `on_start` is told its pid."""
        if self._stopping.is_set():
            return self._stopped
        with ExitStack() as stack:
            try:
                stdin = stack.enter_context(self._program.stdin.open("rb")) if self._program.stdin else None
                process = processes.start(
                    self._program.command, stdin=stdin, folder=self._program.folder, mark=self._program.mark
                )
            except (OSError, ValueError) as error:
                said = (error.strerror if isinstance(error, OSError) else None) or str(error)
                return Ending(status="failed", reason=f"The program could not be started: {said}.")
            begun = time.monotonic()
            assert process.stdout is not None
            assert process.stderr is not None
            printed = _Reader(process.stdout, output, limit=self._program.output_bytes)
            said_so = _Reader(
                process.stderr,
                logs,
                limit=self._program.log_bytes,
                last=_DROPPED,
                on_data=lambda offset: self.moments.note(offset, time.monotonic() - begun),
            )
            readers = [printed, said_so]
            try:
                for reader in readers:
                    reader.start()
                on_start(process.pid)
                forced = self._attend(process, begun, readers)
            finally:
                status = processes.end(process, self._program.mark)
                seconds = time.monotonic() - begun
                for reader in readers:
                    reader.close()
        forced = forced or _faulty(readers)
        if forced is None and status != 0:
            forced = Ending(status="failed", reason=_exit_reason(status), exit_status=max(0, status or 0))
        if forced is None:
            return Ending(status="succeeded", reason="", seconds=seconds)
        return dataclasses.replace(forced, seconds=seconds)

    def _attend(self, process: subprocess.Popen[bytes], begun: float, readers: list[_Reader]) -> Ending | None:
        """Waits for the end; how the run ended when that was not of the program's own accord."""
        while not processes.has_exited(process):
            forced: Ending | None
            if self._stopping.is_set():
                forced = self._stopped
            elif time.monotonic() - begun > self._program.seconds:
                limit = f"{self._program.seconds:g} s"
                forced = Ending(status="failed", reason=f"It ran longer than the time limit of {limit}.")
            else:
                forced = _faulty(readers)
            if forced is not None:
                self._make_end(process)
                return forced
            self._stopping.wait(_LOOK_SECONDS)
        return None

    def _make_end(self, process: subprocess.Popen[bytes]) -> None:
        processes.ask_to_end(process)
        asked = time.monotonic()
        # The grace is read anew each time: a platform that stops has less of it.
        while not processes.has_exited(process) and time.monotonic() - asked < self._grace:
            time.sleep(_LOOK_SECONDS)


class _Reader(threading.Thread):
    """Reads one stream of a program into a draft, up to a limit; what comes after that is dropped."""

    def __init__(
        self,
        pipe: IO[bytes],
        draft: Draft,
        *,
        limit: int,
        last: bytes | None = None,
        on_data: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(name="nxtrack-platform-stream", daemon=True)
        self.over = False
        self.fault: OSError | None = None
        self.limit = limit
        self.strict = last is None
        self._pipe = pipe
        self._draft = draft
        self._last = last or b""
        self._on_data = on_data
        self._abandoned = threading.Event()

    def run(self) -> None:
        """Reads until everybody who could write has ended."""
        descriptor = self._pipe.fileno()
        try:
            while not self._abandoned.is_set():
                if not _readable(descriptor):
                    continue
                data = os.read(descriptor, _CHUNK)
                if not data:
                    return
                self._take(data)
        except OSError as error:
            self.fault = error

    def _take(self, data: bytes) -> None:
        if self.over:
            return
        room = self.limit - len(self._last) - self._draft.size
        if len(data) > room:
            self.over = True
            data = data[: max(0, room)] + self._last
        if self._on_data is not None:
            self._on_data(self._draft.size)
        self._draft.write(data)
        self._draft.flush()

    def close(self) -> None:
        """Waits for the last data, but not for a process that left its group and keeps the stream open."""
        if self.ident is not None:
            self.join(_DRAIN_SECONDS)
            self._abandoned.set()
            # Nothing can be done, where streams cannot be waited for (Windows), about one that is kept open.
            self.join(_DRAIN_SECONDS)
        if not self.is_alive():
            self._pipe.close()


def _readable(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    else:  # noqa: RET505  (so that mypy sees which half belongs to which system)
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        return bool(waiting.poll(100))


def _faulty(readers: list[_Reader]) -> Ending | None:
    for reader in readers:
        if reader.fault is not None:
            said = reader.fault.strerror or str(reader.fault)
            reason = f"What the program printed could not be stored: {said}."
            return Ending(status="failed", reason=reason)
        if reader.over and reader.strict:
            reason = f"Its output has more than {reader.limit} bytes, the most that may be downloaded."
            return Ending(status="failed", reason=reason)
    return None


def _exit_reason(status: int | None) -> str:
    if status is None:
        return "The program did not end when it was killed."
    if status > 0:
        return f"The program ended with exit status {status}."
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"The program was ended by {name}."
