"""Owns the count of runs that could not be recorded.

The count has a fixed width and is overwritten in place, so that it can still be written when the disk is full.
"""

from __future__ import annotations

import os
import threading
import time

from nxtrack.spool import system

_WIDTH = 20
_PATIENCE_MS = 20
_lock = threading.Lock()
_unwritten: dict[str, int] = {}


def _path(root: str) -> str:
    return f"{root}{os.sep}lost"


def prepare(root: str) -> None:
    """Makes the counter while there is room for it.

    Raises:
        OSError: It cannot be made.
    """
    try:
        descriptor = os.open(_path(root), system.CREATE & ~os.O_APPEND, 0o600)
    except FileExistsError:
        return
    try:
        os.write(descriptor, b"0".zfill(_WIDTH))
    finally:
        os.close(descriptor)


def add(root: str, number: int = 1, *, create: bool = False) -> int:
    """Counts lost runs; where the counter cannot be written they are remembered until it can.

    Args:
        root: The spool's folder.
        number: How many were lost; 0 only writes down what is remembered.
        create: Make the counter if it is not there; only in a spool that was found to be our own.

    Returns:
        How many runs of this spool are lost in all, as far as can be told.
    """
    with _lock:
        waiting = _unwritten.get(root, 0) + number
        try:
            total = _write(root, waiting, create=create) if waiting else read(root)
        except OSError:
            _unwritten[root] = waiting
            return waiting
        _unwritten.pop(root, None)
        return total


def remembered(root: str) -> bool:
    """Says whether this process has lost runs that the counter does not tell yet."""
    return root in _unwritten


def read(root: str) -> int:
    """Returns how many runs could not be recorded, as the counter tells."""
    try:
        with open(_path(root), "rb") as file:  # noqa: PTH123
            return int(file.read(_WIDTH) or 0)
    except (OSError, ValueError):
        return 0


def _write(root: str, number: int, *, create: bool) -> int:
    flags = system.READ_APPEND & ~os.O_APPEND | (os.O_CREAT if create else 0)
    descriptor = os.open(_path(root), flags, 0o600)
    try:
        for _ in range(_PATIENCE_MS):
            if system.try_lock(descriptor):
                break
            time.sleep(0.001)
        text = os.read(descriptor, _WIDTH)
        total = (int(text) if text.isdigit() else 0) + number
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"%020d" % total)
        return total
    finally:
        os.close(descriptor)


def forget() -> None:
    """Lets a forked child start from nothing: what the parent lost the parent counts, and its lock may be held."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _unwritten.clear()
