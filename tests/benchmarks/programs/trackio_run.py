"""A contender: a run of trackio with its input as configuration and its output logged."""

from __future__ import annotations

import contextlib
import io

import trackio
from turns import problem, solve, take_turns

given = problem(1000)


def call() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        trackio.init(project="benchmarks", config=given)
        trackio.log(solve(given))
        trackio.finish()


take_turns(call, f"trackio {trackio.__version__}")
