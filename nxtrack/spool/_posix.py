"""Owns what the spool needs of POSIX systems; `_windows` is its twin."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nxtrack.errors import SpoolRefused

if TYPE_CHECKING:
    from collections.abc import Callable

assert sys.platform != "win32"  # tells type checkers for which systems to look at this module

CREATE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a FIFO that somebody put into the spool would be waited for, for ever.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
READ_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def try_lock(descriptor: int) -> bool:
    """Takes the lock of an open file unless somebody holds it; closing the descriptor, or dying, gives it back.

    `flock`, as it belongs to the open file: `lockf` would be lost when this process closes any other descriptor of
    the same file.

    Returns:
        Whether the lock was taken.

    Raises:
        OSError: The file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_ENDED = 0o600 | stat.S_ISVTX
_WELL = 0o600 | stat.S_IXUSR
_NOT_WELL = _WELL | _ENDED
_MARKS = _NOT_WELL & ~0o600


def end_closing(descriptor: int, old: str, new: str) -> None:
    """Marks an open, locked file as that of a run that has ended, then closes it: its lock holds until then.

    By a bit of its mode where the system has one to spare, as to rename a file takes ten times as long, and with
    `power` durability a second wait for the disk; else by its new name.

    Raises:
        FileNotFoundError: The file has no name any more.
        OSError: It could not be marked.
    """
    try:
        if sys.platform == "linux":
            if not os.fstat(descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            try:
                os.fchmod(descriptor, _ENDED)
            except OSError:  # A file system without modes.
                os.rename(old, new)  # noqa: PTH104  (as below)
        else:
            os.rename(old, new)  # noqa: PTH104  (as below)
    finally:
        os.close(descriptor)


def has_ended(mode: int) -> bool:
    """Says whether a file of this mode was marked by `end_closing`."""
    return mode & _MARKS == _ENDED & _MARKS


def unmark(descriptor: int) -> None:
    """Takes back what `end_closing` marked a file with, as its name tells by now."""
    os.fchmod(descriptor, 0o600)


def rename_closing(descriptor: int, old: str, new: str) -> None:
    """Renames an open, locked file, then closes it: its lock holds until the name is right."""
    try:
        os.rename(old, new)  # noqa: PTH104  (a Path costs more than the rename)
    finally:
        os.close(descriptor)


def sync_folder(folder: str) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_new(folder: str) -> None:
    """Makes the names of new files in a folder survive a power cut, as the files themselves were synced."""
    if not _names_follow(folder):
        sync_folder(folder)


_NAMES_FOLLOW = frozenset({"ext4", "xfs"})
"""File systems that keep the name of a new file, or one that was renamed, whenever the file itself is synced.

Both write all changes of names in their order to one journal, up to the file's last change. Others may do so too."""


@functools.cache
def _names_follow(folder: str) -> bool:
    """Says whether the file system of a folder is known to make a name durable with its file."""
    device = os.stat(folder).st_dev  # noqa: PTH116
    place = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, system = line.partition(" - ")
            if mount.split()[2:3] == [place]:
                return system.split(" ", 1)[0] in _NAMES_FOLLOW
    return False


def check_private(folder: str) -> None:
    """Refuses a folder that is not ours alone to write.

    Raises:
        SpoolRefused: It is a link, no folder, somebody else's, or writable by group or others.
        OSError: It cannot be looked at.
    """
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise SpoolRefused(f"The spool {folder} is not a folder; set NXTRACK_DIR to one of your own.")
    if found.st_uid != os.geteuid():
        raise SpoolRefused(f"The spool {folder} belongs to another user; set NXTRACK_DIR to a folder of your own.")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SpoolRefused(f"The spool {folder} can be written by other users; run `chmod go-w {folder}` first.")


def mark(descriptor: int, *, well: bool) -> None:
    """Marks a file by its mode: its run ended so, and the disk did not take how."""
    os.fchmod(descriptor, _WELL if well else _NOT_WELL)


def marked(descriptor: int) -> bool | None:
    """Returns what `mark` said of a file: True for well, False for not, None for nothing."""
    mode = os.fstat(descriptor).st_mode
    return not mode & stat.S_ISVTX if mode & stat.S_IXUSR else None


def _nothing() -> None:
    pass


def at_fork(
    in_child: Callable[[], None], *, before: Callable[[], None] = _nothing, in_parent: Callable[[], None] = _nothing
) -> None:
    """Has functions called whenever this process forks: in the child, and in the parent before and after."""
    os.register_at_fork(after_in_child=in_child, before=before, after_in_parent=in_parent)


def give_back(descriptor: int, begin: int, end: int) -> bool:
    """Gives the disk back what a part of a file takes, which holds zeros then; returns whether that could be done."""
    call = _fallocate()
    if call is None:
        return False
    return call(descriptor, _PUNCH_HOLE, ctypes.c_int64(begin), ctypes.c_int64(end - begin)) == 0


_PUNCH_HOLE = 0x1 | 0x2
"""`FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE` of Linux."""


@functools.cache
def _fallocate() -> Callable[..., int] | None:
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(None).fallocate64
    return None


def duplicate(descriptor: int, lowest: int) -> int:
    """Returns another descriptor for the same file that children do not inherit; its number is `lowest` or more.

    Where the process may have no such number, it is a lower one.

    Raises:
        OSError: There is none.
    """
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    except OSError:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def boot_id() -> str:
    """Returns the id of this boot of the kernel, or "" where the system does not tell."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""


def host_id() -> str:
    """Returns what tells this machine from others: its machine id, else its name."""
    with contextlib.suppress(OSError):
        if text := Path("/etc/machine-id").read_text(encoding="utf-8").strip():
            return text
    return os.uname().nodename


def pid_namespace() -> int:
    """Returns the inode of this process's pid namespace, or 0 where there are none."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    return 0


def process_started(pid: int) -> int | None:
    """Says when a process started.

    Returns:
        Clock ticks since boot; 0 when it runs but the system does not tell since when; None when there is no such
        process, or only what is left of one that its parent has not yet waited for.
    """
    if sys.platform == "linux":
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            # Without /proc, in a chroot say, the processes that live are missing there too.
            return None if os.path.exists("/proc/self/stat") else _answers(pid)  # noqa: PTH110
        except OSError:
            return 0
        # The second field is the program's name in parentheses, and may hold anything.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    else:  # noqa: RET505  (so that mypy sees which half belongs to which system)
        return _answers(pid)


def _answers(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0
