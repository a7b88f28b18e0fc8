"""Owns what a flush tells: which runs were delivered, rejected, and left for later, and why."""

from __future__ import annotations

import msgspec


class Synced(msgspec.Struct, frozen=True):
    """A run that the platform took.

    Attributes:
        id: The run's id in the spool.
        run_id: Its id on the platform.
        app_id: The application it belongs to.
    """

    id: str
    run_id: str
    app_id: str


class RejectedRun(msgspec.Struct, frozen=True):
    """A run that the platform will not take as it is; it is kept as rejected."""

    id: str
    error: str


class FlushReport(msgspec.Struct):
    """What a flush did.

    Attributes:
        synced: Runs that the platform took.
        rejected: Runs that it will not take as they are.
        pending: Number of runs left for a later flush.
        recovered: Sentences about runs whose process had died, which this flush ended for them.
        problems: Sentences about what kept runs from being delivered, each said once.
        unconfirmed: How many of the pending runs were posted and may have been taken.
        damaged: Runs whose files are damaged, and were set aside.
        refused: The settings or the API key are at fault, so a later flush will fare no better.
    """

    synced: list[Synced] = msgspec.field(default_factory=list[Synced])
    rejected: list[RejectedRun] = msgspec.field(default_factory=list[RejectedRun])
    pending: int = 0
    recovered: list[str] = msgspec.field(default_factory=list[str])
    problems: list[str] = msgspec.field(default_factory=list[str])
    unconfirmed: int = 0
    damaged: int = 0
    refused: bool = False

    def tell(self, sentence: str) -> None:
        """Adds a problem, unless it was told before."""
        if sentence not in self.problems:
            self.problems.append(sentence)


_PIDS_SHOWN = 5


def recovered(pids: list[int]) -> str:
    """Returns the sentence about runs that were recovered, by the process ids of their former owners."""
    processes = sorted(set(pids))
    if len(processes) == 1:
        who = f"a process that died (pid {processes[0]})"
    else:
        more = ", ..." if len(processes) > _PIDS_SHOWN else ""
        who = f"{len(processes)} processes that died (pids {', '.join(map(str, processes[:_PIDS_SHOWN]))}{more})"
    return f"{plural(len(pids), 'run')} recovered from {who}."


def plural(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 run`, `3 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
