"""Owns the bytes of a run as they will be uploaded: its input, output and logs, checked before they are used."""

from __future__ import annotations

import codecs
import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO
from zlib import crc32

import msgspec

from nxtrack.errors import RunCorrupt, SpoolUnavailable
from nxtrack.spool import system
from nxtrack.spool.layout import NO_FILE, reason

if TYPE_CHECKING:
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import Artefact, Payload


class Source:
    """Bytes to upload, opened when they are needed so that waiting runs hold no files open.

    Attributes:
        size: How many bytes.
    """

    __slots__ = ("_data", "_path", "_repair", "size")

    def __init__(self, *, data: bytes = b"", path: str = "", size: int | None = None, repair: bool = False) -> None:
        """Takes bytes, or the path of a file, how many bytes it gives, and whether it must be made UTF-8 first."""
        self._data = data
        self._path = path
        self._repair = repair
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
        return io.BufferedReader(_Repaired(file)) if self._repair else file

    def read(self) -> bytes:
        """Returns all bytes."""
        with self.open() as file:
            return file.read(self.size)


class _Repaired(io.RawIOBase):
    r"""A text file as UTF-8, whatever bytes it holds: those that are none are escaped, as in `\xff`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = b"more"
        while chunk and not self._rest:
            chunk = self._file.read(1 << 16)
            self._rest = memoryview(self._decoder.decode(chunk, final=not chunk).encode())
        number = min(len(buffer), len(self._rest))
        buffer[:number] = self._rest[:number]
        self._rest = self._rest[number:]
        return number

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_no_link(path: str, _flags: int) -> int:
    return os.open(path, system.READ)


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
    if not size:
        return None
    log = Source(path=path, size=size)
    return log if _is_utf8(log) else Source(path=path, size=_length(Source(path=path, repair=True)), repair=True)


def _is_utf8(log: Source) -> bool:
    """Says whether a log may be uploaded as it is: the platform takes no other text ("Track runs", logs)."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with log.open() as file:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _length(source: Source) -> int:
    with source.open() as file:
        return sum(len(chunk) for chunk in iter(lambda: file.read(1 << 20), b""))


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
