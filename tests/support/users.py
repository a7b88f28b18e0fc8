"""Somebody who types commands: an environment of their own, and what each command must come to."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class User:
    """Works in one folder, which is the home as well, with one environment."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command, stdin=""):
        """Runs a command, which must succeed; its stdin is a text, or None for a terminal on which nobody types."""
        with contextlib.ExitStack() as terminal:
            if stdin is None:
                for end in (ends := os.openpty()):
                    terminal.callback(os.close, end)
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=self.environment,
                cwd=self.folder,
                check=False,
                timeout=110,
                **({"input": stdin} if stdin is not None else {"stdin": ends[1]}),
            )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done


def user_at(endpoint, folder, **variables):
    """A user who has told Nextmv's tools where the platform is, and nothing else."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXTMV_")}
    environment |= {"NEXTMV_ENDPOINT": endpoint, "NEXTMV_API_KEY": "any", "HOME": str(folder), "NO_PROXY": "*"}
    # A wide terminal keeps the command line from breaking what it prints.
    environment |= {"COLUMNS": "500", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    return User(folder, environment | variables)
