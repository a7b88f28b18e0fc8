"""Online mode: programs that deliver from a thread of their own, and end in every way while the platform does too."""

from __future__ import annotations

import itertools
import random
import signal
import time
from typing import TYPE_CHECKING

from faults.crowds.diary import Diary, drained
from faults.crowds.nursery import nursery, pause, seconds, together, until
from faults.crowds.relay import relay
from faults.tally import Kind

if TYPE_CHECKING:
    from collections.abc import Generator

    from faults.bench import Bench, Trial
    from faults.crowds.nursery import Child, Nursery

SETTLE = 2.0
"""Seconds that a post of a killed program is given: the platform may be about to take it."""

EXIT_WAIT = 0.5
"""`NXTRACK_EXIT_WAIT` of programs whose platform takes nothing."""

MOMENT = 3.0
"""Seconds that a machine may add to what should take none."""

LEAVES = {"kill": -signal.SIGKILL, "return": 0, "_exit": 3, "raise": 1, "fork": 0, "stay": -signal.SIGKILL}
"""How a program ends, and its exit status then; who is to stay delivers in peace until it is killed."""

PLATFORMS = ("up", "away", "stalled", "up", "stalls")


def _online(bench: Bench, size: int) -> None:
    """Programs that deliver themselves are killed, forked and ended while the platform is up, away or stalled."""
    chance = random.Random(7)

    def scenarios(forks: Nursery) -> Generator[Generator[None, None, None], None, None]:
        cases = itertools.cycle(itertools.product(PLATFORMS, LEAVES))
        while bench.tally.injections < size:
            platform, leave = next(cases)
            yield _program(bench, forks, platform, leave, chance)

    with nursery() as forks:
        together(scenarios(forks), width=5)


def _program(
    bench: Bench, forks: Nursery, platform: str, leave: str, chance: random.Random
) -> Generator[None, None, None]:
    with bench.trial() as trial, relay(bench.url) as way:
        if platform in {"away", "stalled"}:
            way.away() if platform == "away" else way.stall()
            bench.tally.injections += 1
        diary, up = Diary(trial), platform == "up"
        child = forks.fork(
            *("online", diary.path, 1, 6, 0.05, leave),
            environment=trial.environment(
                NXTRACK_MODE="online",
                NXTRACK_SETTLE=str(SETTLE),
                NXTRACK_EXIT_WAIT=str(20 if up else EXIT_WAIT),
                NXTRACK_DURABILITY=chance.choice(("power", "process")),
                NEXTMV_ENDPOINT=way.url,
            ),
            output=trial.folder / "output",
        )
        if platform == "stalls":
            yield from pause(chance.random() * 0.2)
            way.stall()
            bench.tally.injections += 1
        if leave == "kill":
            yield from pause(chance.random() * 0.3)
        elif leave == "stay":
            yield from until(lambda: diary.lines("leaving"))
            yield from pause(chance.random() * 0.3)
        if LEAVES[leave] == -signal.SIGKILL:
            child.strike(signal.SIGKILL)
        yield from until(child.ended, 60)
        _inspect(diary, child, leave, exit_wait=None if up else EXIT_WAIT)
        way.restart()
        yield from drained(trial, way.url, settle=SETTLE)
        diary.judge()


def _inspect(diary: Diary, child: Child, leave: str, *, exit_wait: float | None) -> None:
    """Looks at how a program ended: its status, how long that took, and what it had been spared to wait for."""
    trial: Trial = diary.trial
    tally, now = trial.bench.tally, time.monotonic()
    what = f"{trial.application}, which was to {leave}"
    if child.status == LEAVES[leave]:
        tally.injections += leave != "return"
    elif not (leave == "kill" and child.status == 0):  # Else it was faster than the signal.
        said = (trial.folder / "output").read_text()[-300:]
        tally.found("wrong", f"{what}, ended with {child.status}: {said}")
    if diary.slowest() > seconds(MOMENT):
        tally.found("wrong", f"{what}: a call took {diary.slowest()} s")
    leaving = diary.lines("leaving")
    if leave in {"return", "raise", "fork"} and leaving:
        took = now - float(leaving[0][0])
        if exit_wait is not None and took > exit_wait + seconds(MOMENT):
            tally.found("wrong", f"{what}: its end took {took:.1f} s")
        left = {state: number for state, number in trial.states().items() if state != "synced" and number}
        if exit_wait is None and left:
            tally.found("wrong", f"{what}: it left {left} to a platform that was up")


KINDS: tuple[Kind, ...] = (
    Kind("online mode: programs killed, forked and ended, the platform away or stalled", _online, quick=6, full=240),
)
