"""The system calls of a program, counted by strace between two marks: they do not depend on the machine's mood."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.programs import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "os.getpgid(0)"
"""What a program executes before and after what is to be counted; nothing else does."""

_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)")
_BROKEN_OFF = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")


@dataclass(frozen=True)
class Call:
    """One system call.

    Attributes:
        name: Its name.
        text: Its arguments and result, as strace shows them; descriptors with the paths they mean.
    """

    name: str
    text: str


_OF_MEMORY = frozenset({"brk", "mmap", "munmap", "mremap", "madvise"})


def traced(folder: Path, code: str, *, asks: frozenset[str] = frozenset(), **more: str) -> list[Call]:
    """Runs a Python program, and returns the system calls that its threads made between its marks.

    What only asks for memory is left out but for what `asks` names, as the interpreter does that by itself.
    """
    script = folder / "traced.py"
    script.write_text(f"import os\n{textwrap.dedent(code)}")
    return _calls(folder, [sys.executable, str(script)], 0, _OF_MEMORY - asks, **more)


def traced_command(folder: Path, *arguments: str, status: int = 0, **more: str) -> list[Call]:
    """Runs an nxtrack command that ends with an exit status, and returns all its system calls."""
    return _calls(folder, [sys.executable, "-m", "nxtrack", *arguments], status, _OF_MEMORY, **more)


def _whole(trace: str) -> Iterator[str]:
    """Yields the calls of a trace, each as it ends: strace breaks a line off where another thread comes in between."""
    begun: dict[str, str] = {}
    for found in map(_LINE.match, trace.splitlines()):
        if found is None:
            continue
        thread, line = found.groups()
        if line.endswith(_BROKEN_OFF):
            begun[thread] = line.removesuffix(_BROKEN_OFF)
            continue
        resumed = _RESUMED.match(line)
        yield line if resumed is None else begun.pop(thread, "") + resumed[1]


def _calls(folder: Path, command: list[str], status: int, unseen: frozenset[str], **more: str) -> list[Call]:
    trace = folder / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-s", "200", "-o", trace, *command],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=folder,
    )
    assert done.returncode == status, done.stderr
    calls = [Call(*found.groups()) for line in _whole(trace.read_text()) if (found := _CALL.match(line))]
    marks = [number for number, call in enumerate(calls) if call.name == "getpgid"]
    if marks:
        calls = calls[marks[0] + 1 : marks[-1]]
    return [call for call in calls if call.name not in unseen and call.name != "getpgid"]
