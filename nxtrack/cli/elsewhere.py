"""Owns where standard output leads while something else than the command prints: a user's function, a solver."""

from __future__ import annotations

import os
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from nxtrack.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import IO


@contextmanager
def stdout_to(stream: IO[str]) -> Generator[None]:
    """Has what is printed, also past Python, go to another stream: stdout is the command's own."""
    say()  # what it holds back
    with redirect_stdout(stream):
        try:
            kept = os.dup(1)
            os.dup2(stream.fileno(), 1)
        except OSError:  # One of them is closed: nothing can get to it.
            yield
            return
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
