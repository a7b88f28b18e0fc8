"""Tracks runs of 2 KB in, 2 KB out and 1 KB of log. Usage: solves.py NUMBER."""

from __future__ import annotations

import sys

import nxtrack


@nxtrack.track
def solve(problem: dict[str, str]) -> dict[str, str]:
    """Logs a little."""
    run = nxtrack.current_run()
    assert run is not None
    run.log("l" * 999)
    return {"text": "o" * 2000}


for _ in range(int(sys.argv[1])):
    solve({"text": "i" * 2000})
print("true")
