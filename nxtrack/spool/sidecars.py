"""Owns the files beside a run's own while its process lives: payloads that are too large for it, or that grow."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING
from zlib import crc32

from nxtrack.spool import layout, system
from nxtrack.spool.logfile import write_all
from nxtrack.spool.records import Input

if TYPE_CHECKING:
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.records import Form, Output


class Sidecars:
    """The sidecars of one run. Any thread may use them.

    Attributes:
        size: Bytes that were written to them, as far as they are whole.
    """

    __slots__ = ("_names", "_numbers", "_paths", "_run_id", "size")

    def __init__(self, paths: Layout, run_id: str) -> None:
        """Makes none yet."""
        self._paths = paths
        self._run_id = run_id
        self._names: list[str] = []
        self._numbers = count()
        self.size = 0

    def keep(self, kind: type[Input | Output], data: bytes, notes: tuple[str, ...], *, ended: bool) -> Input | Output:
        """Returns the record of a large payload, which is written to a sidecar.

        Args:
            kind: Which payload.
            data: Its JSON.
            notes: What was altered while it was encoded.
            ended: The run has ended, so nothing is written any more.

        Raises:
            OSError: It cannot be written; nothing of it is left.
        """
        name = f"{self._run_id}.{next(self._numbers)}.json"
        if not ended:
            self._write(name, data)
        return kind(file=name, size=len(data), crc=crc32(data), notes=notes)

    def _write(self, name: str, data: bytes) -> None:
        path = self._paths.payload(name)
        descriptor = layout.create(path)
        try:
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        except BaseException:
            # Half a payload helps nobody, and the run's end may need the room that it takes.
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
            raise
        self._names.append(name)
        self.size += len(data)

    def grow(self, kind: type[Input | Output], wished: Form | None = None) -> tuple[Input | Output, int]:
        """Makes a file for a payload that is written piece by piece.

        Args:
            kind: Which payload.
            wished: The format that was asked for; None to find out.

        Returns:
            Its record, which `settle` makes final and `RunWriter.append` writes, and a descriptor that is the caller's
            to close. Appended before, the record leads recovery to what there is of the payload should this process
            die.

        Raises:
            OSError: It cannot be made.
        """
        name = f"{self._run_id}.{next(self._numbers)}.{'input' if kind is Input else 'output'}"
        descriptor = layout.create(self._paths.payload(name))
        self._names.append(name)
        return kind(file=name, growing=True, wished=wished), descriptor

    def settle(self, record: Input | Output, *, inner: str = "") -> Input | Output:
        """Returns the final record of a payload that is whole; see `growing.settle`.

        Raises:
            OSError: It cannot be read, or what it has to become cannot be written.
        """
        from nxtrack.spool import growing  # noqa: PLC0415  (most runs have no such payload, and need no archives)

        final = growing.settle(self._paths, record, inner=inner)
        if final.file not in {None, *self._names}:
            self._names.append(str(final.file))
        if final.file != record.file or not final.size:
            self.drop(record)
        self.size += final.size
        return final

    def drop(self, record: Input | Output) -> None:
        """Removes a payload that is of no use any more; who appends to it still does so to nowhere."""
        name = str(record.file)
        if name in self._names:
            self._names.remove(name)
            with suppress(OSError):  # It leaves with its run, then.
                os.unlink(self._paths.payload(name))  # noqa: PTH108

    def sync(self) -> bool:
        """Makes what they hold survive a power cut; says whether there are any.

        Raises:
            OSError: It cannot be written.
        """
        for name in self._names:
            descriptor = os.open(self._paths.payload(name), system.READ)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return bool(self._names)

    def remove(self) -> None:
        """Removes them, with a run that could not be begun."""
        for name in self._names:
            with suppress(OSError):  # Nothing can be done about it; who cleans the spool finds them.
                os.unlink(self._paths.payload(name))  # noqa: PTH108
