"""Tries every solver and prints what came of it: `python tests/solvers`, or a part with `--only`, `--size`."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the tests' own packages stand
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

from faults.bench import ROOT, bench  # noqa: E402
from solvers.catalogue import CASES, Case  # noqa: E402
from solvers.table import put, table  # noqa: E402
from solvers.trial import SIZES, Tried  # noqa: E402


def versions(case: Case) -> str:
    """Returns the versions of the case's packages, or raises `PackageNotFoundError`."""
    return ", ".join(importlib.metadata.version(package) for package in case.packages)


def measure(case: Case, size: str) -> dict[str, Any]:
    """Tries one case in this process, and gives its row of the table."""
    row: dict[str, Any] = {"name": case.name, "version": "", "skipped": "", "columns": {}, "seconds": 0.0}
    began = time.monotonic()
    try:
        row["version"] = versions(case)
    except importlib.metadata.PackageNotFoundError as error:
        return row | {"skipped": f"{error.name} is not installed"}
    with tempfile.TemporaryDirectory(prefix="nxtrack-solvers-") as folder, bench(Path(folder)) as stand:
        tried = Tried(stand, case, SIZES[size])
        tried.run()
    columns = {name: asdict(column) for name, column in tried.columns.items()}
    return row | {"columns": columns, "seconds": round(time.monotonic() - began, 1)}


def apart(case: Case, size: str) -> dict[str, Any]:
    """Tries one case from a process of its own, so that cases can be tried side by side."""
    command = [sys.executable, __file__, "--measure", str(CASES.index(case)), "--size", size]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def findings(row: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a row; a case that was skipped was asked for, and is wrong too."""
    found = [f"{name}: {finding}" for name, column in row["columns"].items() for finding in column["findings"]]
    return [row["skipped"]] if row["skipped"] else found


def main() -> int:
    """Runs the command; returns 1 when a cell of the table is not as it should be."""
    parser = argparse.ArgumentParser(prog="python tests/solvers", description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="full", help="`quick` kills and interrupts once each")
    parser.add_argument("--only", default="", metavar="TEXT", help="solvers whose name holds this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many are tried side by side")
    parser.add_argument("--list", action="store_true", help="only list the solvers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of it as JSON as well")
    parser.add_argument("--readme", action="store_true", help="put the table into the README as well")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        print(json.dumps(measure(CASES[chosen.measure], chosen.size)))
        return 0
    cases = [case for case in CASES if chosen.only.lower() in case.name.lower()]
    if chosen.list:
        print(*(case.name for case in cases), sep="\n")
        return 0
    began = time.monotonic()

    def one(case: Case) -> dict[str, Any]:
        row = apart(case, chosen.size)
        state = "NOT AS IT SHOULD BE" if findings(row) else "as it should be"
        print(f"{time.monotonic() - began:6.0f} s  {case.name}: {state}, {row['seconds']:.0f} s", file=sys.stderr)
        return row

    with ThreadPoolExecutor(chosen.jobs) as pool:
        rows = list(pool.map(one, cases))
    print(table(rows))
    wrong = [f"{row['name']}: {finding}" for row in rows for finding in findings(row)]
    if wrong:
        print("", *wrong, sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps({"size": chosen.size, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    if chosen.readme:
        put(rows, ROOT / "README.md")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
