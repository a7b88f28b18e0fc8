"""Makes tracked calls, or writes the raw floor, from several threads for some time.

Usage: crowd.py tracked|floor THREADS BEGIN SECONDS, with BEGIN on the machine's monotonic clock.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time

import msgspec
from turns import problem, solve

import nxtrack

kind, threads, begin, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
durable = os.environ["NXTRACK_DURABILITY"] == "power"
given = problem(1000)
tracked = nxtrack.track(solve)
encode = msgspec.json.Encoder().encode
raw = f"{os.environ['NXTRACK_DIR']}-raw"
os.makedirs(raw, exist_ok=True)
numbers = itertools.count()
tracked(given)


def floor() -> None:
    path = f"{raw}/{os.getpid()}-{next(numbers)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.write(descriptor, encode(given))
    os.write(descriptor, encode(solve(given)))
    if durable:
        os.fsync(descriptor)
    os.close(descriptor)


def work() -> None:
    number = 0
    while time.monotonic() < begin:
        time.sleep(0.001)
    while time.monotonic() < begin + seconds:
        if kind == "floor":
            floor()
        else:
            tracked(given)
        number += 1
    made.append(number)


made: list[int] = []
workers = [threading.Thread(target=work) for _ in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(json.dumps(sum(made)))
