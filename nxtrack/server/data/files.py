"""Payload files: immutable bytes under random names, of which only the store knows who refers to them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO, Self

from nxtrack.server.ids import new_payload_id

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from types import TracebackType


class Draft:
    """A payload that is still being received. Leaving its `with` block without `keep()` forgets it."""

    def __init__(self, folder: Path, partial: Path, name: str) -> None:
        self.id = name
        self.size = 0
        self._target = folder / self.id[:2] / self.id
        self._partial = partial / self.id
        self._kept = False
        self._file: BinaryIO = self._partial.open("xb")

    def __enter__(self) -> Self:
        """Gives the draft itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Removes what was not kept."""
        self._file.close()
        if not self._kept:
            self._partial.unlink(missing_ok=True)

    def write(self, data: bytes | bytearray) -> None:
        """Appends `data`."""
        self._file.write(data)
        self.size += len(data)

    def flush(self) -> None:
        """Has what was written so far be seen by those who read the draft."""
        self._file.flush()

    def keep(self) -> str:
        """Puts the whole payload in its place, by one rename, and gives its id."""
        self._file.close()
        self._target.parent.mkdir(exist_ok=True)
        self._partial.replace(self._target)
        self._kept = True
        return self.id


class Payloads:
    """All payload files of one platform."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "payloads"
        self._partial = root / "partial"
        for folder in (self._folder, self._partial):
            folder.mkdir(mode=0o700, exist_ok=True)

    def draft(self, name: str | None = None) -> Draft:
        """Begins a payload, under an id that is known already or a new one."""
        return Draft(self._folder, self._partial, name or new_payload_id())

    def rescue(self, name: str) -> int:
        """Keeps what a killed platform had written of a draft; its size in bytes, 0 when there is nothing."""
        partial, target = self._partial / name, self.path(name)
        if partial.exists():
            target.parent.mkdir(exist_ok=True)
            partial.replace(target)
        return target.stat().st_size if target.exists() else 0

    def open(self, name: str) -> BinaryIO:
        """Opens a payload for reading, or a draft as far as it is written.

        Raises:
            FileNotFoundError: There is none of that id.
        """
        # A draft moves to its place while one looks; it never moves back.
        with contextlib.suppress(FileNotFoundError):
            return (self._partial / name).open("rb")
        return self.path(name).open("rb")

    def add(self, data: bytes) -> str:
        """Stores bytes that are at hand, and gives their id."""
        with self.draft() as draft:
            draft.write(data)
            return draft.keep()

    def path(self, payload: str) -> Path:
        """The file of a payload, for reading."""
        return self._folder / payload[:2] / payload

    def read(self, payload: str, *, last: int | None = None) -> bytes:
        """The bytes of a payload, or only its `last` ones."""
        with self.path(payload).open("rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            return file.read()

    def remove(self, payloads: Collection[str]) -> None:
        """Deletes payloads. One that is still being read on Windows stays until the next start's sweep."""
        for payload in payloads:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                self.path(payload).unlink()

    def sweep(self, known: Collection[str]) -> None:
        """Deletes what a killed platform left behind: half payloads, and those that nothing refers to."""
        for left in self._partial.iterdir():
            left.unlink()
        for shard in self._folder.iterdir():
            self.remove([file.name for file in shard.iterdir() if file.name not in known])
