"""What becomes of commands and calls when very many runs wait in the spool."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.bench import LONGEST, PROGRAMS
from benchmarks.distant import platform
from benchmarks.figures import Figure, median, ratio, shown, time_shown
from benchmarks.starting import plain_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench


def scale(bench: Bench) -> Iterator[Figure]:
    """Status, list, flush and calls with many runs that wait."""
    runs = bench.times(100_000, 2000)
    spool = bench.spool()
    bench.run("waiting.py", runs, NXTRACK_DIR=str(spool))
    for command, most in ((["status"], 1.0), (["list", "--limit", "20"], 0.5)):
        taken, busy = zip(*(_seconds(bench, spool, *command) for _ in range(bench.times(9, 2))), strict=True)
        yield Figure(
            f"`nxtrack {' '.join(command)}` with {runs:,} runs that wait",
            median(taken),
            "s",
            most=most,
            context=f"at best {time_shown(min(taken))}; of the processor {time_shown(median(busy))}",
        )
    yield from _flush(bench, spool, runs)
    yield from _calls(bench, runs)


def recovery(bench: Bench) -> Iterator[Figure]:
    """A flush that first speaks for runs whose process died."""
    runs = bench.times(1000, 100)
    taken: list[float] = []
    busy: list[float] = []
    syncs: list[float] = []
    for _ in range(bench.times(3, 1)):
        syncs.append(_synced(bench))
        with platform() as where:
            variables = {"NXTRACK_DIR": str(bench.spool()), **where.variables()}
            subprocess.run(
                [sys.executable, PROGRAMS / "dead.py", str(runs)],
                env=bench.environment(**variables),
                stdout=subprocess.DEVNULL,
                timeout=LONGEST,
                check=False,
            )
            found = bench.run("flushes.py", 0, **variables)
        if found["pending"] != runs or not found["recovered"]:
            raise RuntimeError(f"not all were recovered: {found}")
        taken.append(found["seconds"])
        busy.append(found["busy"])
    yield Figure(
        f"recovery of {runs:,} runs whose process died",
        median(taken),
        "s",
        most=2,
        context=f"of the processor {time_shown(median(busy))}; each file is synced and renamed, which alone takes "
        f"{time_shown(median(syncs))} on this disk",
    )


def _synced(bench: Bench) -> float:
    """Returns the seconds that it takes to make a small file durable and give it another name."""
    folder = bench.fresh()
    taken: list[float] = []
    for number in range(100):
        with (folder / f"{number}").open("wb", buffering=0) as file:
            file.write(b"x" * 1000)
            began = time.perf_counter()
            os.fsync(file.fileno())
            (folder / f"{number}").rename(folder / f"{number}.ready")
            taken.append(time.perf_counter() - began)
    return median(taken)


def _seconds(bench: Bench, spool: Path, *command: str) -> tuple[float, float]:
    """Runs a command; returns the seconds it took, and those of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        [plain_python(bench), "-m", "nxtrack", *command],
        env=bench.environment(NXTRACK_DIR=str(spool)),
        stdout=subprocess.DEVNULL,
        timeout=LONGEST,
        check=True,
    )
    taken = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _flush(bench: Bench, spool: Path, runs: int) -> Iterator[Figure]:
    """Delivers a few of many runs: when the first request comes, and how memory grows with those that wait."""
    few = bench.times(200, 50)
    small = bench.spool()
    with platform() as where:
        variables = {"NXTRACK_RATE": "0", "NXTRACK_REQUEST_RATE": "0", **where.variables()}
        found = bench.run("flushes.py", few, NXTRACK_DIR=str(spool), **variables)
        seen = where.counts()
        bench.run("waiting.py", few, NXTRACK_DIR=str(small))
        least = bench.run("flushes.py", few, NXTRACK_DIR=str(small), **variables)
    assert seen.first is not None
    yield Figure(f"a flush's first request with {runs:,} runs that wait", seen.first - found["began"], "s", most=2)
    yield Figure(
        f"memory of a flush for each of {runs:,} runs that wait",
        max(0, found["grown"] - least["grown"]) / runs,
        "bytes",
        most=256,
        context=f"{found['grown'] / 1e6:.0f} MB in all, {least['grown'] / 1e6:.0f} MB with {few} runs",
    )


def _calls(bench: Bench, runs: int) -> Iterator[Figure]:
    """A call into a spool of many runs against one into a spool of few, in turns."""
    few, many = bench.spool(), bench.spool()
    bench.run("waiting.py", 10, NXTRACK_DIR=str(few))
    bench.run("waiting.py", runs, NXTRACK_DIR=str(many))
    for durability in ("process", "power"):
        times = bench.times(2000, 100) // (4 if durability == "power" else 1)
        found = bench.run("growing.py", few, many, times, durability)
        yield Figure(
            f"a call with {runs:,} runs in the spool against one with 10, `{durability}`",
            ratio(found["many"], found["few"]),
            most=1.2,
            context=f"{time_shown(median(found['many']))} against {time_shown(median(found['few']))}; a raw file there "
            f"{shown(ratio(found['raw many'], found['raw few']), 'x')}",
        )
