"""Owns what an input may be given as, and what is sent for it: bytes of a known size and format."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import stat
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import msgspec

from nxtrack.cloud import archives
from nxtrack.errors import Rejected, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from nxtrack.cloud.messages import Form, RunConfiguration

_BLOCK = 2**18


class _Bound(NamedTuple):
    limit: int
    what: str


class Payload:
    """Bytes to send.

    Attributes:
        size: How many.
        form: What they are, as far as it shows in how they were given.
        open: Gives them to read, from the beginning each time.
    """

    def __init__(self, size: int, form: Form, opener: Callable[[], AbstractContextManager[BinaryIO]]) -> None:
        self.size = size
        self.form: Form = form
        self.open = opener

    def read(self) -> bytes:
        """Returns all of them."""
        with self.open() as file:
            return file.read(self.size)


@contextlib.contextmanager
def payload_of(source: Any, *, limit: int, what: str) -> Generator[Payload]:
    """Gives what is to be sent for a source, as long as the block lasts.

    Args:
        source: A path (`os.PathLike`) of a file, whose bytes are taken as they are, or of a folder, which becomes an
            archive; bytes; a file open in binary mode, from where it stands; a `str`, which is a text and never a
            path; or any other value, which is written as JSON.
        limit: Bytes that it may come to.
        what: What it is, as a sentence begins.

    Raises:
        TooLarge: It comes to more.
        Rejected: A value cannot be written as JSON.
        ArchiveRefused: A folder cannot be packed.
        TypeError: A file is open in text mode.
        OSError: A file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        payload = _payload(source, stack, _Bound(limit, what))
        if payload.size > limit:
            raise too_large(what, payload.size, limit)
        yield payload


def too_large(what: str, size: int, limit: int, *, is_all: bool = True) -> TooLarge:
    """Returns the refusal of a payload of that size, or of that at least, before any of it is transferred."""
    return TooLarge(
        f"{what} has {size} bytes{'' if is_all else ' or more'}, and the limit is {limit}: nothing was transferred. "
        "Where your plan allows more, raise it (`Limits`, `--max-upload`, `--max-download`).",
        size=size,
        limit=limit,
    )


def _payload(source: Any, stack: contextlib.ExitStack, bound: _Bound) -> Payload:
    match source:
        case bytes() | bytearray() | memoryview():
            return _of_bytes(bytes(cast("bytes", source)), "json")
        case str():
            return _of_bytes(_utf8(source, bound.what), "text")
        case os.PathLike():
            return _of_path(cast("os.PathLike[str]", source), stack, bound)
        case _ if callable(getattr(source, "read", None)):
            if not isinstance(source.read(0), bytes):
                raise TypeError(f'{bound.what} is a file in text mode: open it with "rb".')
            return _of_file(cast("BinaryIO", source), stack, bound)
        case _:
            return _of_bytes(json_of(source, bound.what), "json")


def _open(path: os.PathLike[str]) -> BinaryIO:
    return open(path, "rb")  # noqa: PTH123  (any path-like)


def _of_bytes(data: bytes, form: Form) -> Payload:
    return Payload(len(data), form, lambda: io.BytesIO(data))


def _of_path(path: os.PathLike[str], stack: contextlib.ExitStack, bound: _Bound) -> Payload:
    status = os.stat(path)  # noqa: PTH116  (any path-like)
    if stat.S_ISDIR(status.st_mode):
        archive = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115  (the stack does)
        archives.pack(path, archive, limit=bound.limit)
        size = archive.seek(0, os.SEEK_END)
        return Payload(size, "multi-file", lambda: _again(archive, 0))
    if not stat.S_ISREG(status.st_mode):  # a pipe, say, which tells its size only by its end
        return _of_file(stack.enter_context(_open(path)), stack, bound)
    return Payload(status.st_size, "json", functools.partial(_open, path))


def _of_file(file: BinaryIO, stack: contextlib.ExitStack, bound: _Bound) -> Payload:
    if not _is_seekable(file):
        kept = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115  (the stack does)
        size = 0
        while block := file.read(_BLOCK):
            size += len(block)
            if size > bound.limit:
                raise too_large(bound.what, size, bound.limit, is_all=False)
            kept.write(block)
        return Payload(size, "json", lambda: _again(kept, 0))
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return Payload(size, "json", lambda: _again(file, start))


def _is_seekable(file: BinaryIO) -> bool:
    seekable = getattr(file, "seekable", None)
    return callable(seekable) and bool(seekable())


@contextlib.contextmanager
def _again(file: BinaryIO, start: int) -> Generator[BinaryIO]:
    """Gives a file from its beginning, and leaves it open."""
    file.seek(start)
    yield file


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    raise Rejected(f"{what} is a text with characters that UTF-8 has no bytes for, so it was not sent.", status=0)


def json_of(value: Any, what: str) -> bytes:
    """Returns a value as JSON: what msgspec knows, subclasses of numbers and texts, and numpy's scalars and arrays.

    Raises:
        Rejected: It cannot be written as JSON; NaN and infinity are among what cannot.
    """
    reason = ""
    try:
        data = msgspec.json.encode(value, enc_hook=_simpler)
        # JSON has no word for NaN and infinity, and msgspec writes `null` for them: no run may get to see that.
        if b"null" not in data or not _has_odd_numbers(value):
            return data
        reason = "it holds NaN or infinity"
    except RecursionError:
        reason = "it is nested too deeply, or holds itself"
    except (TypeError, ValueError) as error:
        reason = str(error)[:200].rstrip(".")
    raise Rejected(f"{what} cannot be written as JSON ({reason}), so it was not sent.", status=0)


def _simpler(value: Any) -> Any:
    """Returns the plain value that another stands for."""
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if callable(to_list := getattr(value, "tolist", None)):  # as numpy has it, of scalars too
        return to_list()
    raise TypeError(f"values of the type {type(value).__name__} have no JSON")


def _has_odd_numbers(value: Any) -> bool:
    stack = [msgspec.to_builtins(value, enc_hook=_simpler)]
    while stack:
        match stack.pop():
            case float() as number if number != number or number in {float("inf"), float("-inf")}:  # noqa: PLR0124
                return True
            case dict() as mapping:  # pyright: ignore[reportUnknownVariableType]
                stack.extend(mapping.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            case list() | tuple() as items:  # pyright: ignore[reportUnknownVariableType]
                stack.extend(cast("list[Any]", items))
            case _:
                pass
    return False


def inline_json(payload: Payload, configuration: RunConfiguration, *, limit: int) -> msgspec.Raw | None:
    """Returns what stands for an input in a request: JSON as it is, a text as a string.

    Args:
        payload: The input.
        configuration: How to run, which says what it is.
        limit: Bytes that may stand in a request.

    Returns:
        None for a payload that has to be uploaded: it is an archive, too large, or no UTF-8.

    Raises:
        Rejected: It is to be JSON, and is not.
    """
    form = payload.form if configuration.format is None else configuration.format.input.type
    if payload.size > limit or form not in {"json", "text"}:
        return None
    data = payload.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        if form == "text":
            return None
        raise _no_json("it is not UTF-8") from None
    if form == "text":
        data = msgspec.json.encode(text)
        return msgspec.Raw(data) if len(data) <= limit else None
    try:
        return msgspec.json.decode(data, type=msgspec.Raw)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise _no_json(reason)


def _no_json(reason: str) -> Rejected:
    return Rejected(
        f"The input is no JSON ({reason}), so it was not sent: say which format it has, in the configuration or by "
        "`--format`.",
        status=0,
    )
