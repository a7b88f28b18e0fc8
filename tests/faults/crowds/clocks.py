"""Wall clocks that jump by years while runs are recorded and delivered; the faking is Debian's libfaketime."""

from __future__ import annotations

import itertools
import json
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from faults.bench import KEY, MARKER
from faults.crowds.diary import Diary, drained
from faults.crowds.nursery import nursery, pause, together, until
from faults.crowds.relay import relay
from faults.tally import Kind

if TYPE_CHECKING:
    from collections.abc import Generator

    from faults.bench import Bench, Trial
    from faults.crowds.nursery import Nursery

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)

CLOCKS = (
    "-400d",
    "+400d",
    "@2000-01-01 00:00:00",
    "+0",
    "@2038-01-20 00:00:00",
    "-20m",
    "+30y",
    "+0 x1000",
    "-400d x50",
)
"""What a wall clock may say; the last two run faster than time goes by."""

STEADY = CLOCKS[:-2]
"""Those that a flush can live with: a faster clock also cuts short what waits for the network."""

LONG, SHORT = 600.0, 0.1
"""Seconds that a post without an answer is given, on the clock that does not jump: more, and less, than it had."""

RUNS = 4

OTHERS = 1100
"""Runs that others deliver meanwhile: more than are looked through whatever the clocks say."""

CROWDED_FROM = 100
"""The size from which on there is time for so many."""

LONGEST = 120_000
"""Milliseconds that no run of these trials takes, whatever its clock says."""


def _needs() -> str:
    return "" if LIBRARY is not None else "libfaketime is not installed (Debian's package faketime)"


class _Clock:
    """The wall clock of a trial's processes, which reads what a file says."""

    def __init__(self, trial: Trial, *, monotonic: bool) -> None:
        self._trial = trial
        self._file = trial.folder / "clock"
        self.jumps = -1
        self.environment = _environment(monotonic=monotonic) | {"FAKETIME_TIMESTAMP_FILE": str(self._file)}

    def jump(self, to: str) -> None:
        """Has it say something else; the first time that is no jump."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{to}\n")
        new.rename(self._file)
        self.jumps += 1


def _environment(*, monotonic: bool) -> dict[str, str]:
    """Returns the environment of processes whose wall clock is faked, and the monotonic one too if it shall be."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "0" if monotonic else "1",
    }


def _clocks(bench: Bench, size: int) -> None:
    """Clocks jump by years between and in the middle of solves and flushes: each run is there once, after settling."""
    chance = random.Random(4)
    place = bench.folder / "clock"
    place.write_text("+0\n")

    def scenarios(sound: Nursery, broken: Nursery) -> Generator[Generator[None, None, None], None, None]:
        for number in itertools.count():
            if bench.tally.injections >= size:
                return
            if number % 5 < 3:
                yield _lost_answers(bench, sound, chance, arrive=number % 2 == 0)
            elif number % 5 == 3:
                yield _jumps_while_solving(bench, sound, chance, monotonic=False)
            else:
                yield _jumps_while_solving(bench, broken, chance, monotonic=True)

    forks = [_environment(monotonic=monotonic) | {"FAKETIME_TIMESTAMP_FILE": str(place)} for monotonic in (False, True)]
    with nursery(**forks[0]) as sound, nursery(**forks[1]) as broken:
        if size >= CROWDED_FROM:
            _crowded(bench, sound)
        together(scenarios(sound, broken), width=4)


def _lost_answers(bench: Bench, forks: Nursery, chance: random.Random, *, arrive: bool) -> Generator[None, None, None]:
    """A flusher dies over posts that are still on their way; its clock jumps, and the next ones settle them."""
    with bench.trial() as trial, relay(bench.url) as way:
        clock, diary = _Clock(trial, monotonic=False), Diary(trial)
        environment = trial.environment(NXTRACK_DURABILITY="process", NEXTMV_ENDPOINT=way.url) | clock.environment
        clock.jump(chance.choice(CLOCKS))
        writer = forks.fork("write", diary.path, 1, RUNS, 1, 0.01, environment=environment)
        yield from until(writer.ended)
        way.hold()
        clock.jump(chance.choice(STEADY))
        flusher = forks.fork("flush", LONG, RUNS, environment=environment)
        yield from until(lambda: way.held == RUNS)
        flusher.strike(signal.SIGKILL)
        yield from until(flusher.ended)

        clock.jump(chance.choice(STEADY))
        yield from _flushed(trial, forks, LONG, environment)
        if way.posts != RUNS:
            bench.tally.found("wrong", f"{trial.application}: posted again before its time: {way.posts} posts")
        way.release(drop=not arrive)
        if arrive and not (yield from until(lambda: len(bench.reader.runs(trial.application)) == RUNS)):
            return  # The network lost them after all.

        clock.jump(chance.choice(STEADY))
        yield from _flushed(trial, forks, SHORT, environment)
        bench.tally.injections += clock.jumps + (flusher.status == -signal.SIGKILL)
        expected = RUNS if arrive else 2 * RUNS
        if way.posts != expected or trial.states()["synced"] != RUNS:
            bench.tally.found(
                "wrong", f"{trial.application}: not settled in its time: {way.posts} posts, {trial.states()}"
            )
        yield from drained(trial, way.url, settle=SHORT)
        _judge(trial, diary)


