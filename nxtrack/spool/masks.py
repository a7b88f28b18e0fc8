"""Owns the masking of a log that was written by way of descriptors, and so could not be masked before it was written.

The process does it when the run ends. For the case that it is killed before, the patterns stand beside the run for as
long as it lives, and recovery does it.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from nxtrack.spool import logparts, system
from nxtrack.spool.layout import NO_FILE, open_file
from nxtrack.spool.logfile import write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nxtrack.spool.layout import Layout

MASK = "***"
_WITHHELD = b"[nxtrack: the log is withheld, as what shall not be in it could not be looked for]\n"


_LARGEST = 1 << 20
"""Bytes that patterns never have."""


class _Pattern(msgspec.Struct, frozen=True):
    pattern: str
    flags: int


def masking(patterns: Iterable[re.Pattern[str]]) -> Callable[[bytes], bytes]:
    """Returns a function that masks what patterns match in a text of whole lines."""
    known = list(patterns)

    def mask(data: bytes) -> bytes:
        text = data.decode("utf-8", "surrogateescape")
        for pattern in known:
            text = pattern.sub(MASK, text)
        return text.encode("utf-8", "surrogateescape")

    return mask


def keep(paths: Layout, run_id: str, patterns: Iterable[re.Pattern[str]]) -> None:
    """Writes down the patterns of a run that is about to begin.

    Raises:
        OSError: They cannot be written.
    """
    descriptor = os.open(_path(paths, run_id), system.CREATE, 0o600)
    try:
        write_all(descriptor, msgspec.json.encode([_Pattern(one.pattern, one.flags) for one in patterns]))
    finally:
        os.close(descriptor)


def drop(paths: Layout, run_id: str) -> None:
    """Removes the patterns of a run."""
    with suppress(OSError):
        os.unlink(_path(paths, run_id))  # noqa: PTH108


def apply(paths: Layout, run_id: str, most: int | None) -> None:
    """Masks the log of a run whose process died, if it left patterns; `most` bytes of it are kept.

    Raises:
        OSError: It cannot be done now.
    """
    try:
        content = _kept(_path(paths, run_id))
    except FileNotFoundError:
        return
    log = paths.log(run_id)
    if os.path.lexists(log):
        _rewrite(log, f"{log}.masked", content, most)
    drop(paths, run_id)


def _kept(path: str) -> bytes:
    """Returns what was written down; nothing, which says that all is to be withheld, when it cannot be that."""
    try:
        descriptor = open_file(path, system.READ)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_FILE:
            return b""
        raise
    try:
        content = os.read(descriptor, _LARGEST)
        return content if len(content) < _LARGEST else b""
    finally:
        os.close(descriptor)


def _rewrite(log: str, copy: str, content: bytes, most: int | None) -> None:
    with suppress(FileNotFoundError):
        os.unlink(copy)  # noqa: PTH108
    target = os.open(copy, system.CREATE, 0o600)
    try:
        source = os.open(log, system.READ)
        try:
            found = msgspec.json.decode(content, type=list[_Pattern])
            mask = masking(re.compile(one.pattern, one.flags) for one in found)
            for lines in logparts.lines_of(source, most):
                write_all(target, mask(lines))
        except (msgspec.MsgspecError, re.error, ValueError, RecursionError):
            os.ftruncate(target, 0)
            write_all(target, _WITHHELD)
        finally:
            os.close(source)
        os.fsync(target)
    finally:
        os.close(target)
    os.replace(copy, log)  # noqa: PTH105


def _path(paths: Layout, run_id: str) -> str:
    return paths.payload(f"{run_id}.masks")
