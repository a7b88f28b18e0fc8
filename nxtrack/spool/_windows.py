"""Owns what the spool needs of Windows; `_posix` is its twin, and says what each function promises."""

from __future__ import annotations

import contextlib
import ctypes
import msvcrt
import os
import platform
import sys
from typing import TYPE_CHECKING

from nxtrack.errors import SpoolRefused

if TYPE_CHECKING:
    from collections.abc import Callable

assert sys.platform == "win32"  # tells type checkers for which systems to look at this module

CREATE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_BINARY | os.O_NOINHERIT
READ = os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT
READ_APPEND = os.O_RDWR | os.O_APPEND | os.O_BINARY | os.O_NOINHERIT

_LOCK_OFFSET = 1 << 40
"""Windows refuses others to read what is locked, so the locked byte stands far behind the file's end."""

_QUERY_LIMITED_INFORMATION = 0x1000
_STILL_ACTIVE = 259


def try_lock(descriptor: int) -> bool:
    """Takes the lock of an open file unless somebody holds it."""
    os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def rename_closing(descriptor: int, old: str, new: str) -> None:
    """Closes a file, then renames it, as Windows renames no open file.

    Whoever takes the file in between finds in its journal what the new name would have said, and renames it.
    """
    os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):
        os.replace(old, new)  # noqa: PTH105


end_closing = rename_closing


def has_ended(mode: int) -> bool:
    """Says no: a file's mode says nothing on Windows."""
    del mode
    return False


def unmark(descriptor: int) -> None:
    """Does nothing; see `has_ended`."""


def sync_folder(folder: str) -> None:
    """Does nothing: Windows has no such call, and NTFS journals names by itself."""


sync_new = sync_folder


def check_private(folder: str) -> None:
    """Refuses what is no folder; who may write to a user's state folder is for Windows' access lists to say."""
    if not os.path.isdir(folder):  # noqa: PTH112
        raise SpoolRefused(f"The spool {folder} is not a folder; set NXTRACK_DIR to one of your own.")


def mark(descriptor: int, *, well: bool) -> None:
    """Does nothing: a file's mode says nothing on Windows."""


def marked(descriptor: int) -> bool | None:
    """Returns None."""


def _nothing() -> None:
    pass


def at_fork(
    in_child: Callable[[], None], *, before: Callable[[], None] = _nothing, in_parent: Callable[[], None] = _nothing
) -> None:
    """Does nothing: there are no forks."""
    del in_child, before, in_parent


def give_back(descriptor: int, begin: int, end: int) -> bool:
    """Gives nothing back: that would take a file made for it."""
    del descriptor, begin, end
    return False


def duplicate(descriptor: int, lowest: int) -> int:
    """Returns another descriptor for the same file; its number is not for us to say."""
    del lowest
    return os.dup(descriptor)


def boot_id() -> str:
    """Returns "": Windows names no boots."""
    return ""


def host_id() -> str:
    """Returns the machine's name."""
    return platform.node()


def pid_namespace() -> int:
    """Returns 0: there are no pid namespaces."""
    return 0


def process_started(pid: int) -> int | None:
    """Returns 0 when the process runs, None when it does not."""
    kernel = ctypes.windll.kernel32
    handle = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, 0, pid)
    if not handle:
        return None
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return 0 if code.value == _STILL_ACTIVE else None
