"""Owns the frames of a run's file: each `crc32-hex, space, one JSON line`, written by one `write()`.

The checksum of a frame goes on from that of the frame before it, so a frame that is missing, doubled or another run's
shows like one that was changed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zlib import crc32

import msgspec

from nxtrack.spool.records import AnyRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyRecord).decode

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
    frames: list[bytes] = []
    for record in records:
        try:
            body = _encode(record)
        except UnicodeEncodeError:
            # Text that JSON cannot carry, such as a file name of unusual bytes in an error message.
            body = _encode(_speakable(record))
        checksum = crc32(body, checksum)
        frames.append(b"%08x %b\n" % (checksum, body))
    return b"".join(frames), checksum


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
