"""What all programs share: an order is read, the solver's function called, tracked or not, and its answer put down.

Nothing is printed outside of the tracked code, so all that the terminal gets has to be in the log.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Problem = dict[str, Any]
Answer = dict[str, Any]


def run(solve: Callable[[Problem, float], Answer]) -> None:
    """Carries out the order in the file that the command line names.

    The order holds the `problem`, the `limit` in seconds, the file for the `answer`, and `how` the call is made:
    `plain`, by `decorator` or in a `block`.
    """
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    problem, limit = order["problem"], order["limit"]

    def talk(problem: Problem, limit: float) -> Answer:
        # Python's own text is before and after the solver's, and on both streams: the log has to hold all in order.
        print("The solver is called \N{EM DASH} by Python.")
        print("This goes to stderr.", file=sys.stderr)
        answer = solve(problem, limit)
        print(f"The solver returned {answer['objective']}.")
        return answer

    if order["how"] == "plain":
        answer = talk(problem, limit)
    else:
        from nxtrack import track

        if order["how"] == "decorator":
            answer = track(input="problem", options=["limit"])(talk)(problem, limit)
        else:
            with track(input=problem, options={"limit": limit}) as tracked:
                tracked.output = answer = talk(problem, limit)
    Path(order["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def found(objective: float | None, **api: Any) -> Answer:
    """Returns an answer: the objective, and what else the solver's API says, what is infinite as None."""
    finite = {name: None if value in {math.inf, -math.inf} else value for name, value in api.items()}
    return {"objective": objective, "api": {"objective": objective, **finite}}


def pairs(problem: Problem) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Returns each two operations, as (job, position), of a job shop that need the same machine."""
    machines = problem["machines_matrix"]
    operations = [(job, at) for job, row in enumerate(machines) for at in range(len(row))]
    return [
        (one, other)
        for number, one in enumerate(operations)
        for other in operations[number + 1 :]
        if machines[one[0]][one[1]] == machines[other[0]][other[1]]
    ]


def horizon(problem: Problem) -> int:
    """Returns when all is surely done: all operations one after another, if the problem names no sooner end."""
    return int(problem.get("horizon") or sum(map(sum, problem["duration_matrix"])))


def distances(problem: Problem) -> list[list[int]]:
    """Returns the rounded Euclidean distances between the places of a routing problem."""
    places = problem["places"]
    return [[round(((x - u) ** 2 + (y - v) ** 2) ** 0.5) for u, v in places] for x, y in places]
