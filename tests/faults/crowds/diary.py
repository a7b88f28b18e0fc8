"""What the processes of a crowd told of themselves, as the judge wants to hear it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from faults.bench import Solve
from faults.crowds.callers import shape
from faults.crowds.nursery import pause, together

from nxtrack.errors import NxtrackError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import Any

    from faults.bench import Arrived, Trial


class Diary:
    """A file in which any number of processes tell what they do, a line each time."""

    def __init__(self, trial: Trial, name: str = "diary") -> None:
        self.trial = trial
        self.path: Path = trial.folder / name

    def lines(self, word: str) -> list[list[str]]:
        """Returns what follows a first word, for each line that begins with it."""
        with contextlib.suppress(FileNotFoundError):
            found = [line.split() for line in self.path.read_text().splitlines()]
            return [words[1:] for words in found if words[:1] == [word]]
        return []

    def solves(self) -> list[Solve]:
        """Returns what is known of each solve that was called."""
        begun, ended = ({int(words[0]) for words in self.lines(word)} for word in ("begun", "ended"))
        made = []
        for words in self.lines("called"):
            number = int(words[0])
            error, size = shape(number)
            made.append(Solve(number, begun=number in begun, ended=number in ended, error=error, size=size))
        return made

    def judge(self, *, forking: int | None = None) -> list[Arrived]:
        """Has the bench compare what was told with what arrived, and counts what users noticed.

        Args:
            forking: The number of a solve that forked, and whose children print to its log.
        """
        solves = self.solves()
        for solve in solves:
            solve.forks = solve.number == forking
        arrived = self.trial.judge(*solves)
        for words in self.lines("noticed"):
            self.trial.bench.tally.found("wrong", f"{self.trial.application}: noticed by the user: {' '.join(words)}")
        return arrived

    def slowest(self) -> float:
        """Returns how long the longest call took, in seconds."""
        return max((float(words[1]) for words in self.lines("ended")), default=0.0)


def drained(trial: Trial, url: str | None = None, *, seconds: float = 40.0, **more: Any) -> Generator[None, None, None]:
    """Flushes again and again in a scenario until nothing is left; the judge finds what is."""
    patience = time.monotonic() + seconds
    while time.monotonic() < patience:
        try:
            report = trial.flush(url, **more)
        except NxtrackError as error:
            trial.bench.tally.found("wrong", f"{trial.application}: a flush raised {type(error).__name__}: {error}")
            return
        if not report.pending and not _unfinished(trial):
            return
        yield from pause(0.1)


def drain(trial: Trial, **more: Any) -> None:
    """Does the same, with nothing else to do meanwhile."""
    together([drained(trial, **more)], width=1)


def _unfinished(trial: Trial) -> bool:
    """Says whether a run waits for recovery; the empty file of one that was never begun is left alone for a minute."""
    for file in (trial.spool / "runs").glob("*.active"):
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size:
                return True
    return False
