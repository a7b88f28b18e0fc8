"""Owns the bytes of a run as they will be uploaded: its input, output and logs, checked before they are used."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO
from zlib import crc32

import msgspec

from nxtrack.errors import RunCorrupt
from nxtrack.spool import system

if TYPE_CHECKING:
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import Artefact, Payload


class Source:
    """Bytes to upload, opened when they are needed so that waiting runs hold no files open.

    Attributes:
        size: How many bytes.
    """

    __slots__ = ("_data", "_path", "size")

    def __init__(self, *, data: bytes = b"", path: str = "", size: int | None = None) -> None:
        """Takes bytes, or the path of a file and how many of its bytes count."""
        self._data = data
        self._path = path
        self.size = len(data) if size is None else size

    def open(self) -> BinaryIO:
        """Opens the bytes for reading.

        Raises:
            RunCorrupt: The file is gone.
        """
        if not self._path:
            return io.BytesIO(self._data)
        try:
            return os.fdopen(os.open(self._path, system.READ), "rb")
        except OSError as error:
            raise RunCorrupt(f"{os.path.basename(self._path)} is gone from the spool.") from error  # noqa: PTH119

    def read(self) -> bytes:
        """Returns all bytes."""
        with self.open() as file:
            return file.read(self.size)


def artefact(paths: Layout, run: RunRecord, kind: Artefact) -> Source | None:
    """Returns one artefact of a run, or None when the run has none of the kind.

    Raises:
        RunCorrupt: Its bytes are not what was recorded.
    """
    if kind == "logs":
        return _log(paths, run.start.id)
    record = run.input if kind == "input" else run.output
    if record is not None:
        return _payload(paths, run.start.id, record)
    return _from_pieces(run) if kind == "output" else None


def _log(paths: Layout, run_id: str) -> Source | None:
    path = paths.log(run_id)
    try:
        size = os.lstat(path).st_size
    except FileNotFoundError:
        return None
    return Source(path=path, size=size) if size else None


def _payload(paths: Layout, run_id: str, record: Payload) -> Source:
    if record.file is None:
        if isinstance(record.data, msgspec.UnsetType):
            raise RunCorrupt(f"Run {run_id} is damaged: a payload is missing.")
        return Source(data=bytes(record.data))
    if os.path.basename(record.file) != record.file or not record.file.startswith(run_id):  # noqa: PTH119
        raise RunCorrupt(f"Run {run_id} is damaged: it names a payload that is not its own.")
    source = Source(path=paths.payload(record.file), size=record.size)
    seen = checksum = 0
    with source.open() as file:
        while chunk := file.read(1 << 20):
            seen += len(chunk)
            checksum = crc32(chunk, checksum)
    if (seen, checksum) != (record.size, record.crc):
        raise RunCorrupt(f"Run {run_id} is damaged: {record.file} does not match its checksum.")
    return source


def _from_pieces(run: RunRecord) -> Source | None:
    """Puts together what a run that never returned had logged: its last metrics, and its assets."""
    pieces: dict[str, object] = {}
    if run.metrics:
        pieces["metrics"] = {metric.name: metric.value for metric in run.metrics}
    if run.assets:
        pieces["assets"] = run.assets
    return Source(data=msgspec.json.encode(pieces)) if pieces else None
