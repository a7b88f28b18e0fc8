"""Injects faults into system calls of real processes, with strace."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from faults.processes.forks import PATIENCE, Outcome, forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from faults.bench import Trial

_CALL = re.compile(r"(\d+) +(\w+)\((.*)")


class Point(NamedTuple):
    """The `number`-th call of a system call by a thread, counted from the moment that strace was attached."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} no. {self.number}"


class Call(NamedTuple):
    """One system call of a trace: which thread made it, and its arguments and result as strace shows them."""

    thread: int
    point: Point
    text: str


def needs() -> str:
    """Returns why nothing can be traced here, or ""."""
    if shutil.which("strace") is None:
        return "needs strace"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "strace may not trace here"


@contextmanager
def told(trial: Trial, where: object) -> Iterator[None]:
    """Has what is found meanwhile say where the fault was injected."""
    findings = trial.bench.tally.findings
    before = len(findings)
    try:
        yield
    finally:
        findings[before:] = [f"{finding}; {where}" for finding in findings[before:]]


class Tracer:
    """strace, attached to a process that waits for it."""

    def __init__(self, pid: int, file: Path, *options: str) -> None:
        """Attaches it to all threads of the process, and lets the process go."""
        self.file = file
        self._process = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", str(file), *options, "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        status = Path(f"/proc/{pid}/status")
        patience = time.monotonic() + PATIENCE
        while "TracerPid:\t0\n" in status.read_text():
            if time.monotonic() > patience or self._process.poll() is not None:
                self.close()
                raise AssertionError(f"strace was not attached to {pid}")
            time.sleep(0.0005)
        os.kill(pid, signal.SIGUSR1)

    def text(self) -> str:
        """Returns what it has written so far."""
        with suppress(FileNotFoundError):
            return self.file.read_text(errors="replace")
        return ""

    def runs(self) -> bool:
        """Says whether it still traces something."""
        return self._process.poll() is None

    def close(self) -> None:
        """Waits for its end, which comes with that of the process."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def traced(
    trial: Trial, *options: str, meanwhile: Callable[[int, Tracer], None] | None = None, **order: Any
) -> tuple[Outcome, str]:
    """Has a process do what it is ordered to, under strace.

    Args:
        trial: Where.
        options: For strace.
        meanwhile: What else is done while the process runs; it is given the process id and the tracer.
        order: See `forks.live`.

    Returns:
        What became of the process, and what strace wrote.
    """
    parent = forks(trial.bench)
    pid = parent.start(trial, traced=True, **order)
    tracer = None
    try:
        tracer = Tracer(pid, trial.folder / "strace", *options)
        if meanwhile is not None:
            meanwhile(pid, tracer)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        outcome = parent.wait()
        if tracer is not None:
            tracer.close()
    return outcome, tracer.text()


def injected(trial: Trial, point: Point, fault: str, **order: Any) -> tuple[Outcome, str]:
    """Has a process do what it is ordered to, with a fault such as `signal=KILL` or `error=EIO` at one point."""
    inject = f"inject={point.call}:{fault}:when={point.number}"
    return traced(trial, "-y", "-e", f"trace={point.call}", "-e", inject, **order)


def calls(trial: Trial, **order: Any) -> list[Call]:
    """Returns all system calls that a process makes while it does what it is ordered to."""
    outcome, text = traced(trial, "-y", **order)
    assert outcome.status == 0, f"what is to be disturbed does not work undisturbed: {outcome}"
    found: list[Call] = []
    counts: dict[tuple[str, str], int] = {}
    inside = False
    for line in text.splitlines():
        if (match := _CALL.match(line)) is None:
            continue
        thread, name, arguments = match.groups()
        number = counts[thread, name] = counts.get((thread, name), 0) + 1
        if name == "getpgid":
            break
        if inside:
            found.append(Call(int(thread), Point(name, number), arguments))
        inside = inside or name == "getsid"
    assert inside
    return found


def points(found: Iterable[Call]) -> list[Point]:
    """Returns where faults may be injected, each once."""
    return list(dict.fromkeys(call.point for call in found))
