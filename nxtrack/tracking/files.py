"""Owns inputs and outputs that stand in files and folders rather than in values: how they get into a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from nxtrack.spool.records import Input, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nxtrack.spool.records import Form
    from nxtrack.spool.writer import RunWriter
    from nxtrack.tracking.plan import Plan

    Kind = type[Input | Output]
    Payload = Input | Output
    _Path = str | os.PathLike[str] | None
    LeaveOut = Callable[[str, Exception], None]

_NO_LIMIT: Final = 1 << 62


class Files(Protocol):
    """What of a run stands in files.

    Attributes:
        has_input: The input does, so no value is.
        has_output: The output does.
    """

    has_input: bool
    has_output: bool

    def begin(self, writer: RunWriter, leave_out: LeaveOut) -> None:
        """Records the input, before the solver's code runs; tells what cannot be, and raises nothing else."""

    def end(self, writer: RunWriter) -> Iterable[Payload]:
        """Returns what is known of the payloads once the code has run; may raise."""
        ...


class Folders:
    """Folders that are the input, the output, or both: what `track(input_dir=..., output_dir=...)` means."""

    def __init__(self, paths: Callable[[], tuple[_Path, ...]], *, has_input: bool, has_output: bool) -> None:
        """Takes how to find the paths of both, when the run begins; None is no folder."""
        self.has_input = has_input
        self.has_output = has_output
        self._paths = paths
        self._output: str | None = None

    def begin(self, writer: RunWriter, leave_out: LeaveOut) -> None:
        """Packs the input folder, and takes note of where the output will stand."""
        try:
            found, output = self._paths()
            # Absolute, as the code may change its folder.
            self._output = None if output is None else os.path.abspath(os.fspath(output))  # noqa: PTH100
            if found is not None:
                writer.append(packed(writer, Input, os.fspath(found)))
        except Exception as fault:  # noqa: BLE001  (paths are the user's, and ours shall not stop its code)
            leave_out("input", fault)

    def end(self, writer: RunWriter) -> Iterable[Payload]:
        """Packs the output folder."""
        return () if self._output is None else (packed(writer, Output, self._output),)


def of_plan(plan: Plan, paths: Callable[[], tuple[_Path, ...]]) -> Folders | None:
    """Returns the folders that a plan speaks of; None when it speaks of none."""
    if plan.input_dir is None and plan.output_dir is None:
        return None
    return Folders(paths, has_input=plan.input_dir is not None, has_output=plan.output_dir is not None)


def packed(writer: RunWriter, kind: Kind, folder: str, wished: Form | None = None) -> Payload:
    """Records a folder: as `csv-archive` when there are `.csv` files in it and no others, else as `multi-file`.

    Raises:
        ArchiveRefused: It holds what no archive may.
        OSError: It cannot be read, or there is nothing in it.
    """
    from nxtrack.cloud.archives import pack  # noqa: PLC0415  (who tracks no folder needs no archives)

    names = [path.name for path in Path(folder).rglob("*") if path.is_file()]
    if not names:
        next(os.scandir(folder), None)  # which tells that there is no such folder
        raise FileNotFoundError(2, "There are no files in it", folder)
    tables = all(name.lower().endswith(".csv") for name in names)
    record, descriptor = writer.sidecars.grow(kind, wished or ("csv-archive" if tables else "multi-file"))
    return filled(writer, record, descriptor, lambda file: pack(folder, file, limit=_NO_LIMIT))


def filled(
    writer: RunWriter, record: Payload, descriptor: int, fill: Callable[[BinaryIO], None], inner: str = ""
) -> Payload:
    """Writes a sidecar, and returns its final record.

    Raises:
        OSError: It cannot be filled; nothing of it is left.
    """
    try:
        with os.fdopen(descriptor, "wb") as file:
            fill(file)
        return writer.sidecars.settle(record, inner=inner)
    except BaseException:
        writer.sidecars.drop(record)  # Half a payload helps nobody, and the run's end may need the room that it takes.
        raise
