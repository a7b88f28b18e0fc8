"""Owns numbers that several processes count together: of a fixed width and overwritten in place.

So they can still be written when the disk is full.
"""

from __future__ import annotations

import os
import time

from nxtrack.spool import system
from nxtrack.spool.layout import open_file

_WIDTH = 20
_PATIENCE_MS = 20
_ACCESS = system.READ_APPEND & ~os.O_APPEND


def prepare(path: str) -> None:
    """Makes a counter, at 0, while there is room for it.

    Raises:
        OSError: It cannot be made.
    """
    try:
        descriptor = os.open(path, system.CREATE & ~os.O_APPEND, 0o600)
    except FileExistsError:
        return
    try:
        os.write(descriptor, b"0".zfill(_WIDTH))
    finally:
        os.close(descriptor)


def read(path: str) -> int | None:
    """Returns the number, or None when there is none that can be read."""
    try:
        descriptor = open_file(path, system.READ)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _WIDTH)
        return int(text) if text.isdigit() else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def add(path: str, number: int, *, create: bool = False) -> int:
    """Adds to the number, which begins at 0 where there is none; returns the sum.

    Raises:
        OSError: It cannot be written.
    """
    return _change(path, number, create=create, anew=False)


def put(path: str, number: int) -> None:
    """Sets the number.

    Raises:
        OSError: It cannot be written.
    """
    _change(path, number, create=True, anew=True)


def _change(path: str, number: int, *, create: bool, anew: bool) -> int:
    descriptor = open_file(path, _ACCESS | (os.O_CREAT if create else 0))
    try:
        for _ in range(_PATIENCE_MS):
            if system.try_lock(descriptor):
                break
            time.sleep(0.001)
        text = b"" if anew else os.read(descriptor, _WIDTH)
        total = (int(text) if text.isdigit() else 0) + number
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"%020d" % total)
        return total
    finally:
        os.close(descriptor)
