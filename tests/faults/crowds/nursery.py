"""Forks the processes of a crowd from one that has everything imported, and drives scenarios that wait side by side."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

TESTS = Path(__file__).parents[2]
IMPORTED = (
    "faults.crowds.callers",
    "faults.crowds.families",
    "nxtrack.delivery.flusher",
    "nxtrack.cli.commands",
    "nxtrack.cli.commands_remote",
    "nxtrack.cli.commands_serve",
    "nxtrack.cli.flush",
    "nxtrack.cli.main",
    "nxtrack.cli.watch",
)
_BECOME_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: processes whose parent died become the nursery's


class Child:
    """A process that the nursery forked, or any other that was started.

    Attributes:
        pid: Its process id.
        status: Its exit status, negative for a signal; None while it lives.
        struck: Signals that it was sent while it lived.
    """

    def __init__(self, pid: int, ask: Callable[[int], int | None]) -> None:
        self.pid = pid
        self.status: int | None = None
        self.struck = 0
        self._ask = ask
        self._lock = threading.Lock()

    def ended(self) -> bool:
        """Says whether it has ended; its process id is its own until this was told so."""
        with self._lock:
            return self._ended()

    def _ended(self) -> bool:
        if self.status is None:
            self.status = self._ask(self.pid)
        return self.status is not None

    def strike(self, number: int, after: float = 0.0) -> None:
        """Sends it a signal, now or in a moment; one that has ended gets none."""
        if after > 0:
            timer = threading.Timer(after, self.strike, (number,))
            timer.daemon = True
            timer.start()
            return
        with self._lock:
            if not self._ended():
                os.kill(self.pid, number)
                self.struck += 1

    def wait(self, longest: float = 30.0) -> int | None:
        """Waits for its end; returns its status, or None when it lives on."""
        patience = time.monotonic() + longest
        while not self.ended() and time.monotonic() < patience:
            time.sleep(0.003)
        return self.status


def started(process: subprocess.Popen[Any]) -> Child:
    """Returns a process of the system's own start as a child."""
    return Child(process.pid, lambda _: process.poll())


class Nursery:
    """The process that forks. What it forked dies with it."""

    def __init__(self, **environment: str) -> None:
        """Starts it, with more in its environment for what only counts at a start."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "LANG", "LC_"))}
        paths = {"PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept | paths | environment,
            text=True,
        )
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, task: str, *arguments: Any, environment: dict[str, str], output: Path | str = os.devnull) -> Child:
        """Has a process forked that does a task of `callers`, in an environment and with its output in a file."""
        order = {"task": task, "arguments": arguments, "environment": environment, "output": str(output)}
        return Child(self._asked(order), self._reap)

    def adopted(self, pid: int) -> Child:
        """Returns a process whose parent, which was forked here, has died."""
        return Child(pid, self._reap)

    def close(self) -> None:
        """Ends it, and whatever it has forked."""
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with suppress(OSError):
                self._process.stdin.close()
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()

    def _reap(self, pid: int) -> int | None:
        return self._asked({"reap": pid})

    def _asked(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order, default=str) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


@contextmanager
def nursery(**environment: str) -> Iterator[Nursery]:
    """Gives a nursery for the length of a block."""
    made = Nursery(**environment)
    try:
        yield made
    finally:
        made.close()


def _serve() -> None:
    """Forks and reaps as it is told, until nobody is left to tell it."""
    ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)
    for module in IMPORTED:
        importlib.import_module(module)
    from faults.crowds.callers import HELD_BACK

    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    for line in sys.stdin:
        order = json.loads(line)
        answer: int | None
        if "task" in order:
            answer = os.fork()
            if answer == 0:
                _become(order)
                return  # So that the process ends as any program does.
        else:
            with suppress(ChildProcessError):
                pid, status = os.waitpid(order["reap"], os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if pid else None
        os.write(1, (json.dumps(answer) + "\n").encode())
    _sweep()


def _become(order: dict[str, Any]) -> None:
    """Makes the forked process what a user's process is, and does the task."""
    nowhere, output = os.open(os.devnull, os.O_RDONLY), os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, target in ((nowhere, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nowhere)
    os.close(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["environment"])
    if order["task"] != "command":  # It takes them itself, when it is about to be what gets them.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    module, _, name = order["task"].rpartition(":")
    getattr(importlib.import_module(module or "faults.crowds.callers"), name)(*order["arguments"])


def _sweep() -> None:
    """Ends all that was forked, also by what was forked."""
    patience = time.monotonic() + 10
    while time.monotonic() < patience:
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def seconds(number: float) -> float:
    """Returns how long something of some seconds may take on this machine: longer where more runs than it has cores."""
    return number * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def together(scenarios: Iterable[Generator[None, None, Any]], width: int) -> None:
    """Drives scenarios, some at a time: each goes on until it next waits."""
    waiting = iter(scenarios)
    running: list[Generator[None, None, Any]] = []
    try:
        while True:
            while len(running) < width and (scenario := next(waiting, None)) is not None:
                running.append(scenario)
            if not running:
                return
            for scenario in list(running):
                try:
                    next(scenario)
                except StopIteration:
                    running.remove(scenario)
            time.sleep(0.002)
    finally:
        for scenario in running:
            scenario.close()


def until(condition: Callable[[], object], longest: float = 30.0) -> Generator[None, None, bool]:
    """Waits in a scenario until a condition holds; returns whether it did within some seconds."""
    patience = time.monotonic() + longest
    while not condition():
        if time.monotonic() > patience:
            return False
        yield
    return True


def pause(length: float) -> Generator[None, None, None]:
    """Waits in a scenario for some seconds."""
    yield from until(lambda: False, length)


if __name__ == "__main__":
    _serve()
