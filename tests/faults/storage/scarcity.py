"""The judge of runs that there was no room for: what is missing must be told, by the run or the count of the lost."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING, Any

from faults.bench import Solve, differences
from faults.storage import users

from nxtrack.errors import NxtrackError
from nxtrack.spool import layout, losses
from nxtrack.spool.listing import Entry
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faults.bench import Arrived, Trial

    from nxtrack.delivery.report import FlushReport

NO_END = "The run ended, and the disk took neither its output nor its end."


@dataclasses.dataclass
class Wordy(Solve):
    """A solve with a long log, of lines of 100 bytes."""

    lines: int = 0

    @property
    def problem(self) -> dict[str, Any]:
        return {**super().problem, "lines": self.lines}

    @property
    def log(self) -> str:
        lines = "".join(f"{line:9} {'=' * 89}\n" for line in range(self.lines))
        return f"solving {self.number}\n{lines}solved {self.number}\n"


@dataclasses.dataclass
class Scarce:
    """What came of runs that there was little room for.

    Attributes:
        missing: Runs that did not arrive.
        gaps: Runs that arrived without all that they had, and tell so.
    """

    missing: int = 0
    gaps: int = 0


def judge(
    trial: Trial, solves: Sequence[Solve], *told: users.Ended, notes: dict[str, tuple[str, ...]], counted: bool = True
) -> Scarce:
    """Compares as `Trial.judge` does, but lets runs be missing or have gaps where that is told.

    Args:
        trial: The trial.
        solves: What is known of each solve.
        told: What the processes left that solved them.
        notes: What the runs told of themselves before they were delivered; see `notes_of`.
        counted: The spool's count can have been written; else the warning has to do.
    """
    tally, scarce = trial.bench.tally, Scarce()
    tally.runs += len(solves)
    by_number: dict[Any, list[Arrived]] = {}
    for run in trial.bench.reader.runs(trial.application):
        by_number.setdefault(run.input.get("number"), []).append(run)
    ended_badly = 0
    for solve in solves:
        runs = by_number.pop(solve.number, [])
        scarce.missing += not runs
        if len(runs) > 1:
            tally.found("doubled", f"{trial.application}: {solve} arrived {len(runs)} times")
        for run in runs[:1]:
            said = notes.get(run.marker, ())
            ended_badly += NO_END in said
            different = list(differences(solve, run))
            scarce.gaps += bool(different)
            if different and not _tells(solve, run, said):
                tally.found("wrong", f"{trial.application}: {solve}: {different}, and the run says {said}")
    if by_number:
        tally.found("wrong", f"{trial.application}: runs of no known solve: {list(by_number)}")
    lost = losses.read(str(trial.spool))
    if counted and not scarce.missing <= lost <= scarce.missing + ended_badly:
        what = "lost" if lost < scarce.missing else "wrong"
        tally.found(what, f"{trial.application}: {scarce.missing} runs are missing, {lost} are told: {trial.states()}")
    warned = any(ended.warnings for ended in told)
    if warned != bool(scarce.missing or scarce.gaps):
        tally.found("wrong", f"{trial.application}: {scarce} and the warnings are {[ended.err for ended in told]}")
    return scarce


def _tells(solve: Solve, run: Arrived, said: tuple[str, ...]) -> bool:
    """Says whether a run's notes account for all that differs from what its solve did."""
    status, error = ("failed", f"ValueError: {solve.error}") if solve.error else ("succeeded", "")
    no_end = NO_END in said
    if no_end and solve.error:
        error = NO_END
    output = no_end or any(note.startswith("The output could not be kept: ") for note in said)
    log = no_end or any(note.startswith("The log is not whole: ") for note in said)
    expected = solve.problem | ({"fail": solve.error} if solve.error else {})
    return (
        run.input == expected
        and (run.status, run.error) == (status, error)
        and (run.output or None) in ([None] if solve.error else [None, solve.answer] if output else [solve.answer])
        and (_within(run.logs, solve) if log else not _log_differs(solve, run))
    )


def _log_differs(solve: Solve, run: Arrived) -> bool:
    if solve.error:
        return not (run.logs.startswith(f"solving {solve.number}\n") and run.logs.endswith(f": {solve.error}\n"))
    return run.logs != solve.log


def _within(part: str, solve: Solve) -> bool:
    """Says whether a log holds nothing but what was printed, in order; tracebacks are not looked into."""
    if solve.error:
        return f"solving {solve.number}\n".startswith(part[: len(f"solving {solve.number}\n")])
    rest = iter(solve.log)
    return all(letter in rest for letter in part)


def notes_of(trial: Trial) -> dict[str, tuple[str, ...]]:
    """Returns what the runs of the spool tell of themselves, by id; asks not whose the spool is."""
    spool, found = Spool(str(trial.spool)), {}
    for run_id, state in layout.names(spool.paths):
        try:
            run = spool.read(Entry(run_id, state, died=state == "active"))
        except NxtrackError:
            continue
        found[run_id] = tuple(run.end.notes) if run.end else ()
    return found


def drain(trial: Trial, seconds: float = 20.0, **more: Any) -> FlushReport | None:
    """Flushes until nothing is left, and lets a flush be refused while its disk is."""
    patience, report, last = time.monotonic() + seconds, None, ""
    while time.monotonic() < patience:
        try:
            report = trial.flush(**more)
        except NxtrackError as error:
            last = str(error)
        else:
            if not report.pending:
                return report
            last = str(report.problems)
        time.sleep(0.02)
    trial.bench.tally.found("wrong", f"{trial.application}: it cannot be drained: {last}")
    return report


def accept(trial: Trial, solves: Sequence[Solve], ended: users.Ended) -> None:
    """Counts what the user's program noticed of us."""
    for sentence in users.noticed(solves, ended):
        trial.bench.tally.found("wrong", f"{trial.application}: {sentence}")


def left(trial: Trial) -> Iterator[str]:
    """Yields the files of runs that are still in the spool."""
    for folder in ("runs", "payloads"):
        yield from os.listdir(trial.spool / folder)
