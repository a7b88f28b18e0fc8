"""A contender: an offline run of wandb with its input as configuration and its output logged."""

from __future__ import annotations

import wandb
from turns import problem, solve, take_turns

given = problem(1000)


def call() -> None:
    with wandb.init(project="benchmarks", mode="offline", config=given, settings=wandb.Settings(silent=True)) as run:
        run.log(solve(given))


take_turns(call, f"wandb {wandb.__version__}")
