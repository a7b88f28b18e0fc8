"""Power cuts: a file system is cut off from its disk at a random moment, and mounted again."""

from __future__ import annotations

import mmap
import random
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from faults.bench import SOLVER, Bench, Solve, differences
from faults.storage import mounts, scarcity, users
from faults.tally import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faults.bench import Trial

PROCESSES, THREADS, MOST = 2, 2, 500
_SIZES = (0, 300, 5_000, 0, 70_000, 0, 300_000)

_SETTLE = 2.0
"""Seconds that a POST is given whose sender was killed; the platform of the tests stands on a busy machine."""

_SOLVING = f"""
import mmap, os, sys, threading
from nxtrack import track
{SOLVER}
file = open(place, "r+b")
acknowledged = mmap.mmap(file.fileno(), 0)
sys.stdout = open(os.devnull, "w")
tracked = track(solve)

def work(first):
    for number in range(first, first + most):
        size = sizes[number % len(sizes)]
        tracked({{"number": number, "pad": "i" * size}})
        acknowledged[number] = 1

workers = [threading.Thread(target=work, args=(first,), daemon=True) for first in firsts]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""
"""Solves and solves; tells each solve that returned in memory which it shares with the bench."""

_FLUSHING = """
import mmap
import nxtrack
file = open(place, "r+b")
told = mmap.mmap(file.fileno(), 0)
told[0] = 1
nxtrack.flush()
told[1] = 1
"""


@contextmanager
def _shared(trial: Trial, size: int) -> Iterator[tuple[Path, mmap.mmap]]:
    """Gives memory that processes share by a file, outside of the disk that is cut off."""
    place = trial.folder / "shared"
    place.write_bytes(bytes(size))
    with open(place, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        yield place, memory


def _solving(bench: Bench, size: int) -> None:
    """The power fails while runs are recorded: all whose call returned are on the disk, and arrive once and whole."""
    chance = random.Random(1)
    server = users.server(bench.folder)
    for _ in range(size):
        with bench.trial() as trial:
            _cut_while_solving(trial, server, chance, "power", mounts.NOLOGFLUSH)


def _solving_in_a_hurry(bench: Bench, size: int) -> None:
    """The power fails while runs are recorded but not flushed to disk: they may be gone, but none arrives wrong."""
    chance = random.Random(2)
    server = users.server(bench.folder)
    for turn in range(size):
        with bench.trial() as trial:
            how = (mounts.NOLOGFLUSH, mounts.LOGFLUSH)[turn % 2]
            _cut_while_solving(trial, server, chance, "process", how)


def _cut_while_solving(trial: Trial, server: users.Server, chance: random.Random, durability: str, how: int) -> None:
    disk = mounts.Disk(trial.folder)
    trial.spool = disk.folder / "spool"
    with _shared(trial, PROCESSES * THREADS * MOST) as (place, acknowledged):
        with disk.mounted(), ExitStack() as stack:
            for process in range(PROCESSES):
                given = {"place": str(place), "sizes": _SIZES, "most": MOST}
                given["firsts"] = [(process * THREADS + thread) * MOST for thread in range(THREADS)]
                user = server.start(trial, _SOLVING, environment={"NXTRACK_DURABILITY": durability}, **given)
                stack.callback(user.wait)
                stack.callback(user.kill)
            _wait(lambda: any(acknowledged))
            time.sleep(chance.random() * (0.25 if durability == "power" else 0.02))
            known = bytes(acknowledged)
            disk.cut(how)
        trial.bench.tally.injections += 1
        with disk.mounted():
            scarcity.drain(trial)
    if durability == "power":
        solves = [_solve(number) for number in range(len(known)) if known[number]]
    else:
        # What returned may be gone, and its end as well.
        solves = [_solve(number, ended=False, spared="refused") for number in range(len(known)) if known[number]]
    arrived = trial.judge(*solves, others=PROCESSES * THREADS * MOST)
    for run in arrived:
        number = run.input["number"]
        if not known[number]:
            for difference in differences(_solve(number, ended=False), run):
                trial.bench.tally.found("wrong", f"{trial.application}: {number} had not returned: {difference}")


def _solve(number: int, *, ended: bool = True, spared: str = "") -> Solve:
    return Solve(number, size=_SIZES[number % len(_SIZES)], ended=ended, spared=spared)


def _wait(condition) -> None:
    patience = time.monotonic() + users.PATIENCE
    while not condition():
        if time.monotonic() > patience:
            raise AssertionError("a user's process does nothing")
        time.sleep(0.0005)


def _flushing(bench: Bench, size: int) -> None:
    """The power fails while a flush delivers: the next one delivers what is left, and nothing a second time."""
    chance = random.Random(3)
    solves = [_solve(number) for number in range(1, 14)]
    server = users.server(bench.folder)
    # A flush may be faster than the cut; then there was none.
    for _ in range(3 * size):
        if bench.tally.injections == size:
            break
        with bench.trial() as trial:
            disk = mounts.Disk(trial.folder)
            trial.spool = disk.folder / "spool"
            with _shared(trial, 2) as (place, told):
                with disk.mounted(), ExitStack() as stack:
                    trial.record(*solves, durability="power")
                    subprocess.run(["sync", "-f", disk.folder], check=True)
                    user = server.start(trial, _FLUSHING, place=str(place), environment={"NXTRACK_JOBS": "3"})
                    stack.callback(user.wait)
                    stack.callback(user.kill)
                    _wait(lambda told=told: told[0])
                    time.sleep(chance.random() * 0.12)
                    # An fsync that a cut meets tells of success: nobody is there to hear that of a real one either.
                    user.freeze()
                    before = told[1]
                    disk.cut()
                bench.tally.injections += not before
                with disk.mounted():
                    # What is on its way when its sender is killed takes a busy platform a moment.
                    scarcity.drain(trial, settle=_SETTLE)
                    trial.judge(*solves)


KINDS: tuple[Kind, ...] = (
    Kind("a power cut while solving", _solving, quick=2, full=60, needs=mounts.needs_disks),
    Kind("a power cut in a flush", _flushing, quick=2, full=60, needs=mounts.needs_disks),
    Kind("a power cut of runs not flushed to disk", _solving_in_a_hurry, quick=2, full=20, needs=mounts.needs_disks),
)
