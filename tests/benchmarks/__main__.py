"""Measures everything there is a bound for and prints a table: `python tests/benchmarks`, or a part with `--only`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the tests' own packages stand
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

from benchmarks.bench import ROOT, Bench  # noqa: E402
from benchmarks.catalogue import BENCHMARKS  # noqa: E402
from benchmarks.figures import Figure, put, shown, table  # noqa: E402


def machine(folder: Path) -> dict[str, str]:
    """Returns what figures should be read with: the machine, its file system, and versions."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    system = "unknown"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True, check=True)
        system = said.stdout.split()[-1]
    packages = ("nxtrack", "msgspec", "requests", "urllib3", "wrapt", "typer")
    return {
        "machine": f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, {system}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}"]
            + [f"{name} {importlib.metadata.version(name)}" for name in packages]
        ),
    }


def main() -> int:
    """Runs the command; returns 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes and few repetitions: to see that it works")
    parser.add_argument("--only", default="", metavar="TEXT", help="benchmarks whose name holds this text")
    parser.add_argument("--list", action="store_true", help="only list the benchmarks")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print the table, which is the default")
    parser.add_argument("--readme", action="store_true", help="put the table into the README as well")
    parser.add_argument("--folder", type=Path, help="where to measure; by default a temporary folder")
    parser.add_argument(
        "--environments", type=Path, help="where to make and keep other packages' environments; by default temporary"
    )
    chosen = parser.parse_args()
    wanted = [benchmark for benchmark in BENCHMARKS if chosen.only.lower() in benchmark.name]
    if chosen.list:
        print(*(benchmark.name for benchmark in wanted), sep="\n")
        return 0
    figures: list[Figure] = []
    began = time.monotonic()
    with contextlib.ExitStack() as stack:

        def folder(given: Path | None) -> Path:
            if given is not None:
                given.mkdir(parents=True, exist_ok=True)
                return given.resolve()
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nxtrack-benchmarks-")))

        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder(chosen.folder))))
        bench = Bench(place, chosen.quick, folder(chosen.environments))
        about = machine(place)
        for benchmark in wanted:
            for figure in benchmark.measure(bench):
                figures.append(figure)
                missed = " NOT MET" if figure.met is False else ""
                print(
                    f"{time.monotonic() - began:6.0f} s  {figure.name}: {shown(figure.value, figure.unit)} "
                    f"{figure.bound}{missed}  ({figure.context})",
                    file=sys.stderr,
                )
        # Before the folders are removed, as a million files take minutes.
        if chosen.json:
            print(json.dumps({**about, "figures": [figure.plain() for figure in figures]}, indent=2))
        else:
            print(f"{about['machine']}; {about['versions']}\n\n{table(figures)}")
        if chosen.readme:
            put(f"{table(figures)}\n\n{about['machine']}; {about['versions']}.", ROOT / "README.md")
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
