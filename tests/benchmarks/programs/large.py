"""Tracks a call with a large input, and tells how far memory went beyond the input itself. Usage: large.py SIZE."""

from __future__ import annotations

import json
import os
import resource
import sys

import msgspec
from turns import problem, solve

import nxtrack

size = int(sys.argv[1])


def now_and_most() -> tuple[int, int]:
    """Returns the bytes of memory that this process holds, and the most that it ever held."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return held, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


tracked = nxtrack.track(solve)
tracked(problem(100))  # loads what it needs
# A text in many pieces of one kilobyte: small beside its JSON, so that what is measured is ours and not the input's.
line = "x" * 1000
given = {"lines": [f"{number:06d}{line}" for number in range(size // 1010)]}
before, most_before = now_and_most()
tracked(given)
_, most = now_and_most()
assert most > most_before
print(json.dumps({"encoded": len(msgspec.json.encode(given)), "input": before, "above": most - before}))
