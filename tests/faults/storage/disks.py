"""Disks that are full, small, read-only or gone."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import time
from typing import TYPE_CHECKING

from faults.bench import Bench, Solve
from faults.storage import mounts, places, scarcity, users
from faults.storage.scarcity import Wordy
from faults.tally import Kind

from nxtrack.errors import NxtrackError
from nxtrack.spool import retention
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from faults.bench import Trial

PAYLOADS = (
    Solve(1),
    Solve(2, size=5_000),
    Wordy(3, lines=150),
    Solve(4, size=300_000),
    Solve(5, size=20_000, error="no solution"),
    Wordy(6, size=90_000, lines=300),
    Solve(7),
    Solve(8, size=150_000),
)
"""Inputs and outputs that stand in the run's file or in one of their own, and logs of one page or many."""


def _full(bench: Bench, size: int) -> None:
    """A disk has room for so many pages: each run is whole, tells its gaps or is counted, and all get out of it."""
    server = users.server(bench.folder)
    for pages in range(size):
        with bench.trial() as trial, mounts.tmpfs(trial.folder / "disk", 8 << 20) as disk:
            trial.spool = disk / "spool"
            before = [Solve(100)] if pages % 2 else []
            if before:
                trial.record(*before)
            mounts.fill(disk, pages * _step(size) * mounts.PAGE)
            ended = server.run(trial, users.PROGRAM, problems=users.problems(PAYLOADS), acts={})
            scarcity.accept(trial, PAYLOADS, ended)
            mounts.fill(disk, 0)
            notes = scarcity.notes_of(trial)
            if pages % 25 == 3:
                _command(server, trial, "flush")
            scarcity.drain(trial, seconds=5)
            counted = bool(before) or pages > 0
            scarce = scarcity.judge(trial, [*before, *PAYLOADS], ended, notes=notes, counted=counted)
            bench.tally.injections += bool(scarce.missing or scarce.gaps)
            if pages % 25 == 3:
                _command(server, trial, "clean")
            _clean(trial)


def _command(server: users.Server, trial: Trial, command: str) -> None:
    """Runs a command to its end, which must be a good one."""
    ended = server.run(
        trial, "import sys\nfrom nxtrack.cli.main import main\nsys.exit(main([command]))", command=command
    )
    if ended.status:
        trial.bench.tally.found("wrong", f"{trial.application}: nxtrack {command} ended with {ended}")


