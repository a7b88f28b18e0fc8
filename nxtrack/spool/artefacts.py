"""Owns the bytes of a run as they will be uploaded: its input, output, logs and the rest, checked before their use."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, Literal
from zlib import crc32

import msgspec

from nxtrack.errors import RunCorrupt, SpoolUnavailable
from nxtrack.spool import captures, logparts, masks, system
from nxtrack.spool.layout import NO_FILE, open_file, reason
from nxtrack.spool.logtext import LogText, Part, readable
from nxtrack.spool.masks import NO_MASKS, Masks
from nxtrack.spool.pieces import Pieces
from nxtrack.spool.records import GREW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.spool.layout import Layout
    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import Artefact, Logged, Payload, Start


class Source:
    """Bytes to upload, opened when they are needed so that waiting runs hold no files open.

    Attributes:
        size: How many bytes.
    """

    __slots__ = ("_data", "_masks", "_parts", "_path", "_plain", "size")

    def __init__(
        self,
        *,
        data: bytes = b"",
        path: str = "",
        size: int | None = None,
        parts: tuple[Part, ...] = (),
        plain: bool = False,
        masked: Masks = NO_MASKS,
    ) -> None:
        """Takes bytes, or the path of a file, how many bytes it gives, and the parts that are made readable first."""
        self._data = data
        self._path = path
        self._parts = parts
        self._plain = plain
        self._masks = masked
        self.size = len(data) if size is None else size

    def open(self) -> BinaryIO:
        """Opens the bytes for reading.

        Raises:
            RunCorrupt: The file is gone.
            SpoolUnavailable: It cannot be opened now.
        """
        if not self._path:
            return io.BytesIO(self._data)
        try:
            file = open(self._path, "rb", opener=_open_no_link)  # noqa: SIM115  (whoever asked closes it)
        except OSError as error:
            name = os.path.basename(self._path)  # noqa: PTH119
            if error.errno in NO_FILE:
                raise RunCorrupt(f"{name} is gone from the spool.") from error
            raise SpoolUnavailable(f"{name} cannot be opened: {reason(error)}.") from error
        if not self._parts:
            return file
        text = readable(file, self._parts, plain=self._plain, mask=self._masks.text)
        return io.BufferedReader(LogText(text, file.close))

    def read(self) -> bytes:
        """Returns all bytes."""
        with self.open() as file:
            return file.read(self.size)


def _open_no_link(path: str, _flags: int) -> int:
    return open_file(path, system.READ)


def artefact(paths: Layout, run: RunRecord, kind: Artefact) -> Source | None:
    """Returns one artefact of a run, or None when the run has none of the kind.

    Raises:
        RunCorrupt: Its bytes are not what was recorded.
    """
    if kind == "logs":
        return _log(paths, run)
    if kind == "metrics" or kind == "assets":  # noqa: PLR1714  (so that type checkers see it)
        return _beside_output(run, kind)
    record = run.input if kind == "input" else run.output
    if record is not None and record.growing:
        return _so_far(paths, run.start.id, record)
    if record is not None and record.file is not None and not record.size:
        record = None
    if record is not None:
        return _payload(paths, run.start.id, record)
    return _from_pieces(run) if kind == "output" else None


def logged(paths: Layout, start: Start) -> Logged | None:
    """Returns what a run's log holds now, or None when it has none.

    Raises:
        RunCorrupt: It is no file.
        SpoolUnavailable: It cannot be opened now.
    """
    path = captures.path_of_log(paths, start)
    if not os.path.lexists(path):
        return None
    with Source(path=path).open() as file:
        return logparts.summary(file.fileno(), start.max_log)


def _log(paths: Layout, run: RunRecord) -> Source | None:
    start = run.start
    masked = NO_MASKS if run.logged else _masks(paths, start.id)
    known = run.logged or logged(paths, start)
    if known is None:
        return None
    if masked.instead:
        return Source(data=masked.instead)
    path = captures.path_of_log(paths, start)
    parts: tuple[Part, ...] = (Part(0, known.size),)
    if known.cut:
        parts = Part(0, known.head, known.cut), Part(known.head + known.cut, known.size)
    seen = checksum = 0
    with Source(path=path).open() as file:
        for part in parts:
            file.seek(part.begin)
            for chunk in _chunks(file, part.end - part.begin):
                seen, checksum = seen + len(chunk), crc32(chunk, checksum)
        if (seen, checksum) != (known.size - known.cut, known.crc):
            raise RunCorrupt(f"Run {start.id} is damaged: its log does not match its checksum.")
        # The platform takes no text but UTF-8 ("Track runs", logs), and people none that overwrites itself.
        length = sum(map(len, readable(file, parts, plain=start.plain, mask=masked.text)))
    return Source(path=path, size=length, parts=parts, plain=start.plain, masked=masked)


def _masks(paths: Layout, run_id: str) -> Masks:
    """Returns what is masked in the log of a run that did not end; looked for first, as they go when it is done."""
    try:
        return masks.find(paths, run_id)
    except OSError as error:
        raise SpoolUnavailable(f"The log of run {run_id} cannot be looked at: {reason(error)}.") from error


def _chunks(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """Yields what a file holds, or its first bytes."""
    left = sys.maxsize if size is None else size
    while left and (chunk := file.read(min(1 << 20, left))):
        left -= len(chunk)
        yield chunk


def _so_far(paths: Layout, run_id: str, record: Payload) -> Source | None:
    """Returns what there is of a payload while it is written."""
    path = paths.payload(_own(run_id, record))
    try:
        size = os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return None
    return Source(path=path, size=size) if size else None


def _own(run_id: str, record: Payload) -> str:
    assert record.file is not None
    if os.path.basename(record.file) != record.file or not record.file.startswith(run_id):  # noqa: PTH119
        raise RunCorrupt(f"Run {run_id} is damaged: it names a payload that is not its own.")
    return record.file


def _payload(paths: Layout, run_id: str, record: Payload) -> Source:
    if record.file is None:
        if isinstance(record.data, msgspec.UnsetType):
            raise RunCorrupt(f"Run {run_id} is damaged: a payload is missing.")
        return Source(data=bytes(record.data))
    name = _own(run_id, record)
    source = Source(path=paths.payload(name), size=record.size)
    seen = checksum = 0
    with source.open() as file:
        # What grew while its run did may have grown on: a program may outlive its run.
        for chunk in _chunks(file, record.size if name.endswith(GREW) else None):
            seen, checksum = seen + len(chunk), crc32(chunk, checksum)
    if (seen, checksum) != (record.size, record.crc):
        raise RunCorrupt(f"Run {run_id} is damaged: {record.file} does not match its checksum.")
    return source


def _beside_output(run: RunRecord, kind: Literal["metrics", "assets"]) -> Source | None:
    """Returns metrics or assets as they are uploaded by themselves: for an output that can hold none (SDK 1.13)."""
    if run.form("output") == "json":
        return None
    pieces = _pieces(run).joined(None)
    if kind not in pieces:
        return None
    return Source(data=msgspec.json.encode(pieces[kind] if kind == "metrics" else {kind: pieces[kind]}))


def _from_pieces(run: RunRecord) -> Source | None:
    """Puts together what a run that never returned had logged: its last metrics, their series, and its assets."""
    pieces = _pieces(run)
    return Source(data=msgspec.json.encode(pieces.joined(None))) if pieces else None


def _pieces(run: RunRecord) -> Pieces:
    pieces = Pieces()
    for metric in run.metrics:
        pieces.add_metric(metric.name, metric.value, metric.step)
    pieces.assets += run.assets
    return pieces
