"""What a tracked call costs beside what people would use instead, each in an environment of its own, taking turns."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import Contender
from benchmarks.distant import platform
from benchmarks.figures import Figure, median, ratio, shown, time_shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

LATENCY = 0.04


@dataclass(frozen=True)
class Rival:
    """Something else to track with.

    Attributes:
        name: What the table calls it.
        package: What is installed for it.
        program: Which program uses it.
        least: How many times as long it shall take at least.
        calls: In each turn.
        settings: What its environment says besides.
        sizes: Bytes of input, output and log, for the SDK.
    """

    name: str
    package: str
    program: str
    least: float | None = None
    calls: int = 2
    settings: tuple[tuple[str, str], ...] = ()
    sizes: tuple[str, ...] = ()


_AT_ONCE = (("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false"),)

RIVALS = (
    Rival("an MLflow run with `log_dict`", "mlflow", "mlflow_run.py", least=200, calls=10),
    Rival("`mlflow.trace`, which records later, in a thread", "mlflow", "mlflow_trace.py", least=10, calls=100),
    Rival("`mlflow.trace`, recorded when it returns", "mlflow", "mlflow_trace.py", calls=10, settings=_AT_ONCE),
    Rival("an offline wandb run", "wandb", "wandb_run.py"),
    Rival("a trackio run", "trackio", "trackio_run.py", calls=5),
    Rival("a sacred run", "sacred", "sacred_run.py", calls=10),
    Rival(
        f"the nextmv SDK at {LATENCY * 1000:.0f} ms latency", "nextmv==1.13.*", "sdk_run.py", sizes=("1000", "15", "0")
    ),
)

_EXTRAS = {"sacred": ("setuptools<81",)}
"""Sacred asks setuptools for its versions of packages, and does not say so."""

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
}
"""Nothing is to leave this machine."""


def rivals(bench: Bench) -> Iterator[Figure]:
    """A tracked call with 1 KB of input against one call of each rival."""
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(platform(latency=LATENCY))
        ours = [
            Contender(
                bench, sys.executable, "tracked.py", NXTRACK_DIR=str(bench.fresh()), NXTRACK_DURABILITY=durability
            )
            for durability in ("process", "power")
        ]
        for contender in ours:
            stack.callback(contender.close)
        theirs = [_enter(bench, rival, where.variables(), stack) for rival in RIVALS]
        times: dict[int, list[float]] = {}
        process: list[float] = []
        power: list[float] = []
        for _ in range(bench.times(7, 2)):
            process.append(median(ours[0].calls(200)))
            power.append(median(ours[1].calls(50)))
            for number, contender in enumerate(theirs):
                if isinstance(contender, Contender):
                    times.setdefault(number, []).append(median(contender.calls(RIVALS[number].calls)))
    for number, (rival, contender) in enumerate(zip(RIVALS, theirs, strict=True)):
        name = f"{rival.name}, against a tracked call of 1 KB"
        if not isinstance(contender, Contender):
            yield Figure(name, float("nan"), context=f"could not be measured: {contender}")
            continue
        yield Figure(
            name,
            ratio(times[number], process),
            least=rival.least,
            context=f"{contender.about}; {time_shown(median(times[number]))} against {time_shown(median(process))}; "
            f"against `power` ({time_shown(median(power))}) {shown(ratio(times[number], power), 'x')}",
        )


def _enter(bench: Bench, rival: Rival, variables: dict[str, str], stack: contextlib.ExitStack) -> Contender | Exception:
    """Starts a rival; one that cannot be had here is told, and keeps nobody from being measured."""
    name = rival.package.partition("=")[0]
    try:
        python = bench.packages(name, rival.package, *_EXTRAS.get(name, ()))
        contender = Contender(bench, python, rival.program, *rival.sizes, **_QUIET, **variables, **dict(rival.settings))
    except Exception as error:  # (whatever keeps a package of others from working)
        return error
    stack.callback(contender.close)
    return contender
