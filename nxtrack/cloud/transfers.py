"""Owns how payloads move between files and the object store: in blocks, on after a break, whole or not at all.

A download goes on where it broke off (`Range`, RFC 9110, 14) when the store has named the version of the content by a
strong `ETag`, and names the same one with the part; else it begins anew. An upload cannot go on, as a presigned PUT
takes the whole: it is repeated, with a new URL, since a store that finds a URL expired often closes the connection
under the bytes that are still coming, which looks like any other break.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from nxtrack.cloud.retries import TRANSFER
from nxtrack.errors import AnswerLost, CloudError, Rejected, TooLarge, UploadExpired

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from contextlib import AbstractContextManager

    from nxtrack.cloud.client import Client
    from nxtrack.cloud.messages import UploadURL

Progress = Callable[[int, int | None], object]
"""Told how many bytes are through, and of how many (None: not known); the first falls when all begins anew."""

_PIECE = 2**18


class Sized(Protocol):
    """A payload to upload."""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        ...

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Gives it to read, from its beginning each time."""
        ...


def upload(
    client: Client,
    payload: Sized,
    *,
    ask: Callable[[], UploadURL],
    content_type: str = "application/json",
    progress: Progress | None = None,
) -> UploadURL:
    """Uploads a payload in constant memory, with its size told before its first byte.

    Args:
        client: The way to the store, and how patient to be.
        payload: What to upload.
        ask: Gives a presigned URL; asked anew for each try.
        content_type: The media type.
        progress: Told how far it is.

    Returns:
        The one of `ask`'s answers that holds the payload.

    Raises:
        CloudError: It could not be uploaded, and the store has nothing that a run could use.
        ValueError: The payload became shorter meanwhile.
        OSError: It cannot be read.
    """
    counter = _Counter(payload.size, progress)

    def once() -> UploadURL:
        place = ask()
        with payload.open() as file:
            counted = cast("BinaryIO", counter.counting(file))
            client.put(place.upload_url, counted, payload.size, content_type=content_type)
        return place

    return client.patience.repeat(once, TRANSFER, reached=lambda: counter.furthest)


class _Counter:
    """Tells how far an upload is, by what was read of its file.

    Attributes:
        furthest: Bytes that a try has come to.
    """

    def __init__(self, size: int, progress: Progress | None) -> None:
        self.furthest = 0
        self._size = size
        self._progress = progress

    def counting(self, file: BinaryIO) -> _Counted:
        self.tell(0)
        return _Counted(file, self)

    def tell(self, done: int) -> None:
        self.furthest = max(self.furthest, done)
        if self._progress is not None:
            self._progress(done, self._size)


class _Counted:
    """A file to upload, the reading of which is counted."""

    def __init__(self, file: BinaryIO, counter: _Counter) -> None:
        self._file = file
        self._counter = counter
        self._done = 0

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self._done += len(block)
        self._counter.tell(self._done)
        return block


def download(
    client: Client,
    to: str | os.PathLike[str],
    *,
    ask: Callable[[], str],
    limit: int,
    progress: Progress | None = None,
) -> int:
    """Downloads a payload in constant memory; until it is whole, what stands under the name stays as it is.

    Args:
        client: The way to the store, and how patient to be.
        to: The file to make or replace. A device or a pipe of that name gets the bytes when all of them are there.
        ask: Gives a presigned URL; asked anew when the store says that one has expired.
        limit: Bytes that the payload may have.
        progress: Told how far it is.

    Returns:
        Its size in bytes.

    Raises:
        TooLarge: It has more bytes than `limit`.
        CloudError: It could not be downloaded.
        OSError: The file cannot be written.
    """
    with written(to) as file:
        return download_into(client, file, ask=ask, limit=limit, progress=progress)


def download_into(
    client: Client,
    file: BinaryIO,
    *,
    ask: Callable[[], str],
    limit: int,
    progress: Progress | None = None,
) -> int:
    """Downloads a payload into a file that can be rewound, from where it stands; else as `download`.

    What is in the file when this raises is of no use.
    """
    incoming = _Incoming(file, limit, progress)
    url: str | None = None

    def once() -> int:
        nonlocal url
        if not incoming.is_whole:
            url = ask() if url is None else url
            try:
                client.receive(url, incoming, headers=incoming.headers)
            except UploadExpired:
                url = None
                raise
            except Rejected as error:
                if not incoming.headers or error.status not in {
                    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                    HTTPStatus.PRECONDITION_FAILED,
                }:
                    raise
                raise incoming.astray() from None
        return incoming.whole()

    return client.patience.repeat(once, TRANSFER, reached=lambda: incoming.furthest)