def _crowded(bench: Bench, forks: Nursery) -> None:
    """The clock runs ahead, and more came since the answer was lost than must be looked through: all are."""
    with bench.trial() as trial, relay(bench.url) as way:
        clock, diary = _Clock(trial, monotonic=False), Diary(trial)
        environment = trial.environment(NXTRACK_DURABILITY="process", NEXTMV_ENDPOINT=way.url) | clock.environment
        clock.jump("+0")
        forks.fork("write", diary.path, 1, 1, 1, 0.01, environment=environment).wait()
        way.hold()
        flusher = forks.fork("flush", LONG, 1, environment=environment)
        together([until(lambda: way.held)], width=1)
        flusher.strike(signal.SIGKILL)
        flusher.wait()
        way.release(drop=False)
        patience = time.monotonic() + 20
        while not _listed(bench, trial.application) and time.monotonic() < patience:
            time.sleep(0.05)
        others = forks.fork("others", bench.url, KEY, trial.application, OTHERS, environment=trial.environment())
        if others.wait(120) != 0:
            raise AssertionError("the others' runs were not taken")
        clock.jump("+400d")
        together([_flushed(trial, forks, SHORT, environment)], width=1)
        bench.tally.injections += clock.jumps + (flusher.status == -signal.SIGKILL)
        bench.tally.runs += 1
        found = _listed(bench, trial.application)
        if (len(found), len(set(found)), trial.states()["synced"]) != (1, 1, 1):
            bench.tally.found("doubled", f"{trial.application}: among {OTHERS} others: {found}, {trial.states()}")


def _listed(bench: Bench, application: str) -> list[str]:
    """Returns the markers in the platform's list, whose runs need not be read one by one for that."""
    path, found = f"/v1/applications/{application}/runs", []
    token = ""
    while True:
        try:
            page = json.loads(bench.reader.get(path + (f"?pagetoken={token}" if token else "")))
        except AssertionError:
            return found  # Nothing ever came there.
        found += [marker[1] for run in page["runs"] if (marker := MARKER.search(run["description"]))]
        token = page.get("next_page_token")
        if not token:
            return found


def _flushed(trial: Trial, forks: Nursery, settle: float, environment: dict[str, str]) -> Generator[None, None, None]:
    """Flushes once, in a process with a clock of its own."""
    output = trial.folder / "output"
    flusher = forks.fork("flush", settle, RUNS, 1, environment=environment, output=output)
    if not (yield from until(flusher.ended)):
        flusher.strike(signal.SIGKILL)
        yield from until(flusher.ended)
    if flusher.status != 0:
        trial.bench.tally.found(
            "wrong", f"{trial.application}: a flush ended with {flusher.status}: {output.read_text()[-500:]}"
        )


def _jumps_while_solving(
    bench: Bench, forks: Nursery, chance: random.Random, *, monotonic: bool
) -> Generator[None, None, None]:
    """The clock of a solver jumps while it solves, perhaps both clocks, and then it may be killed."""
    with bench.trial() as trial:
        clock, diary = _Clock(trial, monotonic=monotonic), Diary(trial)
        environment = trial.environment(NXTRACK_DURABILITY="process") | clock.environment
        clock.jump(chance.choice(CLOCKS))
        # A process whose monotonic clock jumps cannot wait: its solver takes its time by being many solves.
        number, longest = (40, 0.0) if monotonic else (8, 0.04)
        writer = forks.fork("write", diary.path, 1, number, 1, longest, environment=environment)
        for _ in range(3):
            yield from pause(0.01 + chance.random() * 0.03)
            if not writer.ended():
                clock.jump(chance.choice(CLOCKS))
        if chance.random() < 0.5:
            writer.strike(signal.SIGKILL)
        if not (yield from until(writer.ended, 30)):
            bench.tally.found("wrong", f"{trial.application}: the solver hangs")
            writer.strike(signal.SIGKILL)
        bench.tally.injections += clock.jumps + (writer.status == -signal.SIGKILL)
        yield from drained(trial, settle=SHORT)
        _judge(trial, diary, durations=not monotonic)


def _judge(trial: Trial, diary: Diary, *, durations: bool = True) -> None:
    for run in diary.judge():
        if durations and not 0 <= run.duration <= LONGEST:
            trial.bench.tally.found("wrong", f"{trial.application}: {run.status} run of {run.duration} ms: {run.error}")


def _swept(bench: Bench, size: int) -> None:
    """Runs `_clocks`, and removes what libfaketime leaves of processes that were killed."""
    before = set(Path("/dev/shm").glob("*faketime_*"))
    try:
        _clocks(bench, size)
    finally:
        for left in set(Path("/dev/shm").glob("*faketime_*")) - before:
            with suppress(FileNotFoundError):
                left.unlink()


KINDS: tuple[Kind, ...] = (
    Kind("clocks that jump by years, while solving, posting and settling", _swept, quick=5, full=150, needs=_needs),
)
