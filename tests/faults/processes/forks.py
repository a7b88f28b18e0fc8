"""User's processes by the hundred: each forked from one that has everything loaded, and told on by shared memory."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faults.bench import Bench, Solve, Trial

PATIENCE = 60.0
"""Seconds after which a process counts as hanging."""

_WROTE = 32
"""Where the memory that a process tells by holds how many lines its solves wrote."""

REACHED, RETURNED, SURPRISED = 1, 2, 3
"""How far a solve got: its code was reached; its call gave what it should; its call gave something else."""


@dataclass
class Outcome:
    """What became of one process.

    Attributes:
        status: Its exit status, or minus the signal that killed it.
        solves: How far each of its solves got.
        wrote: How many lines each of them had written.
        output: What it printed to its stdout.
        errors: What it printed to its stderr.
        hung: It did not end by itself.
    """

    status: int
    solves: list[int] = field(default_factory=list)
    output: str = ""
    errors: str = ""
    hung: bool = False
    wrote: list[int] = field(default_factory=list)

    def known(self, *solves: Solve) -> tuple[Solve, ...]:
        """Returns the solves with what is known of them now."""
        for solve, reached, wrote in zip(solves, self.solves, self.wrote, strict=False):
            solve.begun, solve.ended, solve.wrote = reached >= REACHED, reached >= RETURNED, wrote
        return solves


class Forks:
    """The process that all others are forked from, one at a time."""

    def __init__(self, bench: Bench) -> None:
        """Starts it, and has it load what solving and flushing load, once."""
        from faults.bench import SOLVER, Trial

        folder = bench.folder / "forks"
        folder.mkdir(exist_ok=True)
        first = Trial(bench, folder, "warm-up", folder / "spool")
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, SOLVER],
            env=first.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # so that the streams of Python know that they are pipes, as they will be
            bufsize=0,  # what a buffer held back, `select` would not see
            cwd=folder,
        )
        atexit.register(self.close)
        self._answer(PATIENCE)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def start(self, trial: Trial, *, application: bool = True, **order: Any) -> int:
        """Forks a process; see `live` for what it may be ordered to do.

        Args:
            trial: Whose environment it gets.
            application: Whether it knows the trial's application.
            order: What it is to do.

        Returns:
            Its process id.
        """
        environment = trial.environment(**order.pop("environment", {}))
        if not application:
            del environment["NEXTMV_APP_ID"]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order | {"environment": environment}).encode() + b"\n")
        self._pid = self._answer(PATIENCE)["pid"]
        return self._pid

    def wait(self, patience: float = PATIENCE) -> Outcome:
        """Waits for the end of the process that was started last; one that hangs is killed."""
        hung = False
        answer = self._answer(patience, may_fail=True)
        if answer is None:
            hung = True
            os.kill(self._pid, signal.SIGKILL)
            answer = self._answer(PATIENCE)
        status = os.waitstatus_to_exitcode(answer["status"])
        return Outcome(status, answer["solves"], answer["output"], answer["errors"], hung, answer["wrote"])

    def run(self, trial: Trial, **order: Any) -> Outcome:
        """Forks a process and waits for its end."""
        self.start(trial, **order)
        return self.wait()

    def _answer(self, patience: float, *, may_fail: bool = False) -> Any:
        stream = self._process.stdout
        assert stream is not None
        if not select.select([stream], [], [], patience)[0]:
            if may_fail:
                return None
            raise TimeoutError("the process that forks does not answer")
        if not (line := stream.readline()):
            raise AssertionError(f"the process that forks died: {self._process.communicate()[1].decode()}")
        return json.loads(line)


@cache
def forks(bench: Bench) -> Forks:
    """Returns the one that serves a bench."""
    return Forks(bench)


def solving(*solves: Solve, **more: Any) -> dict[str, Any]:
    """Returns the order to solve, once for each."""
    return {"solves": [{"number": s.number, "size": s.size, "error": s.error, "deep": s.deep} for s in solves], **more}


# From here on: what runs in the process that forks, and in those that it forks.


def serve(solver: str) -> None:
    """Forks a process for each order that comes as a line of JSON, and answers what became of it."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    names: dict[str, Any] = {}
    exec(solver, names)
    _warm(names["solve"])
    gc.collect()
    gc.freeze()  # Else every process would go through all that it got from this one, when it ends.
    _tell(answers, {})
    seen = mmap.mmap(-1, 64)
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        pipes = [os.pipe() for _ in range(2)]
        seen[:] = bytes(64)
        pid = os.fork()
        if not pid:
            for number, (reading, writing) in enumerate(pipes, 1):
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
                os.dup2(writing, number)
                os.close(reading)
                os.close(writing)
            os.close(answers)
            os.dup2(nowhere, 0)
            live(order, names["solve"], seen)
        for _, writing in pipes:
            os.close(writing)
        patience = time.monotonic() + PATIENCE
        while order.get("traced") and not seen[-1] and time.monotonic() < patience:
            time.sleep(0.0002)  # What it does until it waits is no part of the trace.
        _tell(answers, {"pid": pid})
        _, status = os.waitpid(pid, 0)
        output, errors = (_rest(reading) for reading, _ in pipes)
        number = len(order.get("solves", ()))
        solves, wrote = list(seen[:number]), list(seen[_WROTE : _WROTE + number])
        _tell(answers, {"status": status, "solves": solves, "wrote": wrote, "output": output, "errors": errors})


