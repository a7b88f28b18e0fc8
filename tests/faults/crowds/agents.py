"""The command that flushes, as people run it: signals at any moment, and a watch beside writers for days."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from faults.bench import Bench, Solve
from faults.crowds.diary import Diary, drained
from faults.crowds.nursery import nursery, pause, seconds, started, together, until
from faults.crowds.relay import relay
from faults.tally import Kind

if TYPE_CHECKING:
    from collections.abc import Generator

    from faults.bench import Trial
    from faults.crowds.nursery import Child, Nursery
    from faults.crowds.relay import Relay

INT, TERM, HUP, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL
SETTLE = 2.0
"""Seconds that a post of a killed flusher is given: the platform may be about to take it."""

AT_ONCE = 2.0
"""Seconds in which a command ends that was told to, on a machine that has nothing else to do."""

ANSWER_WAIT = 1.0
"""`NXTRACK_ANSWER_WAIT` where the platform stalls and one signal has to do: it lets what is in flight end."""

DONE, LATER, INTERRUPTED = 0, 75, 130

SIGNALS = ((INT,), (TERM,), (INT, INT), (HUP,), (TERM, TERM), (INT, TERM), (TERM, INT), (INT, HUP))


def _signals(bench: Bench, size: int) -> None:
    """A flush gets one or two signals at any moment: it ends at once, tells the truth, and the next one goes on."""
    chance = random.Random(6)

    def scenarios(forks: Nursery) -> Generator[Generator[None, None, None], None, None]:
        for number in itertools.count():
            if bench.tally.injections >= size:
                return
            yield _signalled(bench, forks, SIGNALS[number % len(SIGNALS)], chance, stalls=number % 5 == 4)

    with nursery() as forks:
        together(scenarios(forks), width=3)


def _signalled(
    bench: Bench, forks: Nursery, signals: tuple[int, ...], chance: random.Random, *, stalls: bool
) -> Generator[None, None, None]:
    with bench.trial() as trial, relay(bench.url) as way:
        solves = [Solve(number, size=number) for number in range(1, 9)]
        trial.record(*solves)
        patient = stalls and len(signals) == 1
        environment = trial.environment(
            NEXTMV_ENDPOINT=way.url,
            NXTRACK_JOBS="2",
            NXTRACK_ANSWER_WAIT=str(ANSWER_WAIT if patient else 60),
            NXTRACK_SETTLE=str(SETTLE),
        )
        if stalls:
            way.stall()
        output = trial.folder / "output"
        child = forks.fork("command", "flush", environment=environment, output=output)
        for number in signals:
            yield from pause(chance.random() * 0.2)
            child.strike(number)
        struck = time.monotonic()
        patience = seconds(AT_ONCE) + (ANSWER_WAIT if patient else 0)
        # One that got its signal after its end, or none at all, just ends as it does.
        ended = yield from until(child.ended, patience)
        if not ended:
            bench.tally.found(
                "wrong", f"{trial.application}: goes on {time.monotonic() - struck:.1f} s after {signals}"
            )
            child.strike(KILL)
            yield from until(child.ended)
        bench.tally.injections += child.struck
        if ended:
            _inspect(trial, child, signals, output.read_text())
        way.restart()
        yield from drained(trial, way.url, settle=SETTLE)
        trial.judge(*solves)


def _inspect(trial: Trial, child: Child, signals: tuple[int, ...], said: str) -> None:
    """Looks at how a command ended: what it said, and that its status is true of what is left."""
    tally, states = trial.bench.tally, trial.states()
    left = states["ready"] + states["unconfirmed"]
    what = f"{trial.application} after {signals} ended with {child.status}, left {left} and said {said[-300:]!r}"
    if "Traceback" in said or "rror:" in said:
        tally.found("wrong", f"{what}: no way to end")
    truths = {DONE: not left, LATER: bool(left), INTERRUPTED: INT in signals}
    # Before it takes signals up, and after it let go of them, they mean what they mean to any program.
    deaths = {-number: True for number in signals if number in {HUP, TERM}}
    if not (truths | deaths).get(child.status, False):
        tally.found("wrong", f"{what}: not what its status says")
    if child.status in {INTERRUPTED, -TERM} and len(signals) == 1 and "topped" in said:
        tally.found("wrong", f"{what}: a first signal that it knew of")


def _watches(bench: Bench, size: int) -> None:
    """An agent watches the spool beside a writer, and is asked to stop, killed, or left without a platform."""
    chance = random.Random(5)

    def scenarios(forks: Nursery) -> Generator[Generator[None, None, None], None, None]:
        for number in itertools.count():
            if bench.tally.injections >= size:
                return
            end = INT if number % 2 else TERM
            yield (
                _watch_stopped(bench, forks, end, chance, real=number % 3 == 0),
                _watch_killed(bench, forks, end, chance),
                _watch_without_platform(bench, forks, end, chance),
                _watch_stopped(bench, forks, end, chance, real=False),
                _watch_stalled(bench, forks, end, chance),
                _watch_begun(bench, forks, end, chance),
            )[number % 6]

    with nursery() as forks:
        together(scenarios(forks), width=8)


class _Scene:
    """An agent on a trial's spool, a way to the platform that can break, and a writer."""

    def __init__(self, trial: Trial, forks: Nursery, way: Relay) -> None:
        self.trial = trial
        self.way = way
        self.diary = Diary(trial)
        self.output = trial.folder / "output"
        self.environment = trial.environment(
            NEXTMV_ENDPOINT=way.url, NXTRACK_SETTLE=str(SETTLE), NXTRACK_DURABILITY="process", NXTRACK_ANSWER_WAIT="30"
        )
        self.writers: list[Child] = []
        self._forks = forks
        self._agents = itertools.count(1)

    def agent(self, *, real: bool = False) -> Child:
        self.output = self.trial.folder / f"output-{next(self._agents)}"
        if real:
            with self.output.open("a") as output:
                command = [sys.executable, "-m", "nxtrack", "flush", "--watch"]
                return started(subprocess.Popen(command, env=self.environment, stdout=output, stderr=output))
        return self._forks.fork("command", "flush", "--watch", environment=self.environment, output=self.output)

    def writer(self, first: int = 1) -> Child:
        self.writers.append(self._forks.fork("write", self.diary.path, first, 6, 2, 0.3, environment=self.environment))
        return self.writers[-1]

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def is_drained(self) -> bool:
        states = self.trial.states()
        return states["synced"] == len(self.diary.solves()) and not states["active"]

    def stopped(self, agent: Child, *signals: int) -> Generator[None, None, None]:
        """Asks an agent to stop, and looks at how it does."""
        tally, quiet = self.trial.bench.tally, all(writer.ended() for writer in self.writers)
        for position, number in enumerate(signals):
            if position:  # Two of a kind that come at once are one signal to a process.
                yield from pause(0.3)
            agent.strike(number)
        if not (yield from until(agent.ended, seconds(AT_ONCE))):
            tally.found(
                "wrong", f"{self.trial.application}: goes on for seconds after {signals}: {self.said()[-300:]!r}"
            )
            agent.strike(KILL)
            yield from until(agent.ended)
            return
        tally.injections += agent.struck
        said, states = self.said(), self.trial.states()
        what = f"{self.trial.application} after {signals} ended with {agent.status}, {states}, and said {said[-300:]!r}"
        if "Traceback" in said or "rror:" in said:
            tally.found("wrong", f"{what}: no way to end")
        # Before it takes signals up, and after it let go of them, they mean what they mean to any program.
        deaths = {INTERRUPTED, -TERM} if "Watching" not in said or agent.struck > 1 else set()
        if agent.status not in {DONE, LATER} | deaths:
            tally.found("wrong", f"{what}: not how a watch ends")
        elif agent.status not in deaths:
            left = bool(states["ready"] + states["unconfirmed"])
            if ("Stopped: nothing left." in said) != (agent.status == DONE) or (
                quiet and left != (agent.status == LATER)
            ):
                tally.found("wrong", f"{what}: not what its status says")

    def settled(self) -> Generator[None, None, None]:
        """Has the writers end, delivers the rest, and has it judged."""
        for writer in self.writers:
            yield from until(writer.ended)
        self.way.restart()
        yield from drained(self.trial, self.way.url, settle=SETTLE)
        self.diary.judge()


