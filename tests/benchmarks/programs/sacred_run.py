"""A contender: a run of a sacred experiment, kept by its file observer."""

from __future__ import annotations

import logging

import sacred
from sacred.observers import FileStorageObserver
from turns import problem, solve, take_turns

logging.getLogger().setLevel(logging.ERROR)
experiment = sacred.Experiment("benchmarks", save_git_info=False)
experiment.logger = logging.getLogger("sacred")
experiment.observers.append(FileStorageObserver("runs"))
given = problem(1000)
experiment.add_config(given)


@experiment.main
def main(stops: list[dict[str, object]]) -> dict[str, object]:
    return solve({"stops": stops})


take_turns(experiment.run, f"sacred {sacred.__version__}")
