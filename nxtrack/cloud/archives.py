"""Owns folders as one payload: a `.tar.gz` made of one, and one unpacked without trusting it.

The formats `csv-archive` and `multi-file` are such archives, with paths relative to the folder (SDK 1.13). They hold
regular files and folders, and nothing else: no links, whatever they lead to, and no devices. So nothing that is
unpacked can lead what comes later out of its folder.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import secrets
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, cast

from nxtrack.errors import ArchiveRefused, TooLarge

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

UNPACKED_LIMIT: Final = 2_000_000_000
"""Bytes that the files of an archive may have together, unless a call says otherwise."""

FILES_LIMIT: Final = 10_000
"""Files and folders that an archive may hold, unless a call says otherwise."""

_DEPTH = 32
# Longer than any header that holds a path: tarfile would read what asks for more at once into the memory.
_PIECE = 2**16
# What tar adds to a file is a header of 512 bytes with its padding, and for odd names a few more blocks.
_OVERHEAD = 16 * 512
# Escapes for terminals, and what Windows reads as a drive, another folder, a stream or a pattern.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]' if os.name == "nt" else r"[\x00-\x1f\x7f]")
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError, RecursionError)
# In a folder that is new, these are the archive's doing.
_ITS_FAULT = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})


def pack(folder: str | os.PathLike[str], to: BinaryIO, *, limit: int) -> None:
    """Writes a folder's files as a `.tar.gz`, the same bytes for the same names and contents.

    Args:
        folder: The folder. A symbolic link in it to one of its files counts as a file; no other may be there.
        to: Where to write; what it holds when this raises is of no use.
        limit: Bytes that the archive may have.

    Raises:
        ArchiveRefused: The folder holds what is neither a file nor a folder, or a link out of it; or a file changed.
        TooLarge: The archive would have more bytes than `limit`.
        OSError: Something cannot be read or written.
    """
    root = Path(os.path.realpath(folder, strict=True))
    bounded = _Writing(to, limit, str(folder))
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=cast("IO[bytes]", bounded), compresslevel=6, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _below(root):
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
                continue
            with path.open("rb") as file:
                entry.size, entry.mode = os.fstat(file.fileno()).st_size, 0o644
                try:
                    archive.addfile(entry, file)
                except tarfile.ReadError as error:
                    raise ArchiveRefused(f"{path} became shorter while it was packed: nothing was packed.") from error


def _below(root: Path) -> Iterator[Path]:
    """Yields what is in a folder, by name, each folder before what is in it."""
    folders = [root]
    while folders:
        folder = folders.pop()
        inner: list[Path] = []
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                real = Path(os.path.realpath(path))
                if not (real.is_relative_to(root) and real.is_file()):
                    raise ArchiveRefused(f"{path} is a link that leads to no file of the folder: nothing was packed.")
            elif path.is_dir():
                inner.append(path)
            elif not path.is_file():
                raise ArchiveRefused(f"{path} is neither a file nor a folder: nothing was packed.")
            yield path
        folders += reversed(inner)


class _Writing:
    """A file that takes so many bytes and no more."""

    def __init__(self, file: BinaryIO, limit: int, what: str) -> None:
        self._file = file
        self._limit = limit
        self._what = what
        self._done = 0

    def write(self, data: bytes) -> int:
        self._done += len(data)
        if self._done > self._limit:
            raise TooLarge(
                f"{self._what} makes an archive of more than the {self._limit} bytes that may be uploaded: nothing was "
                "sent.",
                size=self._done,
                limit=self._limit,
            )
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def unpack(
    archive: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    limit: int | None = None,
    files: int = FILES_LIMIT,
    what: str | None = None,
) -> None:
    """Unpacks a `.tar.gz` into a new folder: all of it, or nothing.

    Args:
        archive: The archive's path.
        to: The folder to make. One that is empty may be there.
        limit: Bytes that its files may have together; `UNPACKED_LIMIT` by default.
        files: How many files and folders there may be.
        what: What the archive is, as a sentence begins; by default its path.

    Raises:
        ArchiveRefused: It is damaged, or holds a path out of the folder, a link, a device, one name twice, or too many
            files.
        TooLarge: Its files have more bytes than `limit`.
        OSError: The folder is there and not empty, or cannot be written.
    """
    name = what or os.fspath(archive)
    bound = UNPACKED_LIMIT if limit is None else limit
    with _beside(Path(os.path.realpath(to))) as folder, open(archive, "rb") as file:  # noqa: PTH123
        why = ""
        try:
            with gzip.GzipFile(fileobj=file) as plain:
                _Unpacking(folder, name, bound, files).take(_Reading(plain, name, bound, bound + files * _OVERHEAD))
        except ArchiveRefused:
            raise
        except _DAMAGED as error:
            why = f"it is damaged, or no .tar.gz at all ({type(error).__name__})"
        except OSError as error:
            if error.errno not in _ITS_FAULT:
                raise
            why = f"two of its names exclude each other, or one cannot be used here ({error.strerror})"
        if why:
            raise ArchiveRefused(f"{name} was not unpacked: {why}.")


@contextlib.contextmanager
def _beside(target: Path) -> Generator[Path]:
    """Gives a folder that gets its name when the block ends well, and is gone when it does not."""
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(target))
    part = target.with_name(f".nxtrack-{secrets.token_hex(8)}.part")
    part.mkdir()
    try:
        yield part
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


class _Unpacking:
    """One archive on its way into a folder, and what of it is there."""

    def __init__(self, folder: Path, name: str, limit: int, files: int) -> None:
        self._folder = folder
        self._name = name
        self._limit = limit
        self._files = files
        self._size = 0
        self._entries = 0
        self._folders: set[tuple[str, ...]] = set()

    def take(self, plain: _Reading) -> None:
        """Unpacks all of it."""
        with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="r:") as archive:
            while (member := archive.next()) is not None:
                self._one(archive, member)
                # What tarfile remembers of each member is for who comes back to it.
                remembered: Any = archive
                remembered.members.clear()
                remembered.pax_headers.clear()
        while plain.read(_PIECE):
            pass  # The checksum stands at the very end.

    def _one(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = PurePosixPath(member.name)
        parts = path.parts
        if path.is_absolute() or ".." in parts or len(parts) > _DEPTH or _FORBIDDEN.search(member.name):
            raise self._refusal(f"it holds the path {member.name[:200]!r}")
        if member.isdir():
            self._make(parts)
        elif member.isreg() and not member.issparse() and parts:
            self._size += member.size
            if self._size > self._limit:
                raise _too_large(self._name, self._size, self._limit)
            self._make(parts[:-1])
            self._count()
            source = archive.extractfile(member)
            assert source is not None
            with source, self._folder.joinpath(*parts).open("xb") as file:
                shutil.copyfileobj(source, file, _PIECE)
        else:
            raise self._refusal(f"{member.name[:200]!r} is neither a file nor a folder")

    def _make(self, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            if parts[:depth] not in self._folders:
                self._count()
                self._folder.joinpath(*parts[:depth]).mkdir()
                self._folders.add(parts[:depth])

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._files:
            raise self._refusal(f"it holds more than {self._files} files and folders")

    def _refusal(self, why: str) -> ArchiveRefused:
        return ArchiveRefused(f"{self._name} was not unpacked: {why}.")


class _Reading:
    """What an archive holds, decompressed, as tarfile reads it: with a bound on all of it, and on each piece."""

    def __init__(self, file: gzip.GzipFile, name: str, limit: int, most: int) -> None:
        self._file = file
        self._name = name
        self._limit = limit
        self._most = most

    def read(self, size: int = -1) -> bytes:
        """Reads some bytes."""
        if not 0 <= size <= _PIECE:
            raise tarfile.ReadError("a header that is too long")
        data = self._file.read(size)
        if self._file.tell() > self._most:
            raise _too_large(self._name, self._file.tell(), self._limit)
        return data

    def tell(self) -> int:
        """Tells where it is."""
        return self._file.tell()

    def seek(self, place: int) -> int:
        """Goes on, never back."""
        if place < self._file.tell():
            raise tarfile.ReadError("a header that leads back")
        while (left := place - self._file.tell()) and self.read(min(left, _PIECE)):
            pass
        return self._file.tell()


def _too_large(name: str, size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"{name} was not unpacked: its files have more than {limit} bytes, the most that they may have.",
        size=size,
        limit=limit,
    )
