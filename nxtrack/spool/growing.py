"""Owns payloads that were written piece by piece: what they are is found out once they are whole.

json            an object or an array; an array that is an output is put under `solution`, as other values are
text            any other UTF-8
multi-file      a `.tar.gz`, as it is; and bytes that are neither, as the one file of such an archive, as no other
                format carries them unchanged

A format that was asked for wins where the bytes allow it.
"""

from __future__ import annotations

import codecs
import gzip
import mmap
import os
import tarfile
import zlib
from contextlib import suppress
from typing import IO, TYPE_CHECKING, BinaryIO, Final, Literal, NamedTuple, TypeVar, cast
from zlib import crc32

import msgspec

from nxtrack.spool import system
from nxtrack.spool.layout import open_file
from nxtrack.spool.records import ARCHIVES, Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.spool.layout import Layout
    from nxtrack.spool.records import Form, Input

P = TypeVar("P", bound="Input | Output")

LARGEST_CHECKED: Final = 64 * 1024 * 1024
"""Bytes up to which JSON is read through to be called so; of more, its first and last bytes and its first line tell."""

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20
_BLANK = b" \t\r\n"
_CONTAINERS = {b"{": b"}", b"[": b"]"}
_SOLUTION = b'{"solution":', b"}"

Kind = Literal["object", "array", "scalar", "text", "archive", "bytes"]


class _Shape(NamedTuple):
    """What becomes of a payload: its format, how it is wrapped, and what is to be noted."""

    form: Form
    wrap: Literal["", "archive", "solution"] = ""
    note: str = ""


def settle(paths: Layout, record: P, *, inner: str = "") -> P:
    """Returns the final record of a payload whose bytes stand in a sidecar; of an empty one, with a size of 0.

    Args:
        paths: The spool's.
        record: What names the sidecar, and the format that is wished.
        inner: What the file is called inside of an archive that it has to become; by default after the record.

    Raises:
        OSError: It cannot be read, or what it has to become cannot be written.
    """
    assert record.file is not None
    path = paths.payload(record.file)
    size, crc = _measured(path)
    if not size:
        return msgspec.structs.replace(record, growing=False, size=0, crc=0)
    shape = _shape(kind_of(path, size), record.wished, is_output=isinstance(record, Output))
    file = record.file
    if shape.wrap:
        file = f"{file}.{'tar.gz' if shape.wrap == 'archive' else 'json'}"
        name = inner or ("output" if isinstance(record, Output) else "input")
        _wrap(path, size, paths.payload(file), None if shape.wrap == "solution" else name)
        size, crc = _measured(paths.payload(file))
    notes = (*record.notes, shape.note) if shape.note else record.notes
    return msgspec.structs.replace(
        record, growing=False, wished=None, file=file, form=shape.form, size=size, crc=crc, notes=notes
    )


def _shape(kind: Kind, wished: Form | None, *, is_output: bool) -> _Shape:
    if wished in ARCHIVES:
        return _Shape(wished, "" if kind == "archive" else "archive")
    note = f"It was to be {wished}, which it is not." if wished else ""
    match kind:
        case "archive":
            return _Shape("multi-file", "", note)
        case "bytes":
            return _Shape("multi-file", "archive", note)
        case "text":
            return _Shape("text", "", note if wished == "json" else "")
        case "scalar":
            return _Shape("json", "solution" if is_output else "") if wished == "json" else _Shape("text")
        case "object" | "array":
            if wished == "text":
                return _Shape("text")
    return _Shape("json", "solution" if is_output and kind == "array" else "")


def kind_of(path: str, size: int) -> Kind:
    """Says what a file's first `size` bytes are.

    Raises:
        OSError: It cannot be read.
    """
    with _opened(path) as file:
        head = file.read(1 << 16).lstrip(_BLANK)
        if head.startswith(_GZIP):
            return "archive" if _is_tar(path) else "bytes"
        if not _is_utf8(file, size):
            return "bytes"
        if size > LARGEST_CHECKED:
            return _kind_by_its_looks(file, size)
        # Mapped, not read: what stands on the disk need not stand in memory a second time.
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
            if not _is_json(content):
                return "text"
        return {b"{": "object", b"[": "array"}.get(head[:1], "scalar")  # type: ignore[return-value]


def _kind_by_its_looks(file: BinaryIO, size: int) -> Kind:
    file.seek(0)
    first_line = file.readline(_PIECE)
    opening = first_line.lstrip(_BLANK)[:1]
    tail = min(size, 1 << 12)
    file.seek(size - tail)
    if file.read(tail).rstrip(_BLANK)[-1:] != _CONTAINERS.get(opening):
        return "text"
    if len(first_line) < size and first_line.endswith(b"\n") and _is_json(first_line):
        return "text"  # A document in each line: together they are none.
    return "object" if opening == b"{" else "array"


def _is_json(content: bytes | mmap.mmap) -> bool:
    try:
        msgspec.json.decode(cast("bytes", content), type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def _is_utf8(file: BinaryIO, size: int) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in _pieces(file, size):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_tar(path: str) -> bool:
    try:
        with _opened(path) as file, tarfile.open(fileobj=file, mode="r:gz") as archive:
            return archive.next() is not None
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, RecursionError):
        return False


def _wrap(path: str, size: int, to: str, name: str | None) -> None:
    """Writes a file's first `size` bytes as the only file of an archive; without a name, as a solution."""
    with _opened(path) as file, _new(to) as target:
        if name is None:
            target.write(_SOLUTION[0])
            for piece in _pieces(file, size):
                target.write(piece)
            target.write(_SOLUTION[1])
            return
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=6, mtime=0) as squeezed,
            tarfile.open(fileobj=cast("IO[bytes]", squeezed), mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = size, 0o644
            archive.addfile(entry, file)


def _new(path: str) -> BinaryIO:
    with suppress(FileNotFoundError):  # It is there when a recovery died right after it had made it.
        os.unlink(path)  # noqa: PTH108
    return os.fdopen(os.open(path, system.CREATE, 0o600), "wb")


def _measured(path: str) -> tuple[int, int]:
    size = crc = 0
    with _opened(path) as file:
        for piece in _pieces(file):
            size, crc = size + len(piece), crc32(piece, crc)
    return size, crc


def _opened(path: str) -> BinaryIO:
    return os.fdopen(open_file(path, system.READ), "rb")


def _pieces(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """Yields what a file holds from its start, or its first bytes."""
    file.seek(0)
    left = size
    while piece := file.read(_PIECE if left is None else min(_PIECE, left)):
        if left is not None:
            left -= len(piece)
        yield piece