def _watch_stopped(
    bench: Bench, forks: Nursery, end: int, chance: random.Random, *, real: bool
) -> Generator[None, None, None]:
    """It drains as runs come, and stops when asked to, at any moment of it."""
    with bench.trial() as trial, relay(bench.url) as way:
        scene = _Scene(trial, forks, way)
        agent, writer = scene.agent(real=real), scene.writer()
        yield from until(writer.ended)
        yield from until(lambda: "Watching" in scene.said())
        if chance.random() < 0.5:
            if not (yield from until(scene.is_drained, 30)):
                bench.tally.found("wrong", f"{trial.application}: does not drain: {trial.states()} {scene.said()}")
        else:
            yield from pause(chance.random())
        yield from scene.stopped(agent, end)
        yield from scene.settled()


def _watch_begun(bench: Bench, forks: Nursery, end: int, chance: random.Random) -> Generator[None, None, None]:
    """It is asked to stop while it begins, before it has said anything or right after."""
    with bench.trial() as trial, relay(bench.url) as way:
        scene = _Scene(trial, forks, way)
        scene.writer()
        for _ in range(3):
            agent = scene.agent()
            yield from pause(chance.random() * 0.06)
            yield from scene.stopped(agent, end)
        yield from scene.settled()


def _watch_killed(bench: Bench, forks: Nursery, end: int, chance: random.Random) -> Generator[None, None, None]:
    """It is killed, and another takes its place beside the same writer."""
    with bench.trial() as trial, relay(bench.url) as way:
        scene = _Scene(trial, forks, way)
        writers = [scene.writer(), scene.writer(100)]
        for _ in range(3):
            agent = scene.agent()
            yield from pause(chance.random() * 0.4)
            agent.strike(KILL)
            yield from until(agent.ended)
            bench.tally.injections += agent.status == -KILL
        agent = scene.agent()
        for writer in writers:
            yield from until(writer.ended)
        if not (yield from until(scene.is_drained, 60)):
            bench.tally.found("wrong", f"{trial.application}: does not drain: {trial.states()} {scene.said()}")
        yield from scene.stopped(agent, end)
        yield from scene.settled()


