"""Owns the masking of a log that was written by way of descriptors, and so could not be masked before it was written.

The process does it when the run ends. For the case that it is killed before, the patterns stand beside the run for as
long as it lives: recovery masks the log by them, and so does whoever looks at it before. What functions of the program
mask nobody else can, so such a log is left out.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nxtrack.spool import logparts, system
from nxtrack.spool.layout import NO_FILE, open_file
from nxtrack.spool.logfile import write_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nxtrack.spool.layout import Layout

MASK = "***"
_WITHHELD = b"[nxtrack: the log is withheld, as what shall not be in it could not be looked for]\n"
_LEFT_OUT = (
    b"[nxtrack: the log is left out: functions of redact mask it as its run ends, and no other process has them]\n"
)

_LARGEST = 1 << 20
"""Bytes that patterns never have."""

_FAULTS = (msgspec.MsgspecError, re.error, ValueError, RecursionError)


class _Pattern(msgspec.Struct, frozen=True):
    pattern: str | None  # without one it stands for functions: who knows of none takes it for damage, and withholds all
    flags: int


class Masks(NamedTuple):
    """What has to be done to a log before anybody reads it.

    Attributes:
        patterns: What is masked.
        instead: What stands in place of the log; empty when it can be masked.
    """

    patterns: tuple[re.Pattern[str], ...]
    instead: bytes = b""

    def text(self, text: str) -> str:
        """Masks a text of whole lines."""
        for pattern in self.patterns:
            text = pattern.sub(MASK, text)
        return text


NO_MASKS = Masks(())


def keep(paths: Layout, run_id: str, patterns: Iterable[re.Pattern[str] | None]) -> None:
    """Writes down the patterns of a run that is about to begin; None stands for functions of its process.

    Raises:
        OSError: They cannot be written.
    """
    written = [_Pattern(None, 0) if one is None else _Pattern(one.pattern, one.flags) for one in patterns]
    descriptor = os.open(_path(paths, run_id), system.CREATE, 0o600)
    try:
        write_all(descriptor, msgspec.json.encode(written))
    finally:
        os.close(descriptor)


def drop(paths: Layout, run_id: str) -> None:
    """Removes the patterns of a run."""
    with suppress(OSError):
        os.unlink(_path(paths, run_id))  # noqa: PTH108


def find(paths: Layout, run_id: str) -> Masks:
    """Returns what has to be done to the log of a run that did not end.

    Raises:
        OSError: That cannot be told now.
    """
    try:
        content = _kept(_path(paths, run_id))
    except FileNotFoundError:
        return NO_MASKS
    try:
        found = msgspec.json.decode(content, type=list[_Pattern])
        known = [re.compile(one.pattern, one.flags) for one in found if one.pattern is not None]
    except _FAULTS:
        return Masks((), _WITHHELD)
    return Masks(tuple(known), b"" if len(known) == len(found) else _LEFT_OUT)


def apply(paths: Layout, run_id: str, most: int | None) -> None:
    """Masks the log of a run whose process died, if it left patterns; `most` bytes of it are kept.

    Raises:
        OSError: It cannot be done now.
    """
    found = find(paths, run_id)
    if found is NO_MASKS:
        return
    log = paths.log(run_id)
    if os.path.lexists(log):
        _rewrite(log, f"{log}.masked", found, most)
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


def _rewrite(log: str, copy: str, found: Masks, most: int | None) -> None:
    with suppress(FileNotFoundError):
        os.unlink(copy)  # noqa: PTH108
    target = os.open(copy, system.CREATE, 0o600)
    try:
        source = os.open(log, system.READ)
        try:
            write_all(target, found.instead)
            for lines in () if found.instead else logparts.lines_of(source, most):
                masked = found.text(lines.decode("utf-8", "surrogateescape"))
                write_all(target, masked.encode("utf-8", "surrogateescape"))
        except _FAULTS:
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
