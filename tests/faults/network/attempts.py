"""Attempts to deliver through what breaks: side by side, each in a trial of its own, each report checked and judged."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faults.bench import Solve

from nxtrack.cli.flush import exit_status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faults.bench import Arrived, Bench, Trial
    from faults.network.breaker import Breaker, Fault

    from nxtrack.delivery.report import FlushReport

TOGETHER = 8
"""Trials that are flushed side by side where they wait; waiting costs no processor."""


@dataclasses.dataclass
class Attempt:
    """One injection: what breaks for one trial, and what its first flush must tell.

    Attributes:
        faults: What breaks; each has to happen, or nothing was injected.
        check: Looks at the first flush: the trial, and what it reported.
        solves: The runs.
        others: How many runs of another application stand in the same spool; nothing breaks for them.
        left: The exit statuses that a flush may have which left runs for later.
        first: Settings of the first flush.
        settle: Seconds that a posted run is given, in all flushes.
        after: Looks at the trial when all is over.
    """

    faults: Sequence[Fault]
    check: Callable[[Trial, FlushReport], None] | None = None
    solves: Sequence[Solve] = (Solve(1),)
    others: int = 0
    left: tuple[int, ...] = (75,)
    first: dict[str, Any] = dataclasses.field(default_factory=dict)
    settle: float = 0.0
    after: Callable[[Trial], None] | None = None

    def deliver(self, trial: Trial, url: str) -> FlushReport | None:
        """Flushes once and looks at what it told, then until nothing is left."""
        report = flushed(trial, url, self.left, settle=self.settle, **self.first)
        if self.check is not None:
            self.check(trial, report)
        waits = report.pending or report.rejected  # which a check has sent back
        return trial.drain(url, settle=self.settle, jobs=1) if waits else report

    def judge(self, trial: Trial, report: FlushReport | None) -> None:
        other, solves = other_of(trial), other_solves(self.others)
        arrived = trial.judge(*self.solves)
        if solves:
            arrived += other.judge(*solves)
        delivered(trial, report, arrived, len(self.solves) + len(solves))
        if self.after is not None:
            self.after(trial)


def attempt(bench: Bench, breaker: Breaker, attempts: Sequence[Attempt], *, together: int = TOGETHER) -> None:
    """Makes the attempts, so many at a time, and counts those in which everything broke that was to break."""
    for start in range(0, len(attempts), together):
        batch = attempts[start : start + together]
        with ExitStack() as stack:
            trials = [stack.enter_context(bench.trial()) for _ in batch]
            for trial, chosen in zip(trials, batch, strict=True):
                # Some before and some after the runs that something breaks for, as a flush takes them in order.
                others = other_solves(chosen.others)
                other_of(trial).record(*others[::2])
                trial.record(*chosen.solves)
                other_of(trial).record(*others[1::2])
                for fault in chosen.faults:
                    fault.application = trial.application
                breaker.add(*chosen.faults)

            def work(chosen: Attempt, trial: Trial) -> FlushReport | None:
                return chosen.deliver(trial, breaker.url)

            if len(batch) == 1:
                reports = [work(batch[0], trials[0])]
            else:
                reports = list(stack.enter_context(ThreadPoolExecutor(len(batch))).map(work, batch, trials))
            for trial, chosen, report in zip(trials, batch, reports, strict=True):
                bench.tally.injections += all(fault.happened for fault in chosen.faults)
                chosen.judge(trial, report)


def other_of(trial: Trial) -> Trial:
    """Returns the other application that has runs in a trial's spool."""
    return dataclasses.replace(trial, application=f"{trial.application}-other")


def other_solves(number: int) -> list[Solve]:
    return [Solve(100 + index) for index in range(number)]


def wrong(trial: Trial, sentence: str) -> None:
    trial.bench.tally.found("wrong", f"{trial.application}: {sentence}")


def delivered(trial: Trial, report: FlushReport | None, arrived: Sequence[Arrived], runs: int = 1) -> None:
    """Counts as wrong what the last report of a drain, or the spool, says otherwise than that all is delivered."""
    states = trial.states()
    if report is None or exit_status(report) != 0:
        wrong(trial, f"the last flush reports {report}")
    if states["synced"] != runs:
        wrong(trial, f"{runs} runs were delivered, and the spool has {states}")
    known = {run.run_id for run in arrived}
    for synced in report.synced if report else ():
        if synced.run_id not in known:
            wrong(trial, f"{synced} is not what the platform called it")


def flushed(trial: Trial, url: str, left: tuple[int, ...] = (75,), **how: Any) -> FlushReport:
    """Flushes through what breaks; counts as wrong a report that does not tell what is left, and why.

    Args:
        trial: Whose spool.
        url: Where to.
        left: The exit statuses that may tell of runs that wait.
        **how: Settings of the flush.
    """
    report = trial.flush(url, **{"jobs": 1, **how})
    states = trial.states()
    waiting = states["ready"] + states["unconfirmed"]
    statuses = (1,) if report.rejected else left if waiting else (0,)
    status = exit_status(report)
    if report.pending != waiting or status not in statuses or (waiting and not report.problems):
        wrong(trial, f"exit status {status}, expected {statuses}; {report} while the spool has {states}")
    if len(report.rejected) != states["rejected"] or report.unconfirmed != states["unconfirmed"]:
        wrong(trial, f"{report} while the spool has {states}")
    return report
