"""Injects every fault there is and prints what came of it: `python tests/faults`, or a part with `--only`, `--size`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the tests' own packages stand
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

from faults.bench import bench  # noqa: E402
from faults.catalogue import KINDS  # noqa: E402
from faults.tally import Tally, table  # noqa: E402


def measure(number: int, size: int) -> Tally:
    """Measures one kind in this process."""
    with tempfile.TemporaryDirectory(prefix="nxtrack-faults-") as folder, bench(Path(folder)) as stand:
        return KINDS[number].measure(stand, size)


def apart(number: int, size: int) -> Tally:
    """Measures one kind in a process of its own, so that none of them sees what another left behind."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(number), "--size", str(size)], stdout=subprocess.PIPE, check=False
    )
    try:
        tally = msgspec.json.decode(done.stdout.splitlines()[-1], type=Tally)
    except (IndexError, msgspec.MsgspecError):
        tally = Tally()
        tally.found("wrong", f"the suite itself failed with exit status {done.returncode}")
    return tally


def main() -> int:
    """Runs the command; returns 1 when anything was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="python tests/faults", description=__doc__)
    parser.add_argument("--size", default="full", help="full, quick, or a number of injections for each kind")
    parser.add_argument("--only", default="", help="kinds whose name holds this text")
    parser.add_argument("--jobs", type=int, default=2, help="kinds that run side by side")
    parser.add_argument("--list", action="store_true", help="only list the kinds")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        print(msgspec.json.encode(measure(chosen.measure, int(chosen.size))).decode())
        return 0
    numbers = [number for number, kind in enumerate(KINDS) if chosen.only.lower() in kind.name.lower()]
    if chosen.list:
        print(*(KINDS[number].name for number in numbers), sep="\n")
        return 0
    sizes = {number: _size(chosen.size, KINDS[number].quick, KINDS[number].full) for number in numbers}
    began = time.monotonic()

    def one(number: int) -> tuple[str, Tally]:
        tally = apart(number, sizes[number])
        name = KINDS[number].name
        state = f"skipped: {tally.skipped}" if tally.skipped else "clean" if tally.clean else "NOT CLEAN"
        print(
            f"{time.monotonic() - began:6.0f} s  {name}: {tally.injections} in {tally.seconds:.0f} s, {state}",
            file=sys.stderr,
        )
        return name, tally

    with ThreadPoolExecutor(chosen.jobs) as pool:
        rows = list(pool.map(one, numbers))
    print(table(rows))
    for name, tally in rows:
        for finding in tally.findings:
            print(f"{name}: {finding}")
    return 0 if all(tally.clean for _, tally in rows) else 1


def _size(text: str, quick: int, full: int) -> int:
    return {"full": full, "quick": quick}.get(text) or int(text)


if __name__ == "__main__":
    sys.exit(main())
