"""Many writers and flushers at once, killed again and again; processes that fork; threads that die together."""

from __future__ import annotations

import itertools
import random
import signal
import time
from typing import TYPE_CHECKING

from faults.bench import DIED, Bench, Solve
from faults.crowds import agents, clocks, online
from faults.crowds.diary import Diary, drain, drained
from faults.crowds.families import WAYS
from faults.crowds.nursery import Child, nursery, together, until
from faults.tally import Kind

if TYPE_CHECKING:
    from collections.abc import Generator

    from faults.crowds.nursery import Nursery

SETTLE = 2.0
"""Seconds that a post of a killed flusher is given: the platform may be about to take it."""

KILLS_A_TRIAL = 80


def _crowd(bench: Bench, size: int) -> None:
    """Eight writing threads and three flushers are killed and replaced: each run is there, once, as far as it got."""
    with nursery() as forks:
        while (left := size - bench.tally.injections) > 0:
            _crowd_trial(bench, forks, min(left, KILLS_A_TRIAL))


def _crowd_trial(bench: Bench, forks: Nursery, kills: int) -> None:
    chance = random.Random(kills)
    numbers = itertools.count(1, 1000)
    killed = 0
    with bench.trial() as trial:
        diary = Diary(trial)
        environment = trial.environment(NXTRACK_DURABILITY="process")

        def writer() -> Child:
            return forks.fork("write", diary.path, next(numbers), 40, 4, 0.6, environment=environment)

        def flusher() -> Child:
            return forks.fork("flush", SETTLE, 3, environment=environment)

        makers = [writer, writer, flusher, flusher, flusher]
        crowd = [maker() for maker in makers]
        try:
            while killed < kills:
                time.sleep(chance.random() * 0.12)
                place = chance.choice((0, 1, 2, 2, 3, 3, 4, 4))
                crowd[place].strike(signal.SIGKILL)
                status = crowd[place].wait()
                killed += status == -signal.SIGKILL
                if status not in (0, -signal.SIGKILL):
                    bench.tally.found("wrong", f"{trial.application}: {makers[place].__name__} ended with {status}")
                crowd[place] = makers[place]()
                for other in (0, 1):
                    if crowd[other].ended():
                        crowd[other] = writer()
        finally:
            for child in crowd:
                child.strike(signal.SIGKILL)
                killed += child.wait() == -signal.SIGKILL
        bench.tally.injections += killed
        drain(trial, settle=SETTLE, jobs=8)
        diary.judge()


def _threads(bench: Bench, size: int) -> None:
    """A process dies while eight threads of it are in the same tracked function: each of their runs is told of."""
    chance = random.Random(3)
    numbers = itertools.count(1, 100)
    with nursery() as forks:
        while bench.tally.injections < size:
            with bench.trial() as trial:
                diary = Diary(trial)
                for _ in range(min(10, size - bench.tally.injections)):
                    environment = trial.environment(NXTRACK_DURABILITY=chance.choice(("power", "process")))
                    child = forks.fork("write", diary.path, next(numbers), 24, 8, 0.03, environment=environment)
                    time.sleep(0.002 + chance.random() * 0.06)
                    child.strike(signal.SIGKILL)
                    bench.tally.injections += child.wait() == -signal.SIGKILL
                drain(trial, jobs=8)
                diary.judge()


def _families(bench: Bench, size: int) -> None:
    """A solver forks and parent or child dies: the child never ends its parent's run, nor keeps it from delivery."""
    chosen = [(way, death) for death in ("parent", "child", "parent later", "both") for way in WAYS]
    chosen = [one for one in chosen if one not in {("fork in C", "both"), ("fork in C", "parent later")}]

    def scenarios(forks: Nursery) -> Generator[Generator[None, None, None], None, None]:
        for number in itertools.count():
            if bench.tally.injections >= size:
                return
            way, death = chosen[number % len(chosen)]
            yield _family(bench, forks, way, death, ("return", "_exit", "raise")[number % 3])

    with nursery() as forks:
        together(scenarios(forks), width=3)


