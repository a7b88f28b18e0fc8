"""A contender: `mlflow.trace`, which records input and output of each call."""

from __future__ import annotations

import logging

import mlflow
from turns import problem, solve, take_turns

logging.getLogger("mlflow").setLevel(logging.ERROR)
given = problem(1000)
mlflow.set_experiment("benchmarks")
traced = mlflow.trace(solve)
take_turns(lambda: traced(given), f"mlflow {mlflow.__version__}")
