"""File systems of a trial's own, which can be filled, made read-only, or cut off as by a power cut."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 4096
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_DETACH = 2
_NEW_MOUNTS = 0x00020000
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
LOGFLUSH, NOLOGFLUSH = 1, 2


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), data.encode())


@functools.cache
def needs_mounts() -> str:
    """Says why no file system can be mounted here, or "". Asks by trying, as a container's root may not."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "only Linux has these file systems"
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return "mounting needs root" if tried.returncode else ""


def needs_disks() -> str:
    """Says why no ext4 of our own can be mounted here, or ""."""
    if told := needs_mounts():
        return told
    if shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4 is not installed"
    return "" if os.path.exists("/dev/loop-control") else "there are no loop devices"


@contextmanager
def tmpfs(folder: Path, size: int, inodes: int = 0) -> Iterator[Path]:
    """Mounts a tmpfs of so many bytes, and so many inodes if it is to be short of them."""
    folder.mkdir()
    _mount("tmpfs", str(folder), "tmpfs", 0, f"size={size},nr_inodes={inodes},mode=700")
    try:
        yield folder
    finally:
        _call("umount2", str(folder).encode(), _DETACH)


def make_read_only(folder: str | Path, *, yes: bool = True) -> None:
    """Remounts a tmpfs read-only, or writable again; only while no file of it is open for writing."""
    _mount("tmpfs", str(folder), "tmpfs", _REMOUNT | (_READ_ONLY if yes else 0))


def room(folder: str | Path) -> int:
    """Returns how many bytes a file system still takes."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(folder: str | Path, left: int, name: str = "filler") -> bool:
    """Fills a file system so that `left` bytes are left; returns whether there was something to take."""
    with open(os.path.join(folder, name), "ab") as file:
        while (taken := room(folder) - left) > 0:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, taken)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                continue  # Somebody else took some of it meanwhile.
            return True
    return False


def take_inodes(folder: str | Path, left: int) -> None:
    """Makes empty files until `left` more can be made."""
    for number in range(os.statvfs(folder).f_ffree - left):
        with open(os.path.join(folder, f"filler-{number}"), "wb"):
            pass


def unshare() -> None:
    """Gives this process mounts of its own, which nobody else sees and which go with it."""
    _call("unshare", _NEW_MOUNTS)
    _mount("none", "/", None, _RECURSIVE | _PRIVATE)


def show_as(folder: str, place: str) -> None:
    """Makes a folder appear at another place too, in this process and those it starts; see `unshare`."""
    _mount(folder, place, None, _BIND)


class Disk:
    """An ext4 in a file, on a loop device. What was written through survives a cut, the rest does not.

    Attributes:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the file, in a folder of the trial's; the first one is kept as the pattern of all later ones."""
        pattern = folder.parent / "pattern.ext4"
        if not pattern.exists():
            quick = ("-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-J", "size=4", "-m", "0")
            make = ["mkfs.ext4", "-q", "-F", "-b", str(PAGE), *quick, str(pattern), "32M"]
            subprocess.run(make, check=True, capture_output=True)
        self._image = folder / "disk.ext4"
        subprocess.run(["cp", "--sparse=always", pattern, self._image], check=True)
        self.folder = folder / "disk"
        self.folder.mkdir()

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mounts it; after a cut its journal is replayed, as after the real thing."""
        run = subprocess.run(
            ["mount", "-o", "loop", self._image, self.folder], capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise OSError(f"mount: {run.stderr}")
        try:
            yield self.folder
        finally:
            self._unmount()

    def _unmount(self) -> None:
        patience = time.monotonic() + 10
        while subprocess.run(["umount", self.folder], capture_output=True, check=False).returncode:
            if time.monotonic() > patience:
                subprocess.run(["umount", "-l", self.folder], check=True)
                raise OSError(f"{self.folder} is still in use")
            time.sleep(0.01)

    def cut(self, how: int = NOLOGFLUSH) -> None:
        """See `cut`."""
        cut(self.folder, how)

    def abort(self) -> None:
        """See `abort`."""
        abort(self.folder)


def cut(folder: str | Path, how: int = NOLOGFLUSH) -> None:
    """Cuts an ext4 off, as a power cut does: from now on every call fails, and what is in memory never gets there.

    An fsync that returned before is true; one that meets the cut, here or in `abort`, may tell of success all the same,
    so nobody may be in the middle of one and live on.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, how.to_bytes(4, sys.byteorder))
    finally:
        os.close(descriptor)


def abort(folder: str | Path) -> None:
    """Has the kernel stop writing, as after a fault of the disk: read-only, even with files open for writing."""
    subprocess.run(["mount", "-o", "remount,abort,errors=remount-ro", folder], check=True, capture_output=True)