def _tight(bench: Bench, size: int) -> None:
    """No byte is left, and every run ends just before a page does: a flush must deliver and clean all the same."""
    chance = random.Random(9)
    server = users.server(bench.folder)
    for turn in range(size):
        with bench.trial() as trial, mounts.tmpfs(trial.folder / "disk", 8 << 20) as disk:
            trial.spool = disk / "spool"
            trial.record(Solve(100))
            (name,) = os.listdir(trial.spool / "runs")
            content = os.path.getsize(trial.spool / "runs" / name)
            pads = [(2 * mounts.PAGE - content - chance.randrange(160)) // 2 for _ in range(chance.randrange(1, 20))]
            solves = [Solve(number, size=pad) for number, pad in enumerate(pads, 1)]
            trial.record(*solves)
            if turn % 2:
                # Of this one not even the end is written yet, which is for the flush to do.
                killed = Solve(50, ended=False)
                acts = {"in 50": "import signal; os.kill(os.getpid(), signal.SIGKILL)"}
                server.run(trial, users.PROGRAM, problems=users.problems([killed]), acts=acts)
                solves.append(killed)
            mounts.fill(disk, 0)
            bench.tally.injections += 1
            report = trial.flush(jobs=8)
            if report.pending or report.problems:
                bench.tally.found(
                    "wrong",
                    f"{trial.application}: {report.pending} of {len(solves)} left: {report.problems}",
                )
            trial.judge(Solve(100), *solves)
            _clean(trial)


def _step(size: int) -> int:
    """Returns how many pages lie between the points: at full size all are tried at which something does not fit."""
    return max(1, 340 // size)


def _clean(trial: Trial) -> None:
    """Prunes the spool while the disk is full; that must succeed, and leave nothing of the runs."""
    try:
        retention.prune(Spool(str(trial.spool)))
    except NxtrackError as error:
        trial.bench.tally.found("wrong", f"{trial.application}: cleaning raised {error}")
    kept = list(scarcity.left(trial))
    if kept:
        trial.bench.tally.found("wrong", f"{trial.application}: cleaning left {kept[:5]}")


_REPORTING = (
    "import mmap; file = open(place, 'r+b'); at = mmap.mmap(file.fileno(), 1); file.close()\n"
    + users.PROGRAM.replace('    act(f"before {number}")', "    at[0] = number")
)
"""The program, which also tells by a byte of a file which solve it is at."""


def _filling_up(bench: Bench, size: int) -> None:
    """Somebody else takes the room in the middle of the solving and gives it back later: then runs are whole again."""
    chance = random.Random(2)
    server = users.server(bench.folder)
    # There may be room enough after all, or the process may be done already; then nothing was injected.
    for _ in range(4 * size):
        if bench.tally.injections == size:
            break
        with bench.trial() as trial, mounts.tmpfs(trial.folder / "disk", 8 << 20) as disk:
            trial.spool = disk / "spool"
            trial.record(before := Solve(100))  # The count of the lost must stand before the disk is full.
            sizes = [chance.choice((0, 0, 3_000, 40_000, 280_000)) for _ in range(12)]
            solves = [Wordy(number, size=pad, lines=chance.randrange(40)) for number, pad in enumerate(sizes, 1)]
            taken, given = chance.randrange(1, 8), chance.randrange(10, 14)
            place = trial.folder / "place"
            place.write_bytes(b"\0")
            user = server.start(trial, _REPORTING, problems=users.problems(solves), acts={}, place=str(place))
            with _watched(user, place) as wait:
                wait(taken)
                time.sleep(chance.random() * 0.003)
                mounts.fill(disk, chance.randrange(8) * mounts.PAGE)
                wait(given)
                (disk / "filler").write_bytes(b"")
                ended = user.wait()
            scarcity.accept(trial, solves, ended)
            notes = scarcity.notes_of(trial)
            scarcity.drain(trial)
            scarce = scarcity.judge(trial, [before, *solves], ended, notes=notes)
            bench.tally.injections += bool(scarce.missing or scarce.gaps)


@contextlib.contextmanager
def _watched(user, place):
    """Gives a function that waits until a user's process is at a solve, or has ended."""
    with open(place, "r+b") as file, mmap.mmap(file.fileno(), 1) as at:

        def wait(number: int) -> None:
            pause = 0
            while at[0] < number:
                pause += 1
                if pause % 50 == 0 and not user.runs:
                    return
                time.sleep(0.0002)

        try:
            yield wait
        finally:
            user.kill()


def _inodes(bench: Bench, size: int) -> None:
    """A disk takes so many more files: each run is whole, tells its gaps or is counted, and all get out of it."""
    server = users.server(bench.folder)
    for point in range(size):
        left = point // 2 * max(1, 60 // size)
        with bench.trial() as trial, mounts.tmpfs(trial.folder / "disk", 8 << 20, inodes=80) as disk:
            trial.spool = disk / "spool"
            before = [Solve(100)] if point % 2 else []
            if before:
                trial.record(*before)
            mounts.take_inodes(disk, left)
            ended = server.run(trial, users.PROGRAM, problems=users.problems(PAYLOADS), acts={})
            scarcity.accept(trial, PAYLOADS, ended)
            mounts.take_inodes(disk, 0)
            notes = scarcity.notes_of(trial)
            scarcity.drain(trial, seconds=5)
            counted = bool(before) or left > 5  # Its four folders and the counter.
            scarce = scarcity.judge(trial, [*before, *PAYLOADS], ended, notes=notes, counted=counted)
            bench.tally.injections += bool(scarce.missing or scarce.gaps)


_SIZES = (0, 5_000, 20_000, 60_000, 300_000)


def _bounded(bench: Bench, size: int) -> None:
    """A spool may hold so and so much: delivered runs give way, waiting ones never, and what is refused is counted."""
    chance = random.Random(8)
    server = users.server(bench.folder)
    for _ in range(size):
        with bench.trial() as trial:
            bound = chance.randrange(1_000, 1_500_000)
            delivered = [Solve(900 + number, size=chance.choice(_SIZES)) for number in range(3)]
            trial.record(*delivered)
            trial.drain()
            parts = [
                [Solve(100 * part + number, size=chance.choice(_SIZES)) for number in range(10)]
                for part in range(1, chance.randrange(2, 5))
            ]
            chosen = {"NXTRACK_MAX_SPOOL": str(bound)}
            started = [
                server.start(trial, users.PROGRAM, problems=users.problems(part), acts={}, environment=chosen)
                for part in parts
            ]
            ended = [user.wait() for user in started]
            for part, one in zip(parts, ended, strict=True):
                scarcity.accept(trial, part, one)
            notes = scarcity.notes_of(trial)
            states = trial.states()
            held = Spool(str(trial.spool)).summary().size
            trial.drain()
            solves = [*delivered, *(solve for part in parts for solve in part)]
            scarce = scarcity.judge(trial, solves, *ended, notes=notes)
            if scarce.missing and (states["synced"] or held < bound):
                bench.tally.found("wrong", f"refused although there was room: {states}, {held} of {bound}")
            if held > bound + len(parts) * (1 << 20) + 600_000:
                bench.tally.found("wrong", f"the spool took {held} of {bound}")
            bench.tally.injections += bool(scarce.missing or states["synced"] < len(delivered))


KINDS: tuple[Kind, ...] = (
    Kind("a full disk, at every page that is left", _full, quick=5, full=300, needs=mounts.needs_mounts),
    Kind("a disk that fills up while solving", _filling_up, quick=2, full=150, needs=mounts.needs_mounts),
    Kind("a disk out of inodes, at every file it still takes", _inodes, quick=3, full=60, needs=mounts.needs_mounts),
    Kind("a flush without a byte left", _tight, quick=2, full=40, needs=mounts.needs_mounts),
    *places.KINDS,
    Kind("a spool at its bound", _bounded, quick=2, full=60),
)
