"""Programs as processes: started apart from the platform, without its secrets, and ended with all they started."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = "NXTRACK_RUN_MARK"
# Keys, and settings that would have a program that tracks runs itself take this platform's for its own.
_WITHHELD = ("NEXTMV_", "NXTRACK_")
_PROC = Path("/proc")
_SEARCHES = 50
_PATIENCE = 5.0


def new_mark() -> str:
    """What tells the processes of one execution from all others: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def environment(mark: str) -> dict[str, str]:
    """What a program gets to see: the platform's environment without any key or setting of nxtrack and Nextmv."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_WITHHELD)}
    # As the public SDK (1.13) runs programs locally, so that their logs come while they run.
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", _MARK: mark}


def start(command: Sequence[str], *, stdin: IO[bytes] | None, folder: Path, mark: str) -> subprocess.Popen[bytes]:
    """Starts a program in a process group of its own, without a shell.

    Raises:
        OSError: It cannot be started.
        ValueError: A word of the command cannot be handed to a program.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    return subprocess.Popen(  # noqa: S603  # what a user of this platform registered to be run
        list(command),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=folder,
        env=environment(mark),
        start_new_session=True,
        creationflags=flags,
    )


def has_exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether a program's first process has ended. Its pid stays taken until `end`, so that it means no other."""
    if sys.platform == "linux" and process.returncode is None:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM to a program and what it started; on Windows, which has no such request, ends it."""
    if sys.platform == "win32":
        process.terminate()
    else:
        _signal_group(process.pid, signal.SIGTERM)


def end(process: subprocess.Popen[bytes], mark: str) -> int | None:
    """Kills what is left of a program, and gives its exit status, or None for one that even SIGKILL does not end."""
    if sys.platform == "win32":
        process.kill()
    else:
        _signal_group(process.pid, signal.SIGKILL)
    _kill_marked(mark)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(_PATIENCE)
    return None


def end_left_over(pid: int | None, born_at: str | None, mark: str) -> None:
    """Kills what a platform that died left running: the group of that process if it is the same, and all marked."""
    if sys.platform != "win32" and pid is not None and born_at is not None and born(pid) == born_at:
        _signal_group(pid, signal.SIGKILL)
    _kill_marked(mark)


def born(pid: int) -> str | None:
    """When a process was started, in words that no other process of its pid shares; None when that cannot be told."""
    try:
        if _PROC.joinpath("stat").exists():
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
            # The name, in parentheses, may hold anything; the start is field 22 (proc(5)), in ticks since the boot.
            return f"{boot} {(_PROC / str(pid) / 'stat').read_text().rpartition(')')[2].split()[19]}"
        shown = subprocess.run(  # noqa: S603
            ["ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        return shown.stdout.strip() or None
    except (OSError, IndexError, subprocess.SubprocessError):
        return None


def _signal_group(group: int, number: int) -> None:
    if sys.platform != "win32":
        # The kernel refuses on macOS for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _kill_marked(mark: str) -> None:
    """Kills, where the system shows environments (Linux), what left its group: again until a look finds none."""
    if sys.platform == "linux":
        for _ in range(_SEARCHES):
            found = _marked(mark)
            if not found:
                return
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)


def _marked(mark: str) -> list[int]:
    wanted = f"{_MARK}={mark}".encode()
    found: list[int] = []
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (_PROC / entry.name / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
