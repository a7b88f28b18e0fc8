"""User programs in processes of their own, forked from one that has nxtrack imported: a few milliseconds each."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faults.bench import Solve, Trial

PATIENCE = 60.0

PROGRAM = """
import json, os, shutil, sys
from nxtrack import track

def solve(problem):
    number, size = problem["number"], len(problem["pad"])
    print(f"solving {number}", flush=True)
    problem["number"] = "the solver changes its input"
    act(f"in {number}")
    for line in range(problem.get("lines", 0)):
        print(f"{line:9} " + 89 * "=")
    if problem.get("fail"):
        raise ValueError(problem["fail"])
    print(f"solved {number}", flush=True)
    return {"twice": 2 * number, "pad": "o" * size}

def act(moment):
    if moment in acts:
        exec(acts[moment], globals())

tracked = track(solve)
act("first")
for problem in problems:
    number, size = problem["number"], len(problem["pad"])
    act(f"before {number}")
    try:
        result = tracked(problem)
    except ValueError as error:
        print("raised", error)
    else:
        print("returned", result == {"twice": 2 * number, "pad": "o" * size})
    act(f"after {number}")
print("done")
"""
"""Solves `problems`, and does what `acts` say at the moments `first`, `before N`, `in N` and `after N`."""


@dataclasses.dataclass
class Ended:
    """What a user's process left.

    Attributes:
        status: Its exit status as the system tells it: 0, or what made it end otherwise.
        out: Its standard output.
        err: Its standard error.
    """

    status: int
    out: str
    err: str

    @property
    def warnings(self) -> list[str]:
        """The lines of its standard error: all that is expected there are warnings of ours."""
        return self.err.splitlines()


class Server:
    """The process that user programs are forked from."""

    def __init__(self, folder: Path) -> None:
        """Starts it with an environment that has nothing of the developer's in it."""
        root = Path(__file__).parents[3]
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "LANG", "LC_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(root), str(root / 'tests')]}\n{_START}"],
            env=kept | {"HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
        )
        self._folder = folder
        self._programs = 0
        assert self._answer() == "ready"

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def start(self, trial: Trial, program: str, **given: Any) -> User:
        """Starts a program with the trial's environment; `given` are names that it finds defined."""
        self._programs += 1
        out, err = (self._folder / f"program-{self._programs}.{name}" for name in ("out", "err"))
        for file in (out, err):
            file.touch()  # A program that is killed at once has made none.
        environment = trial.environment(**given.pop("environment", {}))
        order = {
            "program": program,
            "given": given,
            "environment": environment,
            "out": str(out),
            "err": str(err),
            "cwd": str(trial.folder),
        }
        return User(self, int(self.ask(order)), out, err)

    def run(self, trial: Trial, program: str, **given: Any) -> Ended:
        """Runs a program to its end."""
        return self.start(trial, program, **given).wait()

    def ask(self, order: dict[str, Any]) -> str:
        """Sends an order, and returns what it answers."""
        pipe: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        pipe.write(json.dumps(order).encode() + b"\n")
        pipe.flush()
        return self._answer()

    def _answer(self) -> str:
        pipe: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        if not select.select([pipe], [], [], PATIENCE)[0]:
            self._process.kill()
            raise AssertionError("the server of user programs says nothing")
        return pipe.readline().decode().strip()


class User:
    """A user's process that runs.

    Attributes:
        pid: Its id, which is nobody else's until it was waited for.
    """

    def __init__(self, server: Server, pid: int, out: Path, err: Path) -> None:
        """Made by `Server.start`."""
        self.pid = pid
        self._server = server
        self._files = out, err
        self._status: int | None = None

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        if self._status is None and (answer := self._server.ask({"poll": self.pid})) != "runs":
            self._status = int(answer)
        return self._status is None

    def kill(self) -> None:
        """Kills it, if it still runs."""
        if self.runs:
            os.kill(self.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stops it: from now on none of its code runs; a call that the system works on for it may still end."""
        os.kill(self.pid, signal.SIGSTOP)
        patience = time.monotonic() + PATIENCE
        while any(state not in "TDZX" for state in self._states()) and time.monotonic() < patience:
            time.sleep(0.0005)

    def _states(self) -> Iterator[str]:
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with suppress(OSError):
                yield Path(f"/proc/{self.pid}/task/{task}/stat").read_text().rpartition(") ")[2][0]

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Waits for its end; one that hangs is killed, and its status tells."""
        patience, pause = time.monotonic() + seconds, 0.001
        while self.runs:
            if time.monotonic() > patience:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        assert self._status is not None
        out, err = (file.read_text(errors="backslashreplace") for file in self._files)
        for file in self._files:
            file.unlink()
        return Ended(os.waitstatus_to_exitcode(self._status), out, err)


@functools.cache
def server(folder: Path) -> Server:
    """Returns the server of a bench's folder; it takes half a second to start, so all kinds share it."""
    made = Server(folder)
    atexit.register(made.close)
    return made


def problems(solves: Sequence[Solve]) -> list[dict[str, Any]]:
    """Returns what `PROGRAM` is to solve."""
    return [solve.problem | ({"fail": solve.error} if solve.error else {}) for solve in solves]


def output(solves: Sequence[Solve]) -> str:
    """Returns what `PROGRAM` prints, tracked or not."""
    lines = []
    for solve in solves:
        log = solve.log.removesuffix(f"solved {solve.number}\n") if solve.error else solve.log
        lines.append(log + (f"raised {solve.error}\n" if solve.error else "returned True\n"))
    return "".join(lines) + "done\n"


def noticed(solves: Sequence[Solve], ended: Ended) -> Iterator[str]:
    """Yields what a user would notice of us, but for warnings."""
    if ended.status:
        yield f"the program ended with {ended.status}: {ended.err[-500:]}"
    elif ended.out != output(solves):
        yield f"the program printed {ended.out[-300:]!r}"
    told = [line.split("(")[0] for line in ended.warnings]
    if len(set(told)) < len(told):
        yield f"a warning came twice: {ended.err[-500:]}"
    for line in ended.warnings:
        if "the solver is not affected" not in line:
            yield f"on standard error stands {line[:300]}"


_START = """
from faults.storage import users
users.serve()
"""


def serve() -> None:
    """Forks user programs, as its orders on stdin say, until that ends. The program runs as `__main__` would."""
    import importlib
    import pkgutil

    import nxtrack
    import nxtrack.cloud
    import nxtrack.delivery
    import nxtrack.spool
    import nxtrack.tracking

    for package in (nxtrack.cloud, nxtrack.delivery, nxtrack.spool, nxtrack.tracking):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if module.name != "nxtrack.spool._windows":
                importlib.import_module(module.name)
    importlib.import_module("faults.storage.mounts")
    print("ready", flush=True)
    for line in sys.stdin.buffer:
        order = json.loads(line)
        if "poll" in order:
            pid, status = os.waitpid(order["poll"], os.WNOHANG)
            print(status if pid else "runs", flush=True)
            continue
        pid = os.fork()
        if not pid:
            _become(order)
            return
        print(pid, flush=True)


def _become(order: dict[str, Any]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = (os.open("/dev/null", os.O_RDONLY), os.open(order["out"], flags), os.open(order["err"], flags))
    for number, descriptor in enumerate(files):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Reading ahead may have left orders of others in the old one.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  (it stays)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    exec(compile(order["program"], "program", "exec"), {"__name__": "__main__", **order["given"]})
