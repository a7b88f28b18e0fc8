"""Owns the count of runs that could not be recorded."""

from __future__ import annotations

import os
import threading

from nxtrack.spool import counter

_lock = threading.Lock()
_unwritten: dict[str, int] = {}


def _path(root: str) -> str:
    return f"{root}{os.sep}lost"


def prepare(root: str) -> None:
    """Makes the counter while there is room for it.

    Raises:
        OSError: It cannot be made.
    """
    counter.prepare(_path(root))


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
            total = counter.add(_path(root), waiting, create=create) if waiting else read(root)
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
    return counter.read(_path(root)) or 0


def forget() -> None:
    """Lets a forked child start from nothing: what the parent lost the parent counts, and its lock may be held."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _unwritten.clear()