def _family(bench: Bench, forks: Nursery, way: str, death: str, leave: str) -> Generator[None, None, None]:
    with bench.trial() as trial:
        diary, go, output = Diary(trial), trial.folder / "go", trial.folder / "output"
        what = f"{trial.application}: {way}, {death} dies"
        parent = forks.fork(
            *("faults.crowds.families:family", way, diary.path, death, leave, go, 1),
            environment=trial.environment(NXTRACK_DURABILITY="process"),
            output=output,
        )
        yield from until(parent.ended)
        expected = 0 if death == "child" else -signal.SIGKILL
        if death == "child":
            bench.tally.injections += diary.lines("child") == [[str(-signal.SIGKILL)]]
        else:
            bench.tally.injections += parent.status == expected
        if death in {"parent", "both"}:
            if not (yield from until(lambda: diary.lines("orphan"))):
                bench.tally.found("wrong", f"{what}: its child never came: {output.read_text()[-300:]}")
                return
            report = trial.flush()
            if len(report.synced) != len(diary.solves()):
                bench.tally.found("wrong", f"{what}: not delivered while its child lives: {report}")
            go.touch()
            orphan = forks.adopted(int(diary.lines("orphan")[0][0]))
            if not (yield from until(orphan.ended)):
                bench.tally.found("wrong", f"{what}: its child hangs")
            bench.tally.injections += orphan.status == -signal.SIGKILL
        if parent.status != expected:
            bench.tally.found("wrong", f"{what}: it ended with {parent.status}: {output.read_text()[-300:]}")
        yield from drained(trial)
        for run in diary.judge(forking=1):
            if death != "child" and run.input["number"] == 1 and run.error != DIED:
                bench.tally.found("wrong", f"{what}: somebody else ended its run")


def _flushers(bench: Bench, size: int) -> None:
    """Four flushers begin at once on one spool, with runs of the dead in it: each run is delivered by one of them."""
    with nursery() as forks:
        while bench.tally.injections < size:
            with bench.trial() as trial:
                _flush_at_once(bench, forks, Diary(trial))


def _flush_at_once(bench: Bench, forks: Nursery, diary: Diary) -> None:
    trial, number = diary.trial, 4
    environment = trial.environment(NXTRACK_DURABILITY="process")
    whole = [Solve(1000 + one, size=one) for one in range(16)]
    trial.record(*whole)
    dying = forks.fork("write", diary.path, 1, 4, 4, 60.0, environment=environment)
    patience = time.monotonic() + 20
    while len(diary.lines("begun")) < 4 and time.monotonic() < patience:
        time.sleep(0.002)
    dying.strike(signal.SIGKILL)
    dying.wait()
    gate, told = trial.folder / "gate", [Diary(trial, f"flusher-{one}") for one in range(number)]
    flushers = [
        forks.fork("flush", SETTLE, 2, 2, gate, one.path, environment=environment, output=trial.folder / "output")
        for one in told
    ]
    gate.touch()
    statuses = [flusher.wait(60) for flusher in flushers]
    bench.tally.injections += number - 1
    if statuses != [0] * number:
        bench.tally.found("wrong", f"{trial.application}: flushers ended with {statuses}")
    reports = [line for one in told for line in one.lines("flushed")]
    problems = [line for line in reports if int(line[2])]
    if problems:
        bench.tally.found("wrong", f"{trial.application}: flushers that disturb each other: {problems}")
    delivered = sum(int(line[0]) for line in reports)
    solves = diary.solves()
    last = trial.drain()
    delivered += 0 if last is None else len(last.synced)
    if delivered != len(whole) + len(solves):
        bench.tally.found("wrong", f"{trial.application}: {delivered} deliveries of {len(whole) + len(solves)} runs")
    trial.judge(*whole, *solves)


KINDS: tuple[Kind, ...] = (
    Kind("writers and flushers killed again and again, eight threads writing", _crowd, quick=8, full=400),
    Kind("forks in the middle of a solve, parent or child killed", _families, quick=8, full=150),
    Kind("eight threads in one tracked function, killed", _threads, quick=4, full=60),
    Kind("four flushers at once on one spool", _flushers, quick=3, full=120),
    *clocks.KINDS,
    *agents.KINDS,
    *online.KINDS,
)