def live(order: dict[str, Any], solve: Any, seen: mmap.mmap) -> None:
    """Is a user's process: it does what it is ordered to, then ends as programs do.

    Args:
        order: `environment`; `solves` to do, or `arguments` of nxtrack's command line; `traced`: wait for SIGUSR1
            first; `largest`: how many bytes a file may get during the first solve; `last`: Python code that the last
            solver runs when it is about to return.
        solve: The solver.
        seen: Where it notes how far each solve got: memory, as a system call might be the one that kills it.
    """
    os.environ.clear()
    os.environ.update(order["environment"])
    if order.get("traced"):
        seen[-1] = REACHED
        signal.sigwait({signal.SIGUSR1})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if "largest" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], before[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = 0
    if "arguments" in order:
        from nxtrack.cli.main import main

        _begin_window()
        status = main(order["arguments"])
        _end_window()
    for number, what in enumerate(order.get("solves", ())):
        _solve(solve, number, what, order, seen)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    sys.exit(status)


def _solve(solve: Any, number: int, what: dict[str, Any], order: dict[str, Any], seen: mmap.mmap) -> None:
    import nxtrack

    def wrote() -> None:
        seen[_WROTE + number] += 1

    solve.__globals__["wrote"] = wrote
    last = compile(order.get("last", ""), "last", "exec")

    @nxtrack.track
    def tracked(problem: dict[str, Any]) -> dict[str, Any]:
        seen[number] = REACHED
        answer = solve(problem)
        if number == len(order["solves"]) - 1:
            exec(last, {})
        return answer

    problem = {"number": what["number"], "pad": "i" * what["size"]}
    if what["deep"]:
        problem["deep"] = True
    if what["error"]:
        problem["fail"] = what["error"]
    if not number:
        _begin_window()
    try:
        answer = tracked(problem)
    except ValueError as error:
        expected = bool(what["error"]) and str(error) == what["error"]
    else:
        expected = not what["error"] and answer == {"twice": 2 * what["number"], "pad": "o" * what["size"]}
    seen[number] = RETURNED if expected else SURPRISED
    if not number:
        _end_window()


def _begin_window() -> None:
    os.getsid(0)  # System calls that nobody else makes: a trace shows by them what happened in between.


def _end_window() -> None:
    os.getpgid(0)


def _warm(solve: Any) -> None:
    import nxtrack
    from nxtrack.cli.main import main

    tracked = nxtrack.track(solve)
    tracked({"number": 0, "pad": ""})
    with contextlib.suppress(ValueError):
        tracked({"number": 0, "pad": "", "fail": "first"})
    main(["flush"])
    main(["flush", "--jobs", "1"])
    sys.stdout.flush()


def _rest(descriptor: int) -> str:
    """Returns what is in a pipe now: a child that lives on may hold its other end."""
    os.set_blocking(descriptor, False)
    content = b""
    try:
        while chunk := os.read(descriptor, 1 << 20):
            content += chunk
    except BlockingIOError:
        pass
    os.close(descriptor)
    return content.decode(errors="replace")


def _tell(descriptor: int, answer: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    serve(sys.argv[1])
