"""A contender: an MLflow run with its input, output and duration, in the local store that MLflow chooses."""

from __future__ import annotations

import logging
import time

import mlflow
from turns import problem, solve, take_turns

logging.getLogger("mlflow").setLevel(logging.ERROR)
given = problem(1000)
mlflow.set_experiment("benchmarks")


def call() -> None:
    with mlflow.start_run():
        mlflow.log_dict(given, "input.json")
        began = time.perf_counter()
        output = solve(given)
        mlflow.log_metric("duration", time.perf_counter() - began)
        mlflow.log_dict(output, "output.json")


take_turns(call, f"mlflow {mlflow.__version__}")
