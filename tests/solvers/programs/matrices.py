"""A job shop as matrices, for solvers that take no model of expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
from user import Problem, horizon, pairs


def job_shop(problem: Problem) -> tuple[Any, Any, Any, Any]:
    """Returns a job shop as a mixed-integer program: minimise the last variable subject to rows @ x >= least.

    Returns:
        The rows, what each is at least, the variables' upper bounds (all are at least 0), and which are whole numbers.
    """
    times, latest = problem["duration_matrix"], horizon(problem)
    width = len(times[0])
    operations = len(times) * width
    conflicts = pairs(problem)
    columns = operations + len(conflicts) + 1
    rows: list[Any] = []
    least: list[int] = []

    def row(bound: int, **entries: Any) -> None:
        line = np.zeros(columns)
        for column, value in entries["of"]:
            line[column] = value
        rows.append(line)
        least.append(bound)

    for job, durations in enumerate(times):
        for at in range(1, width):
            row(durations[at - 1], of=[(job * width + at, 1), (job * width + at - 1, -1)])
        row(durations[-1], of=[(columns - 1, 1), (job * width + width - 1, -1)])
    for number, ((i, p), (j, q)) in enumerate(conflicts):
        first, one, other = operations + number, i * width + p, j * width + q
        row(times[i][p] - latest, of=[(other, 1), (one, -1), (first, -latest)])
        row(times[j][q], of=[(one, 1), (other, -1), (first, latest)])
    most = np.full(columns, latest, dtype=float)
    most[operations:-1] = 1
    whole = np.zeros(columns, dtype=bool)
    whole[operations:-1] = True
    return np.array(rows), np.array(least, dtype=float), most, whole
