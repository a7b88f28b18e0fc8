"""How much memory is taken by large payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.distant import platform
from benchmarks.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_MEGA = 10**6


def memory(bench: Bench) -> Iterator[Figure]:
    """The most that is taken beyond the input by tracking it, and beyond an idle flush by delivering it."""
    size = bench.times(200, 20) * _MEGA
    found = bench.run("large.py", size, NXTRACK_DIR=str(bench.spool()))
    yield Figure(
        f"memory for a call whose input has {size // _MEGA} MB of JSON, against those bytes",
        found["above"] / found["encoded"],
        most=1.2,
        context=f"{found['above'] / _MEGA:,.0f} MB beyond the input's {found['input'] / _MEGA:,.0f} MB",
    )
    size = bench.times(500, 50) * _MEGA
    with platform() as where:
        variables = {"NXTRACK_DIR": str(bench.spool()), **where.variables()}
        bench.run("large.py", size, **variables)
        found = bench.run("flushes.py", **variables)
        seen = where.counts()
    if seen.received < size * 0.98 or found["pending"]:
        raise RuntimeError(f"{seen.received} of {size} bytes were delivered: {found['problems']}")
    yield Figure(
        f"memory for a flush of a payload of {size // _MEGA} MB, beyond an idle one's",
        found["grown"] / _MEGA,
        "MB",
        most=64,
        context=f"{found['seconds']:.1f} s without latency",
    )
