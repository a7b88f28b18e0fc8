"""Owns the frames of a run's file: each `crc32-hex, space, one JSON line`, written by one `write()`.

The checksum of a frame goes on from that of the frame before it, so a frame that is missing, doubled or another run's
shows like one that was changed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zlib import crc32

import msgspec

from nxtrack.spool.records import AnyRecord, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyRecord).decode

_LARGE = 16 * 1024
"""Bytes from which to copy a payload, or to put pieces together, takes longer than to do without."""

_MOST_PIECES = 64
"""The system takes 1024 at least."""

_writev: Any = getattr(os, "writev", None)  # There is none on Windows.

_HOLE = msgspec.Raw(b"0")
_HOLE_SHOWN = b'"data":0'

_DEEPEST = 10_000
"""Levels to which values are encoded at most, whatever recursion limit the user's program has set."""


class Frames(NamedTuple):
    """What a file of frames holds.

    Attributes:
        records: The records of all sound frames, in order.
        sound: Bytes up to the end of the last whole line. What follows was torn: its writer died in the middle of
            its last `write()`, so what it was about to do it has not done.
        damaged: A whole line is no sound frame: something changed the file after it was written.
        newer: A sound frame holds a record that this version does not know.
        checksum: The last frame's, which the next one goes on from; 0 before the first.
    """

    records: list[AnyRecord]
    sound: int
    damaged: bool
    newer: bool = False
    checksum: int = 0


def encode(records: Iterable[AnyRecord], checksum: int = 0) -> tuple[bytes, int]:
    """Returns the frames of records, newlines included, and the last one's checksum.

    Args:
        records: What the frames shall hold.
        checksum: That of the frame that they follow.
    """
    parts, checksum = pieces(records, checksum)
    return b"".join(parts), checksum


def pieces(records: Iterable[AnyRecord], checksum: int = 0) -> tuple[list[bytes | memoryview], int]:
    """Returns the same in pieces, one after the other, so that a large payload is not copied.

    Args:
        records: What the frames shall hold.
        checksum: That of the frame that they follow.
    """
    found: list[bytes | memoryview] = []
    for record in records:
        if isinstance(record, Payload) and isinstance(record.data, msgspec.Raw):
            payload = memoryview(record.data)
            if payload.nbytes >= _LARGE:
                around = _encode(_speakable(type(record)(data=_HOLE, notes=record.notes)))
                before, _, after = around.partition(_HOLE_SHOWN)
                before += _HOLE_SHOWN[:-1]
                checksum = crc32(after, crc32(payload, crc32(before, checksum)))
                found += (b"%08x %b" % (checksum, before), payload, after + b"\n")
                continue
        try:
            body = _encode(record)
        except UnicodeEncodeError:
            # Text that JSON cannot carry, such as a file name of unusual bytes in an error message.
            body = _encode(_speakable(record))
        checksum = crc32(body, checksum)
        found.append(b"%08x %b\n" % (checksum, body))
    return found, checksum


def append_whole(descriptor: int, *pieces: bytes | memoryview) -> int:
    """Writes frames at the end of a run's file, all of them or nothing; nobody else may write to it meanwhile.

    What is torn in the middle of a file would look like damage once more follows it.

    Args:
        descriptor: The open file.
        *pieces: The frames, in pieces that are written by one call of the system.

    Returns:
        How many bytes they have.

    Raises:
        OSError: They could not be written; the file stands as before.
    """
    size = sum(map(len, pieces))
    written = 0
    try:
        if size > _LARGE and len(pieces) < _MOST_PIECES and _writev is not None:
            written = _writev(descriptor, pieces)
        if written < size:
            data = b"".join(pieces)
            while written < size:
                written += os.write(descriptor, data[written:] if written else data)
    except OSError:
        if written:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise
    return size


def decode(content: bytes) -> Frames:
    """Reads all frames of a file's content. Never raises: what is not sound, or not known, is skipped and told."""
    sound = content.rfind(b"\n") + 1
    records: list[AnyRecord] = []
    damaged = newer = False
    checksum = 0
    for line in content[:sound].split(b"\n")[:-1]:
        if not _is_sound(line, checksum):
            damaged = True
            continue
        checksum = crc32(line[9:], checksum)
        try:
            records.append(_record(line[9:]))
        except RecursionError:
            damaged = True
        except (msgspec.MsgspecError, UnicodeDecodeError):
            newer = True
    # A last frame that is whole but for its newline was not torn: what it announced may have been done.
    torn = content[sound:]
    damaged = damaged or _is_sound(torn, checksum) or _is_sound(torn[:-1], checksum)
    return Frames(records, sound, damaged, newer, checksum)


def _is_sound(line: bytes, checksum: int) -> bool:
    return line[8:9] == b" " and b"%08x" % crc32(line[9:], checksum) == line[:8]


def _record(body: bytes) -> AnyRecord:
    try:
        record: AnyRecord = _decode(body)
    except RecursionError:
        return _deep_record(body)
    return record


def _deep_record(body: bytes) -> AnyRecord:
    """Reads what was written from a shallower stack than ours: an input nested nearly as deep as Python allows."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _DEEPEST)
    try:
        record: AnyRecord = _decode(body)
    finally:
        sys.setrecursionlimit(limit)
    return record


def _speakable(value: Any) -> Any:
    """Returns a record, or a part of one, with lone surrogates in its texts escaped."""
    match value:
        case str():
            # The text itself where it can be: what is a field's default is known by being the same object.
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        case tuple():
            return tuple(_speakable(part) for part in cast("tuple[object, ...]", value))
        case dict():
            return {_speakable(key): _speakable(part) for key, part in cast("dict[str, object]", value).items()}
        case msgspec.Struct():
            parts = {name: _speakable(getattr(value, name)) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **parts)
        case _:
            return value
