"""How fast runs are delivered: without a limit but the distance, and at the platform's own limit."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from benchmarks.bench import Contender
from benchmarks.distant import carried, platform
from benchmarks.figures import Figure, median
from benchmarks.rivals import LATENCY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.distant import Counts

_REQUESTS = 7
"""For a run with input, output and log: an address and an upload each, then the post."""

_RATE = 5.0


def unlimited(bench: Bench) -> Iterator[Figure]:
    """Runs a second at a distance, with few and with many connections, against the SDK and against the connections."""
    runs = bench.times(1000, 60)
    sdk = _sdk(bench, bench.times(100, 10))
    for jobs in (8, 24):
        found, seen = _flush(bench, runs, latency=LATENCY, NXTRACK_JOBS=str(jobs), NXTRACK_RATE="0")
        with platform(latency=LATENCY) as where:
            most = carried(where, jobs, bench.times(5, 1))
        assert seen.first is not None
        seconds = seen.posted[-1] - seen.first
        what = f"a flush of {runs:,} runs at {LATENCY * 1000:.0f} ms, {jobs} connections"
        busy = f"{found['busy'] / seen.requests * 1000:.2f} ms of the processor a request"
        yield Figure(
            f"{what}: requests against what the connections can carry",
            seen.requests / seconds / most,
            least=0.9,
            context=f"{seen.requests / seconds:,.0f} of {most:,.0f} requests/s; {busy}",
        )
        yield Figure(
            f"{what}: runs a second against the SDK's loop",
            runs / seconds / sdk,
            # So few connections cannot carry more, whoever asks.
            least=20 if jobs == 24 else None,
            context=f"{runs / seconds:.1f} against {sdk:.2f} runs/s",
        )
        yield Figure(f"{what}: connections opened", seen.connections, "connections", most=jobs)
        yield Figure(f"{what}: requests a run", seen.requests / runs, "requests", most=_REQUESTS)


def limited(bench: Bench) -> Iterator[Figure]:
    """Runs a second against a platform that refuses more than its documented limit, with the settings as they come."""
    runs = bench.times(150, 25)
    _, seen = _flush(bench, runs, latency=LATENCY, rate=_RATE)
    pace = (len(seen.posted) - 1) / (seen.posted[-1] - seen.posted[0])
    what = f"a flush of {runs} runs at the platform's {_RATE:g} runs a second"
    yield Figure(f"{what}: pace", pace / _RATE, least=0.95, context=f"{pace:.2f} runs/s; {len(seen.posted)} taken")
    yield Figure(f"{what}: refusals (429) after the first", max(0, len(seen.refused) - 1), "refusals", most=0)
    yield Figure(f"{what}: connections opened", seen.connections, "connections", most=8)


def _sdk(bench: Bench, runs: int) -> float:
    """Returns the runs a second of a loop over the SDK's `track_run`."""
    python = bench.packages("nextmv", "nextmv==1.13.*")
    with platform(latency=LATENCY) as where, contextlib.ExitStack() as stack:
        loop = Contender(bench, python, "sdk_run.py", "2000", "2000", "1000", **where.variables())
        stack.callback(loop.close)
        return 1 / median(loop.calls(runs))


def _flush(bench: Bench, runs: int, *, latency: float, rate: float = 0.0, **more: str) -> tuple[dict[str, Any], Counts]:
    """Tracks runs, flushes them, and returns what the flush told and the platform saw."""
    with platform(latency=latency, rate=rate) as where:
        variables = {"NXTRACK_DIR": str(bench.spool()), **where.variables()}
        bench.run("solves.py", runs, NXTRACK_DURABILITY="process", **variables)
        if "NXTRACK_RATE" in more:
            more["NXTRACK_REQUEST_RATE"] = "0"
        found = bench.run("flushes.py", **variables, **more)
        if found["synced"] != runs:
            raise RuntimeError(f"{found['synced']} of {runs} runs were delivered: {found['problems']}")
        return found, where.counts()
