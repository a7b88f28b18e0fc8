"""Programs that tests run as a user would: in processes of their own, with an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Returns an environment with nothing of the developer's in it: home and spool stand in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "LANG", "LC_", "COVERAGE"))}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return kept | {
        "HOME": str(home),
        "NXTRACK_DIR": str(folder / "spool"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        **more,
    }


def start(folder: Path, code: str, **more: str) -> subprocess.Popen[str]:
    """Starts a Python program written as text, from a file in `folder`."""
    file = folder / "program.py"
    file.write_text(textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, str(file)],
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def run(folder: Path, code: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python program written as text to its end."""
    with start(folder, code, **more) as process:
        output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def nxtrack(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "nxtrack", *arguments],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
    )
