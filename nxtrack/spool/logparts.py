"""Owns the reading of a log of which only head and tail may be kept: what it holds, in parts and line by line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from zlib import crc32

from nxtrack.spool.records import Logged

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 16
_STEP = 1 << 20
"""Bytes of a line without end, and of a checksum, that are read at once."""
_NEAR = 4096
"""Bytes within which the end of a line is looked for where a log is cut."""


def kept(size: int, most: int | None, beyond: int = 0) -> tuple[int, int]:
    """Returns what is kept of a log.

    Args:
        size: Its bytes.
        most: How many may be kept; None for all.
        beyond: Bytes at its end that are kept besides.

    Returns:
        Bytes of its head, and of its tail.
    """
    if most is None or size - beyond <= most:
        return size, 0
    head = most // 2
    return head, most - head + beyond


def ends(descriptor: int, part: int, most: int | None, beyond: int = 0) -> bytes:
    """Returns what an open log holds; of a long one the first and the last `part` bytes, on lines of their own.

    Raises:
        OSError: It cannot be read.
    """
    size = os.fstat(descriptor).st_size
    head, tail = kept(size, most, beyond)
    if size <= 2 * part and not tail:
        return _read(descriptor, 0, size)
    tail = min(tail or part, part)
    return _read(descriptor, 0, min(head, part)) + b"\n" + _read(descriptor, size - tail, size)


def summary(descriptor: int, most: int | None, beyond: int = 0) -> Logged | None:
    """Returns what an open log holds, or None when that is nothing; see `kept`.

    Raises:
        OSError: It cannot be read.
    """
    size = os.fstat(descriptor).st_size
    if not size:
        return None
    head, tail = kept(size, most, beyond)
    if not tail:
        return Logged(size=size, crc=_checksum(descriptor, [(0, size)]))
    near = max(0, head - _NEAR)
    head = near + _read(descriptor, near, head).rfind(b"\n") + 1 if near else head
    begin = size - tail
    begin += _read(descriptor, begin, min(size, begin + _NEAR)).find(b"\n") + 1
    return Logged(size=size, crc=_checksum(descriptor, [(0, head), (begin, size)]), head=head, cut=begin - head)


def _read(descriptor: int, begin: int, end: int) -> bytes:
    os.lseek(descriptor, begin, os.SEEK_SET)
    return os.read(descriptor, end - begin)  # All of it: a file gives what it has.


def _checksum(descriptor: int, parts: list[tuple[int, int]]) -> int:
    crc = 0
    for begin, end in parts:
        os.lseek(descriptor, begin, os.SEEK_SET)
        left = end - begin
        while left and (chunk := os.read(descriptor, min(left, _STEP))):
            left, crc = left - len(chunk), crc32(chunk, crc)
    return crc


def lines_of(descriptor: int, most: int | None, beyond: int = 0) -> Iterator[bytes]:
    """Yields what is kept of an open log in pieces of whole lines; see `kept`.

    Raises:
        OSError: It cannot be read.
    """
    found = summary(descriptor, most, beyond)
    if found is None:
        return
    parts = [(0, found.head), (found.head + found.cut, found.size)] if found.cut else [(0, found.size)]
    rest = b""
    for begin, end in parts:
        place = begin
        while place < end:
            os.lseek(descriptor, place, os.SEEK_SET)
            chunk = os.read(descriptor, min(_CHUNK, end - place))
            if not chunk:
                break
            place += len(chunk)
            text = rest + chunk
            whole = len(text) if len(text) > _STEP else text.rfind(b"\n") + 1
            rest = text[whole:]
            if whole:
                yield text[:whole]
        if end == found.head:
            yield rest + left_out(found.cut)
            rest = b""
    if rest:
        yield rest


def left_out(size: int) -> bytes:
    """Returns the line that stands where a log was cut."""
    return f"[nxtrack: bytes of the log that are left out here: {size:,}]\n".encode()
