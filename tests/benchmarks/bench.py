"""Where benchmarks are measured: a folder, programs in processes of their own, and environments of others' packages."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
LONGEST = 1800
"""Seconds after which a program is given up."""


@dataclass
class Bench:
    """A place to measure in.

    Attributes:
        folder: Where spools and the like stand, on the file system that is measured.
        quick: Few repetitions and small sizes: to see that it works, not to learn much.
        environments: Where the environments of other packages are made, and kept.
    """

    folder: Path
    quick: bool
    environments: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def times(self, full: int, quick: int) -> int:
        """Returns how often, how many or how large, by what was asked for."""
        return quick if self.quick else full

    def fresh(self) -> Path:
        """Makes a new empty folder."""
        path = self.folder / f"{next(self._numbers)}"
        path.mkdir()
        return path

    def spool(self) -> Path:
        """Returns a folder for a spool.

        It goes with all others at the end: a file system that has just removed many files may be slow to make one.
        """
        return self.fresh() / "spool"

    def run(self, program: str, *arguments: object, python: str = sys.executable, **more: str) -> Any:
        """Runs one of the programs to its end, and returns what it printed: one line of JSON."""
        done = subprocess.run(
            [python, str(PROGRAMS / program), *map(str, arguments)],
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    def environment(self, **more: str) -> dict[str, str]:
        """Returns an environment with nothing of the user's in it but what programs need to be found."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
        return kept | {"HOME": str(self.folder), "PYTHONPATH": str(ROOT), **more}

    def packages(self, name: str, *requirements: str) -> str:
        """Makes an environment with the newest packages, unless it is there; returns its Python."""
        home = self.environments / name
        python = home / "bin" / "python"
        if not (home / "made").exists():
            base = Path(sys.base_prefix) / "bin" / "python3"
            print(f"making an environment for {name}", file=sys.stderr)
            subprocess.run([base, "-m", "venv", "--clear", "--without-pip", home], check=True)
            subprocess.run(
                [base, "-m", "pip", "--python", python, "install", "--quiet", *requirements],
                check=True,
                stdout=sys.stderr,
            )
            (home / "made").touch()
        return str(python)


class Contender:
    """A program that makes a number of calls whenever it is told to, so that several can take turns."""

    def __init__(self, bench: Bench, python: str, program: str, *arguments: str, **more: str) -> None:
        """Starts it, and waits until it is ready."""
        self.name = program
        self._log = (bench.fresh() / "log").open("w+b")
        self._process = subprocess.Popen(
            [python, str(PROGRAMS / program), *arguments],
            env=bench.environment(**more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=bench.fresh(),
        )
        self.about = self._read()

    def calls(self, number: int) -> list[float]:
        """Has it make so many calls; returns the seconds of each."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        return [float(part) for part in self._read().split()]

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            mark, _, rest = line.partition(" ")
            if mark == "benchmark:":  # Whatever else is printed is the package's own.
                return rest.strip()
        self._log.seek(0)
        raise RuntimeError(f"{self.name} ended: {self._log.read()[-2000:].decode(errors='replace')}")
