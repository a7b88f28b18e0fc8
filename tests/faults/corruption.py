"""Files of the spool that somebody changed."""

from __future__ import annotations

import os
import random

from faults.bench import Bench, Solve
from faults.tally import Kind, spread

KINDS: tuple[Kind, ...] = ()


def _flips(bench: Bench, size: int) -> None:
    """One byte of a run's file is another one; beside it stands a sound run, which must arrive."""
    chance = random.Random(1)
    with bench.trial() as template:
        template.record(Solve(1))
        (name,) = os.listdir(template.spool / "runs")
        content = (template.spool / "runs" / name).read_bytes()
    for position in spread(range(len(content)), size):
        with bench.trial() as trial:
            trial.record(Solve(1), Solve(2))
            file = trial.spool / "runs" / sorted(os.listdir(trial.spool / "runs"))[0]
            changed = bytearray(file.read_bytes())
            position = min(position, len(changed) - 1)
            changed[position] ^= 1 << chance.randrange(8)
            file.write_bytes(changed)
            bench.tally.injections += 1
            report = trial.drain()
            damaged = report is not None and report.damaged == 1
            if not damaged:
                bench.tally.found("wrong", f"a flip of byte {position} was not told: {report}")
            trial.judge(Solve(1, spared="set aside"), Solve(2))


KINDS = (Kind("a bit flipped, at every byte of a run's file", _flips, quick=20, full=1200),)
