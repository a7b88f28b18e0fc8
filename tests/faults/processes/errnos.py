"""Every error a system call may give, at each system call of a solve and of a flush; and writes that end too early."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from faults.bench import Bench, Solve, Trial
from faults.processes import strace
from faults.processes.forks import RETURNED, Outcome, forks, solving
from faults.processes.kills import FLUSH, LARGE, SETTLE, at_rest
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.bench import Arrived
    from faults.processes.strace import Call, Point

ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE", "EACCES", "ENOMEM", "EINTR")

FILES = re.compile(
    "openat|(p?)(read|write)(64)?|close|lseek|f(data)?sync|ftruncate|fallocate|flock|mkdir|rename(at2?)?|(un)?link(at)?"
    "|f?chmod(at)?|[fl]?stat|newfstatat|statx|getdents64|utimensat"
)
"""System calls that work on files; those of sockets are others."""

_OTHERS = re.compile(r"[012]<|\d+<socket:|\d+<pipe:\[\d+\]>, \"")
"""Those of the program itself: sockets, and where it prints, by a descriptor of another number while its own are led to
the log."""

BATCH = 25
"""Processes that solve with one spool, before all of their runs are delivered."""

COUNTER = 20
"""Bytes of the counter of lost runs, without which nothing can be counted."""

UNHURT = " the solver is not affected"


@dataclass
class Kept(Solve):
    """A solve of which a fault left something out, and told so.

    Attributes:
        without: What: "output" or nothing.
        text: The log that it has instead.
    """

    without: str = ""
    text: str | None = None

    @property
    def answer(self) -> Any:
        return None if self.without == "output" else super().answer

    @property
    def log(self) -> str:
        return super().log if self.text is None else self.text


def _errors(bench: Bench, size: int, *, error: str) -> None:
    """A system call on a file gives an error, in a solve and in a flush."""
    _in_a_solve(bench, size, error)
    _in_a_flush(bench, size, error)


def _in_a_solve(bench: Bench, size: int, error: str) -> None:
    """The program goes on as ever; the run arrives, or what is missing is told and counted; the next one is whole."""
    order = solving(Solve(1), Solve(2))
    with bench.trial() as trial:
        found = points(strace.calls(trial, **order))
    for point in spread(found, size):
        with bench.trial() as trial, strace.told(trial, f"{error} in a solve at {point}"):
            outcome, text = strace.injected(trial, point, f"error={error}", **order)
            if _injected(trial, text):
                solves = Kept(1), Solve(2)
                refused = unnoticed(trial, outcome, solves)
                counted(trial, refused)
                trial.drain()
                take_log(trial, solves[0], outcome)
                contradicted(trial, solves, trial.judge(*solves))


def _in_a_flush(bench: Bench, size: int, error: str) -> None:
    """The flush ends by itself and its exit status is true; the next ones deliver what it left, once."""
    with bench.trial() as trial:
        _prepare(trial)
        found = points(strace.calls(trial, arguments=FLUSH))
    for point in spread(found, size):
        with bench.trial() as trial, strace.told(trial, f"{error} in a flush at {point}"):
            solves = _prepare(trial)
            outcome, text = strace.injected(trial, point, f"error={error}", arguments=FLUSH)
            if _injected(trial, text):
                arrived = len(bench.reader.runs(trial.application))
                if outcome.hung or outcome.status not in {0, 75} or "Traceback" in outcome.errors:
                    bench.tally.found("wrong", str(outcome))
                elif outcome.status == 0 and arrived < len(solves):
                    bench.tally.found("wrong", f"a flush left runs and its exit status does not say so: {outcome}")
                elif outcome.status and not outcome.errors and "write(2<" not in text:
                    bench.tally.found("wrong", f"a flush left runs and did not say why: {outcome}")
                trial.drain(settle=SETTLE)
                trial.judge(*solves)
                at_rest(trial)


def _injected(trial: Trial, text: str) -> int:
    """Counts what was injected where it was meant; a process may not come to the call, or be at another one by then."""
    hits = [line.partition("(")[2] for line in text.splitlines() if line.endswith("(INJECTED)")]
    if any(_OTHERS.match(hit) and not hit.startswith("2<") for hit in hits):
        return 0
    trial.bench.tally.injections += len(hits)
    return len(hits)


def _prepare(trial: Trial) -> tuple[Solve, ...]:
    """Two runs that ended, and one of a process that died."""
    solves = Solve(1, size=LARGE), Solve(2, error="infeasible"), Solve(3)
    trial.record(*solves[:2])
    forks(trial.bench).run(trial, last="import os; os._exit(1)", **solving(solves[2])).known(solves[2])
    return solves


def points(found: Sequence[Call]) -> list[Point]:
    """Returns where errors of files may be injected: not where the user's own program prints, nor in sockets."""
    others = {call.point for call in found if _OTHERS.match(call.text)}
    return [point for point in strace.points(found) if FILES.fullmatch(point.call) and point not in others]


