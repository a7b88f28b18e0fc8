"""How long it takes to import nxtrack, and to begin a command."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT
from benchmarks.figures import Figure, median, ratio, time_shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_IMPORTED = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"
_EMPTY_COMMAND = """
import typer
app = typer.Typer(rich_markup_mode=None, add_completion=False)
@app.callback()
def main(*, version: bool = False): pass
@app.command()
def status(*, as_json: bool = False): pass
app(["status"])
"""


def plain_python(bench: Bench) -> str:
    """Returns a Python with nxtrack as its users install it: without what develops and tests it."""
    return bench.packages("nxtrack", "-e", str(ROOT))


def starting(bench: Bench) -> Iterator[Figure]:
    """Imports and an empty status, in turns."""
    python = plain_python(bench)
    times = bench.times(25, 5)
    environment = bench.environment(NXTRACK_DIR=str(bench.spool()))

    def seconds(*arguments: str) -> tuple[float, str]:
        began = time.perf_counter()
        done = subprocess.run(
            [python, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60
        )
        return time.perf_counter() - began, done.stdout

    ours, parts = [], []
    for _ in range(times):
        ours.append(float(seconds("-c", _IMPORTED.format("nxtrack"))[1]))
        parts.append(float(seconds("-c", _IMPORTED.format("wrapt, msgspec, platformdirs"))[1]))
    yield Figure(
        "`import nxtrack` against `import wrapt, msgspec, platformdirs`",
        ratio(ours, parts),
        most=1.1,
        context=f"{time_shown(median(ours))} against {time_shown(median(parts))}",
    )
    status, typer, empty = [], [], []
    for _ in range(times):
        status.append(seconds("-m", "nxtrack", "status")[0])
        typer.append(seconds("-c", "import typer")[0])
        empty.append(seconds("-c", _EMPTY_COMMAND)[0])
    yield Figure(
        "`nxtrack status` on an empty spool against the interpreter with typer imported",
        ratio(status, typer),
        most=1.5,
        context=f"{time_shown(median(status))} against {time_shown(median(typer))}",
    )
    yield Figure(
        "the same against a typer command that does nothing",
        ratio(status, empty),
        context=f"against {time_shown(median(empty))}: only a command makes typer load what it works with",
    )