def _watch_without_platform(
    bench: Bench, forks: Nursery, end: int, chance: random.Random
) -> Generator[None, None, None]:
    """The platform goes away and comes back; half of the agents live to see it."""
    with bench.trial() as trial, relay(bench.url) as way:
        scene = _Scene(trial, forks, way)
        writers = [scene.writer()]
        agent = scene.agent()
        yield from pause(chance.random() * 0.5)
        way.away()
        bench.tally.injections += 1
        writers.append(scene.writer(100))
        for writer in writers:
            yield from until(writer.ended)
        yield from until(lambda: "left; trying again" in scene.said())
        if chance.random() < 0.5:
            way.back()
            if not (yield from until(scene.is_drained, 60)):
                bench.tally.found("wrong", f"{trial.application}: does not drain: {trial.states()} {scene.said()}")
        yield from scene.stopped(agent, end)
        yield from scene.settled()


def _watch_stalled(bench: Bench, forks: Nursery, end: int, chance: random.Random) -> Generator[None, None, None]:
    """The platform stalls with requests in flight: a second signal does not wait for them."""
    with bench.trial() as trial, relay(bench.url) as way:
        scene = _Scene(trial, forks, way)
        writer = scene.writer()
        yield from until(writer.ended)
        agent = scene.agent()
        yield from until(lambda: "Watching" in scene.said())
        yield from pause(chance.random() * 0.2)
        way.stall()
        bench.tally.injections += 1
        yield from scene.stopped(agent, end, TERM)
        yield from scene.settled()


KINDS: tuple[Kind, ...] = (
    Kind("a flush that gets SIGINT, SIGTERM or SIGHUP, once or twice", _signals, quick=4, full=120),
    Kind("flush --watch beside writers: stopped, killed, without a platform", _watches, quick=3, full=120),
)
