"""Processes killed at every system call, and in every other way."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from faults.bench import Bench, Solve, Trial
from faults.processes import strace
from faults.processes.forks import PATIENCE, REACHED, forks, solving
from faults.processes.strace import Point
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.processes.strace import Call, Tracer

    Prepare = Callable[[Trial], tuple[Solve, ...]]

LARGE = 300_000
"""Bytes of a payload that gets a file of its own."""

FLUSH = ("flush", "--jobs", "1")
"""One thread delivers, so that the points are the same each time."""

SETTLE = 0.5
"""Seconds after which the platform surely has taken what a killed flusher had sent."""

_QUICK = {"NXTRACK_DURABILITY": "process"}
_KILL = "import os; os.kill(os.getpid(), 9)"


def _solve(bench: Bench, size: int, *, name: str = "KILL", error: str = "", pad: int = 0) -> None:
    """A process is killed at a system call of its solve; what it had begun arrives, as far as it had come."""
    with bench.trial() as trial:
        found = strace.points(strace.calls(trial, **solving(Solve(1, error=error, size=pad, deep=True))))
    for point in spread(found, size):
        with bench.trial() as trial, strace.told(trial, point):
            solve = Solve(1, error=error, size=pad, deep=True)
            outcome, _ = strace.injected(trial, point, f"signal={name}", **solving(solve))
            outcome.known(solve)
            if outcome.status == 0:
                continue  # It did not come to that call.
            if outcome.status != -signal.Signals[f"SIG{name}"]:
                bench.tally.found("wrong", str(outcome))
            bench.tally.injections += 1
            age(trial)
            trial.drain()
            trial.judge(solve)
            at_rest(trial)


def _flush(bench: Bench, size: int, *, prepare: Prepare, until: str = "") -> None:
    """A flush is killed at a system call; the next ones deliver everything, once."""
    order = {"arguments": FLUSH, "environment": {"NXTRACK_SETTLE": "0"}}
    with bench.trial() as trial:
        prepare(trial)
        found = strace.points(_before(until, strace.calls(trial, **order)))
    for point in spread(found, size):
        with bench.trial() as trial, strace.told(trial, point):
            solves = prepare(trial)
            outcome, _ = strace.injected(trial, point, "signal=KILL", **order)
            if outcome.status == 0:
                continue
            if outcome.status != -signal.SIGKILL:
                bench.tally.found("wrong", str(outcome))
            bench.tally.injections += 1
            trial.drain(settle=SETTLE)
            trial.judge(*solves)
            at_rest(trial)


def _reconciling(bench: Bench, size: int) -> None:
    """A flush is killed that finds runs of which nobody knows whether the platform took them."""
    for prepare in (_unconfirmed, _killed_after_post, _killed_before_post):
        _flush(bench, -(-size // 3), prepare=prepare)


def _deaths(bench: Bench, size: int) -> None:
    """A process dies in its second solve, in any way that runs none of our code; both runs arrive."""
    ways = spread(list(product(_WAYS, (0, LARGE))), size)
    for way, pad in ways:
        with bench.trial() as trial, strace.told(trial, way):
            solves = Solve(1, deep=True), Solve(2, size=pad, deep=True)
            outcome = forks(bench).run(trial, last=way, **solving(*solves))
            outcome.known(*solves)
            if outcome.hung or outcome.solves[1] != REACHED:
                bench.tally.found("wrong", f"nobody was killed: {outcome}")
                continue
            bench.tally.injections += 1
            trial.drain()
            trial.judge(*solves)
            at_rest(trial)


def _out_of_memory(bench: Bench, size: int) -> None:
    """The kernel kills a process for want of memory, in its solver, or in our code before or after it."""
    hoard = "import builtins; builtins.hoard = [bytearray(1 << 20) for _ in range(24)]"
    with _group() as limit:
        for megabytes in spread(range(1, 45), size):
            with bench.trial() as trial, strace.told(trial, f"{megabytes} MB"):
                solve = Solve(1, size=4 << 20)
                pid = forks(bench).start(trial, traced=True, last=hoard, **solving(solve))
                limit(megabytes << 20, pid)
                os.kill(pid, signal.SIGUSR1)
                outcome = forks(bench).wait()
                outcome.known(solve)
                if outcome.status == 0:
                    continue
                bench.tally.injections += 1
                if outcome.status != -signal.SIGKILL:
                    bench.tally.found("wrong", str(outcome))
                age(trial)
                trial.drain()
                trial.judge(solve)
                at_rest(trial)


def _stopped_flush(bench: Bench, size: int) -> None:
    """A flusher is stopped in the middle, another one flushes, and the first goes on."""
    order = {"arguments": FLUSH}
    with bench.trial() as trial:
        _two_ready(trial)
        found = strace.points(strace.calls(trial, **order))
    for point in spread(found, size):
        with bench.trial() as trial, strace.told(trial, point):
            solves = _two_ready(trial)
            outcome, text = strace.injected(trial, point, "signal=STOP", meanwhile=partial(_pause, trial), **order)
            bench.tally.injections += _STOPPED in text
            if outcome.status != 0:
                bench.tally.found("wrong", str(outcome))
            trial.drain(settle=SETTLE)
            trial.judge(*solves)
            at_rest(trial)


def _stopped_solve(bench: Bench, size: int) -> None:
    """A solver's process is stopped while a flush runs, which must leave it alone, and goes on."""
    with bench.trial() as trial:
        found = strace.points(strace.calls(trial, **solving(Solve(1, deep=True))))
    for point in spread(found, size):
        with bench.trial() as trial, strace.told(trial, point):
            solve = Solve(1, deep=True)
            order = solving(solve)
            outcome, text = strace.injected(trial, point, "signal=STOP", meanwhile=partial(_pause, trial), **order)
            bench.tally.injections += _STOPPED in text
            outcome.known(solve)
            if (outcome.status, outcome.output, outcome.errors, solve.ended) != (0, solve.printed, "deeper 1\n", True):
                bench.tally.found("wrong", str(outcome))
            trial.drain()
            trial.judge(solve)
            at_rest(trial)


