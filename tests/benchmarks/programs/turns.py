"""What the contenders share: make calls when told to, and tell how long each took."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def problem(size: int) -> dict[str, Any]:
    """Returns an input whose JSON has about `size` bytes."""
    stops: list[dict[str, Any]] = []
    room = size - len('{"stops":[]}')
    number = 0
    while room > 0:
        stop = {"id": number, "lon": number * 0.37, "lat": number * 1.21, "name": f"customer {number}"}
        room -= len(json.dumps(stop, separators=(",", ":"))) + 1
        stops.append(stop)
        number += 1
    return {"stops": stops}


def solve(problem: Any) -> dict[str, Any]:
    """Solves nothing."""
    return {"value": 1}


def take_turns(call: Callable[[], object], about: str = "") -> None:
    """Makes calls as the lines of stdin tell, until there are no more."""
    call()
    print(f"benchmark: {about}", flush=True)
    for line in sys.stdin:
        taken: list[float] = []
        for _ in range(int(line)):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        print("benchmark:", *taken, flush=True)