class _Incoming:
    """Takes the answers to the requests for one payload, each of which brings it further or begins it anew.

    Attributes:
        furthest: Bytes that were once through.
    """

    def __init__(self, file: BinaryIO, limit: int, progress: Progress | None) -> None:
        self.furthest = 0
        self._file = file
        self._start = file.tell()
        self._limit = limit
        self._progress = progress
        self._done = 0
        self._size: int | None = None
        self._version = ""

    @property
    def headers(self) -> dict[str, str]:
        """What to ask with: for the rest, if it can be had."""
        if not (self._done and self._version):
            return {}
        return {"Range": f"bytes={self._done}-", "If-Range": self._version}

    @property
    def is_whole(self) -> bool:
        return self._done > 0 and self._done == self._size

    def whole(self) -> int:
        """Returns the size of what came.

        Raises:
            AnswerLost: It is not all.
        """
        if self._size not in {None, self._done}:
            raise AnswerLost(f"The download broke off after {self._done} of {self._size} bytes: try again.")
        return self._done

    def astray(self) -> CloudError:
        """Forgets what came, as what would come next does not belong to it."""
        self._version = ""
        return AnswerLost("The object store gave another part of the download than it was asked for: try again.")

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Looks at an answer's head."""
        plain = headers.get("Content-Encoding", "identity").lower() == "identity"
        if status == HTTPStatus.PARTIAL_CONTENT and self.headers:
            part = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", headers.get("Content-Range", "").strip())
            given = part and (int(part[1]), int(part[2]), headers.get("ETag"))
            if not plain or given != (self._done, self._size, self._version):
                raise self.astray()
            return
        if status != HTTPStatus.OK:
            raise AnswerLost(f"The object store answered a download with {status}: try again.")
        told = re.fullmatch(r"\d{1,18}", headers.get("Content-Length", ""))
        if told is None and "chunked" not in headers.get("Transfer-Encoding", "").lower():
            # Where the connection's end is the payload's end, a break would look like it.
            raise AnswerLost("The object store did not tell where the download ends: try again.")
        version = headers.get("ETag", "")
        # Of compressed bytes neither the length nor a part says anything about the payload.
        self._size = int(told[0]) if plain and told else None
        self._version = version if self._size is not None and re.fullmatch(r'"[\x21-\x7e]*"', version) else ""
        self._done = 0
        self._file.seek(self._start)
        self._file.truncate()
        self._check(self._size or 0)
        self._tell()

    def write(self, block: bytes, /) -> None:
        """Takes the next bytes."""
        self._check(self._done + len(block))
        self._file.write(block)
        self._done += len(block)
        self.furthest = max(self.furthest, self._done)
        self._tell()

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge(
                f"The download has {size} bytes or more, and the platform's limit is {self._limit}: nothing was kept.",
                size=size,
                limit=self._limit,
            )

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self._size)


@contextlib.contextmanager
def written(to: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """Gives a file to write, which gets its name when the block ends well, and is gone when it does not.

    The name may stand for a symbolic link, whose target is then replaced, or for a device or a pipe, which is written
    in the end.

    Raises:
        OSError: It cannot be made.
    """
    mode = _mode(to)
    if mode is not None and not stat.S_ISREG(mode):
        # Opened before anything is moved, to fail early; a folder cannot be.
        with open(to, "wb") as special, tempfile.TemporaryFile() as file:  # noqa: PTH123
            yield cast("BinaryIO", file)
            file.seek(0)
            shutil.copyfileobj(file, special, _PIECE)
        return
    target = os.path.realpath(to)
    beside = os.path.join(os.path.dirname(target), f".nxtrack-{secrets.token_hex(8)}.part")  # noqa: PTH118, PTH120
    try:
        with open(beside, "xb") as part:  # noqa: PTH123
            yield part
        if mode is not None:
            os.chmod(beside, stat.S_IMODE(mode))  # noqa: PTH101
        os.replace(beside, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise


def _mode(path: str | os.PathLike[str]) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_mode  # noqa: PTH116
    return None