_STOPPED = "--- stopped by SIGSTOP ---"


def _pause(trial: Trial, pid: int, tracer: Tracer) -> None:
    """Waits until a process is stopped, flushes, and lets the process go on, however often it is stopped again."""
    patience = time.monotonic() + PATIENCE
    flushed = False
    while tracer.runs() and time.monotonic() < patience:
        if _STOPPED in tracer.text():
            if not flushed:
                trial.flush()
                flushed = True
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.005)


def age(trial: Trial) -> None:
    """Lets a minute pass for files of runs that were created and not begun, after which they are no newborns."""
    with suppress(FileNotFoundError):
        for file in (trial.spool / "runs").glob("*.active"):
            if b"\n" not in file.read_bytes():
                os.utime(file, (time.time() - 61,) * 2)


def at_rest(trial: Trial) -> None:
    """Finds what is left in a spool where everything should be delivered, and nothing damaged or lost."""
    left = {state: number for state, number in trial.states().items() if number and state != "synced"}
    if left:
        trial.bench.tally.found("wrong", f"{trial.application}: left in the spool: {left}")


def _two_ready(trial: Trial) -> tuple[Solve, ...]:
    """Two runs that ended, one of them failed."""
    solves = Solve(1), Solve(2, error="infeasible")
    trial.record(*solves)
    return solves


def _dead(trial: Trial) -> tuple[Solve, ...]:
    """Runs of dead processes: in the solver, with large payloads, with a child that keeps the lock, at the very end."""
    solves = Solve(1), Solve(2, size=LARGE), Solve(3), Solve(4)
    for solve, last in zip(solves, (_KILL, _KILL, _C_CHILD), strict=False):
        forks(trial.bench).run(trial, last=last, environment=_QUICK, **solving(solve)).known(solve)
    strace.injected(trial, Point("rename", 1), "signal=KILL", environment=_QUICK, **solving(solves[3]))[0].known(
        solves[3]
    )
    return solves


def _unconfirmed(trial: Trial) -> tuple[Solve, ...]:
    """A run was posted and taken, and the disk took no note of it."""
    solves = _two_ready(trial)
    strace.injected(trial, _journaling(trial.bench, "posted"), "error=EIO", arguments=FLUSH)
    return solves


def _killed_after_post(trial: Trial) -> tuple[Solve, ...]:
    """A flusher was killed after a run was posted and taken, and before it had noted so."""
    solves = _two_ready(trial)
    strace.injected(trial, _journaling(trial.bench, "posted"), "signal=KILL", arguments=FLUSH)
    return solves


def _killed_before_post(trial: Trial) -> tuple[Solve, ...]:
    """A flusher was killed after it had noted that it would post, and before it did."""
    solves = _two_ready(trial)
    strace.injected(trial, Point("fsync", 1), "signal=KILL", arguments=FLUSH)
    return solves


@cache
def _journaling(bench: Bench, record: str) -> Point:
    """Returns where a flush of two runs writes a record into the journal of the first."""
    with bench.trial() as trial:
        _two_ready(trial)
        found = strace.calls(trial, arguments=FLUSH)
    return next(call.point for call in found if call.point.call == "write" and f'\\"{record}\\"' in call.text)


def _before(name: str, found: list[Call]) -> list[Call]:
    """Returns the calls before the first of that name, or all."""
    position = next((number for number, call in enumerate(found) if call.point.call == name), len(found))
    return found[:position]


