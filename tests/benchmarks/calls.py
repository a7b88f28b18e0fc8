"""What a tracked call costs: beside the raw floor, in crowds of threads and processes, and in ever larger spools."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, median, ratio, shown, time_shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_SIZES = (("1 KB", 1000, 3000, 300, 1.5), ("100 KB", 100_000, 600, 60, 1.3), ("10 MB", 10_000_000, 20, 3, 1.2))
_DURABLE = 1.2
_CAPTURES = {"off": "", "sys": "", "auto": " (the default)"}
"""Ways to capture a log, which the floor does not do."""


def calls(bench: Bench) -> Iterator[Figure]:
    """Tracked calls of a function that does nothing against the raw floor, for each durability, size and capture."""
    for durability in ("process", "power"):
        for label, size, full, quick, most in _SIZES:
            repetitions = bench.times(full, quick)
            if durability == "power":
                repetitions = min(repetitions, bench.times(300, 50))
            found = bench.run(
                "percall.py", size, repetitions, NXTRACK_DIR=str(bench.spool()), NXTRACK_DURABILITY=durability
            )
            taken, busy = found["taken"], found["busy"]
            bare, floor = median(taken["bare"]), median(taken["floor"])
            against = "the raw floor" if durability == "process" else "the raw floor with fsync"
            yield Figure(
                f"a sketch of a tracker in nine functions, with {label} of input, `{durability}`, against {against}",
                ratio(taken["sketch"], taken["floor"]),
                context=f"{time_shown(median(taken['sketch']))} against {time_shown(floor)}",
            )
            for capture, more in _CAPTURES.items():
                yield Figure(
                    f"a call with {label} of input, `{durability}`, capture `{capture}`{more}, against {against}",
                    ratio(taken[capture], taken["floor"]),
                    most=_DURABLE if durability == "power" else most,
                    context=f"{time_shown(median(taken[capture]))} against {time_shown(floor)}; against a floor with "
                    f"lock, checksums and state {shown(ratio(taken[capture], taken['kept']), 'x')}, against the sketch "
                    f"{shown(ratio(taken[capture], taken['sketch']), 'x')}; bare {time_shown(bare)}; "
                    f"of the processor's time {shown(ratio(busy[capture], busy['floor']), 'x')}",
                )


def crowds(bench: Bench) -> Iterator[Figure]:
    """What calls a second gain from many processes or threads at once, against what the raw floor gains from them."""
    for kind, durability, crowd in (
        ("processes", "process", (8, 1)),
        ("processes", "power", (8, 1)),
        ("threads", "process", (1, 8)),
    ):
        gains: dict[str, list[float]] = {"floor": [], "tracked": []}
        rates: list[float] = []
        for _ in range(bench.times(5, 1)):
            for what, found in gains.items():
                alone = _rate(bench, what, durability, (1, 1))
                together = _rate(bench, what, durability, crowd)
                found.append(together / alone)
            rates.append(together)
        ours, floor = median(gains["tracked"]), median(gains["floor"])
        yield Figure(
            f"what 8 {kind} at once gain, `{durability}`, against what the raw floor gains",
            ratio(gains["tracked"], gains["floor"]),
            least=0.9,
            context=f"{shown(ours, 'x')} against {shown(floor, 'x')} on {os.cpu_count()} cores; "
            f"{median(rates):,.0f} calls/s",
        )


def _rate(bench: Bench, what: str, durability: str, crowd: tuple[int, int]) -> float:
    """Returns the calls a second of so many processes with so many threads each."""
    processes, threads = crowd
    seconds = bench.times(2, 1)
    spool = bench.spool()
    with ThreadPoolExecutor(processes) as pool:
        begin = time.monotonic() + 0.5 + 0.2 * processes
        jobs = [
            pool.submit(
                bench.run,
                "crowd.py",
                what,
                threads,
                begin,
                seconds,
                NXTRACK_DIR=str(spool),
                NXTRACK_DURABILITY=durability,
            )
            for _ in range(processes)
        ]
        return sum(job.result() for job in jobs) / seconds
