"""Makes tracked calls, and raw files of the same size beside theirs, in two spools in turns.

Usage: growing.py FEW MANY REPETITIONS DURABILITY.
"""

from __future__ import annotations

import json
import os
import sys
import time

from turns import problem, solve

import nxtrack

few, many, repetitions, durability = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
given = problem(1000)
content = json.dumps(given).encode()
tracked = nxtrack.track(solve)
taken: dict[str, list[float]] = {"few": [], "many": [], "raw few": [], "raw many": []}


def raw(path: str) -> None:
    """Makes a file, and gives it its last name."""
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.write(descriptor, content)
    if durability == "power":
        os.fsync(descriptor)
    os.rename(f"{path}.new", path)
    os.close(descriptor)


for number in range(repetitions + 1):
    for name, spool in (("few", few), ("many", many)):
        nxtrack.configure(dir=spool, durability=durability)
        began = time.perf_counter()
        tracked(given)
        ours = time.perf_counter()
        raw(f"{spool}/runs/{durability}-{number}")
        floor = time.perf_counter()
        if number:
            taken[name].append(ours - began)
            taken[f"raw {name}"].append(floor - ours)
print(json.dumps(taken))