@contextmanager
def _group() -> Iterator[Callable[[int, int], None]]:
    """Makes a control group; gives a function that sets its limit of memory and puts a process into it."""
    root = _memory()
    assert root is not None
    folder = root / f"nxtrack-faults-{os.getpid()}"
    folder.mkdir()

    def limit(size: int, pid: int) -> None:
        for name, value in (("memory.max", size), ("memory.swap.max", 0), ("memory.limit_in_bytes", size)):
            if (folder / name).exists():
                (folder / name).write_text(str(value))
        (folder / "cgroup.procs").write_text(str(pid))

    try:
        yield limit
    finally:
        folder.rmdir()


def _memory() -> Path | None:
    """Returns where control groups with a limit of memory may be made, or None."""
    for root in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        probe = root / f"nxtrack-probe-{os.getpid()}"
        with suppress(OSError):
            probe.mkdir()
            try:
                if any((probe / name).exists() for name in ("memory.max", "memory.limit_in_bytes")):
                    return root
            finally:
                probe.rmdir()
    return None


def _needs_group() -> str:
    return "" if _memory() else "needs control groups of memory, as root"


_CHILD = "while os.path.exists(os.environ['HOME']): time.sleep(0.05)\n os._exit(0)\nos.kill(os.getpid(), 9)"
_C_CHILD = f"import ctypes, os, time\nif ctypes.PyDLL(None).fork() == 0:\n {_CHILD}"
"""A child that was forked in C keeps the lock of its parent's run, for as long as the trial lasts."""

_SIGNALS = "KILL TERM INT HUP QUIT PIPE ALRM USR1 USR2 XCPU XFSZ VTALRM PROF IO PWR ILL TRAP FPE BUS SEGV SYS ABRT"
_WAYS = (
    *(
        f"import os, signal; n = signal.SIG{name}\nif n != 9: signal.signal(n, 0)\nos.kill(os.getpid(), n)"
        for name in _SIGNALS.split()
    ),
    "import ctypes; ctypes.string_at(0)",
    "import os; os.abort()",
    "import os; os._exit(0)",
    "import os; os._exit(3)",
    "import os; os.execv('/bin/true', ['true'])",
    "import ctypes; ctypes.pythonapi.Py_FatalError(b'no more')",
    "import ctypes; ctypes.CDLL(None)._exit(0)",
    "import ctypes; ctypes.CDLL(None).exit(0)",
    # The stack of C overflows; a file that is mapped into memory gets shorter.
    "import ctypes, sys; sys.setrecursionlimit(10**9); f = ctypes.CFUNCTYPE(None)(lambda: f()); f()",
    "import mmap; f = open('map', 'w+b'); f.truncate(9); m = mmap.mmap(f.fileno(), 9); f.truncate(0); m[0]",
    # Another thread does it, while the solver waits.
    "import os, threading, time; threading.Thread(target=os._exit, args=(1,)).start(); time.sleep(9)",
    "import os, threading, time; threading.Thread(target=os.kill, args=(os.getpid(), 9)).start(); time.sleep(9)",
    # A child lives on: forked by Python, forked by C, started as another program.
    f"import os, time\nif os.fork() == 0:\n {_CHILD}",
    _C_CHILD,
    "import os, subprocess; subprocess.Popen(['sleep', '0.5']); os.kill(os.getpid(), 9)",
)
"""How a process may die, as Python code that its solver runs."""

KINDS = (
    Kind("SIGKILL at every system call of a solve", _solve, 5, 500, strace.needs),
    Kind(
        "SIGKILL at every system call of a solve with large payloads", partial(_solve, pad=LARGE), 4, 500, strace.needs
    ),
    Kind("SIGKILL at every system call of a failing solve", partial(_solve, error="infeasible"), 4, 500, strace.needs),
    Kind("SIGTERM at every system call of a solve", partial(_solve, name="TERM"), 4, 500, strace.needs),
    Kind("SIGKILL at every system call of a flush", partial(_flush, prepare=_two_ready), 4, 700, strace.needs),
    Kind(
        "SIGKILL at every system call of a recovery",
        partial(_flush, prepare=_dead, until="socket"),
        3,
        300,
        strace.needs,
    ),
    Kind("SIGKILL at every system call of a flush that reconciles", _reconciling, 3, 210, strace.needs),
    Kind("a process that dies in its solver, in every way", _deaths, 6, 2 * len(_WAYS)),
    Kind("a process out of memory", _out_of_memory, 3, 44, _needs_group),
    Kind("SIGSTOP in a flush while another flushes", _stopped_flush, 3, 60, strace.needs),
    Kind("SIGSTOP in a solve while a flush runs", _stopped_solve, 3, 60, strace.needs),
)