def unnoticed(trial: Trial, outcome: Outcome, solves: Sequence[Solve]) -> int:
    """Finds what a user's program noticed: all is to be as without nxtrack, but for warnings, one of a kind.

    Args:
        trial: Where.
        outcome: What became of the program.
        solves: What it was to do, the first one under the fault; gets to know what the warnings tell of it.

    Returns:
        How many runs are not recorded by the warnings.
    """
    find = partial(trial.bench.tally.found, "wrong")
    expected = "".join(f"solving {solve.number}\nsolved {solve.number}\n" for solve in solves)
    if outcome.hung or (outcome.status, outcome.output) != (0, expected) or set(outcome.solves) != {RETURNED}:
        find(f"the program noticed: {outcome}")
    warnings = outcome.errors.splitlines()
    kinds = [warning.partition(" ")[0] for warning in warnings]
    if len(set(kinds)) < len(kinds) or not all(UNHURT in warning for warning in warnings):
        find(f"not one warning: {outcome.errors}")
    for solve in solves[:1]:
        assert isinstance(solve, Kept)
        solve.without = "output" if "output" in kinds else ""
        refused = any(warning.startswith("run of ") and " not recorded: " in warning for warning in warnings)
        solve.spared = "refused" if refused else ""
    return sum(bool(solve.spared) for solve in solves)


def counted(trial: Trial, refused: int) -> None:
    """Finds a counter of lost runs that does not say what the warnings said."""
    lost = trial.states()["lost"]
    if lost != refused:
        trial.bench.tally.found("wrong", f"{lost} lost by the counter, {refused} by the warnings")


def contradicted(trial: Trial, solves: Sequence[Solve], arrived: Sequence[Arrived]) -> None:
    """Finds runs that were told and counted as lost, and arrived all the same."""
    numbers = {run.input.get("number") for run in arrived}
    if wrongly := [solve.number for solve in solves if solve.spared and solve.number in numbers]:
        trial.bench.tally.found("wrong", f"counted as lost, but delivered: {wrongly}")


def take_log(trial: Trial, solve: Kept, outcome: Outcome) -> None:
    """Takes the log that arrived for the one to expect, if a warning says that something of it is missing."""
    if "log" in outcome.errors:
        for run in trial.bench.reader.runs(trial.application):
            rest = iter(solve.log)
            if run.input == solve.problem and all(letter in rest for letter in run.logs.replace(outcome.errors, "")):
                solve.text = run.logs


def _short_writes(bench: Bench, size: int) -> None:
    """Files may get so many bytes and no more; the program goes on, and what is missing is told."""
    pad = 300
    with bench.trial() as trial:
        forks(bench).run(trial, **solving(Solve(1, size=pad)))
        (file,) = (trial.spool / "runs").iterdir()
        limits = spread(range(file.stat().st_size), size)
    for first in range(0, len(limits), BATCH):
        with bench.trial() as trial:
            solves: list[Kept] = []
            refused = 0
            for limit in limits[first : first + BATCH]:
                with strace.told(trial, f"{limit} bytes"):
                    solve = Kept(limit, size=pad)
                    outcome = forks(bench).run(trial, largest=limit, **solving(solve))
                    bench.tally.injections += 1
                    refused += unnoticed(trial, outcome, [solve]) and limit >= COUNTER
                solves.append(solve)
            with strace.told(trial, f"up to {limit} bytes"):
                counted(trial, refused)
                trial.drain()
                contradicted(trial, solves, trial.judge(*solves))


KINDS = (
    *(
        Kind(f"{error} at every system call on a file", partial(_errors, error=error), 2, 150, strace.needs)
        for error in ERRORS
    ),
    Kind("writes that end early, at every byte of a run's file", _short_writes, 25, 1500),
)
