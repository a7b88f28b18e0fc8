"""All benchmarks, in the order of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import calls, flushing, memory, rivals, scale, starting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.figures import Figure


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: What it is chosen by.
        measure: Measures, and gives its figures one by one.
    """

    name: str
    measure: Callable[[Bench], Iterator[Figure]]


BENCHMARKS = (
    Benchmark("calls", calls.calls),
    Benchmark("crowds", calls.crowds),
    Benchmark("rivals", rivals.rivals),
    Benchmark("flush, unlimited", flushing.unlimited),
    Benchmark("flush, limited", flushing.limited),
    Benchmark("memory", memory.memory),
    Benchmark("scale", scale.scale),
    Benchmark("recovery", scale.recovery),
    Benchmark("starting", starting.starting),
)
