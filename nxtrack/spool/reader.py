"""Owns the reading of a run's file: from frames to what is known of the run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import TYPE_CHECKING

import msgspec

from nxtrack.errors import RunCorrupt, RunNewer
from nxtrack.spool import frames
from nxtrack.spool.layout import LARGEST_FILE
from nxtrack.spool.records import (
    Absent,
    Artefact,
    Asset,
    End,
    Input,
    Logged,
    Metric,
    Output,
    Posted,
    Posting,
    Rejected,
    Retried,
    Start,
    Unsent,
    Update,
    Uploaded,
)

if TYPE_CHECKING:
    from nxtrack.spool.records import AnyRecord, Form


@dataclass(slots=True)
class RunRecord:
    """Everything a run's file tells.

    Attributes:
        start: What was known before the solver was called, with later updates in it.
        input: What the solver was given, if it could be recorded.
        output: What it returned.
        end: How it ended; None while it runs, or when its process died.
        metrics: All values in the order they were logged.
        assets: Encoded assets in the order they were logged.
        logged: What its log held when it ended; None if it had none, or is not known.
        uploads: Artefacts in the object store.
        posting: The run was posted, and no outcome is known.
        posted: The platform took it.
        rejected: The platform will not take it.
        sound: Bytes of the file up to its last sound frame.
        checksum: That of its last sound frame, which the next one goes on from.
    """

    start: Start
    input: Input | None = None
    output: Output | None = None
    end: End | None = None
    logged: Logged | None = None
    metrics: list[Metric] = field(default_factory=list[Metric])
    assets: list[msgspec.Raw] = field(default_factory=list[msgspec.Raw])
    uploads: dict[Artefact, Uploaded] = field(default_factory=dict[Artefact, Uploaded])
    posting: Posting | None = None
    posted: Posted | None = None
    rejected: Rejected | None = None
    sound: int = 0
    checksum: int = 0

    @singledispatchmethod
    def add(self, record: AnyRecord) -> None:
        """Takes in one more record; of records that set the same thing the last one counts."""
        raise TypeError(f"no rule for {type(record).__name__}")

    def form(self, kind: Artefact) -> Form:
        """Returns the format of the input or output; of one that is still written, the one that is wished."""
        record = self.input if kind == "input" else self.output if kind == "output" else None
        if record is None or (record.file is not None and not record.size and not record.growing):
            return "json"  # It has none; or what it logged stands for its output.
        return (record.wished or "text") if record.growing else record.form

    @add.register
    def _(self, record: Start) -> None:
        del record
        raise RunCorrupt(f"Run {self.start.id} is damaged: it starts twice.")

    @add.register
    def _(self, record: Update) -> None:
        changes = {name: value for name in record.__struct_fields__ if (value := getattr(record, name)) is not None}
        self.start = msgspec.structs.replace(self.start, **changes)

    @add.register
    def _(self, record: Input) -> None:
        self.input = record

    @add.register
    def _(self, record: Output) -> None:
        self.output = record

    @add.register
    def _(self, record: End) -> None:
        self.end = record

    @add.register
    def _(self, record: Logged) -> None:
        self.logged = record

    @add.register
    def _(self, record: Metric) -> None:
        self.metrics.append(record)

    @add.register
    def _(self, record: Asset) -> None:
        self.assets.append(record.data)

    @add.register
    def _(self, record: Uploaded) -> None:
        self.uploads[record.artefact] = record

    @add.register
    def _(self, record: Posting) -> None:
        self.posting = record

    @add.register(Unsent)
    @add.register(Absent)
    def _(self, record: Unsent | Absent) -> None:
        del record
        self.posting = None

    @add.register
    def _(self, record: Posted) -> None:
        self.posted = record
        self.posting = None

    @add.register
    def _(self, record: Rejected) -> None:
        self.rejected = record
        self.posting = None

    @add.register
    def _(self, record: Retried) -> None:
        # What made the platform refuse may have been an artefact, so all of them are uploaded anew.
        del record
        self.rejected = None
        self.uploads.clear()


def read_all(descriptor: int) -> bytes:
    """Returns all bytes of an open file, wherever its position is."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    chunks: list[bytes] = []
    while chunk := os.read(descriptor, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def load(run_id: str, descriptor: int) -> tuple[RunRecord | None, bytes]:
    """Reads an open run's file; returns what it tells, see `parse`, and its content.

    Raises:
        RunCorrupt: The file was changed after it was written, is none of this run, or larger than any.
        RunNewer: A newer version of nxtrack wrote it.
    """
    if os.fstat(descriptor).st_size > LARGEST_FILE:
        raise RunCorrupt(f"Run {run_id} is damaged: its file is larger than any run's.")
    content = read_all(descriptor)
    return parse(run_id, content), content


def parse(run_id: str, content: bytes) -> RunRecord | None:
    """Reads the content of a run's file.

    Returns:
        What it tells, or None when not even its first frame was written whole.

    Raises:
        RunCorrupt: The file was changed after it was written, or is none of this run.
        RunNewer: A newer version of nxtrack wrote it.
    """
    found = frames.decode(content)
    if found.newer and not found.damaged:
        raise RunNewer(f"Run {run_id} was written by a newer nxtrack: flush it with that one; it is kept.")
    if found.damaged:
        raise RunCorrupt(f"Run {run_id} is damaged: a frame of its file does not match its checksum.")
    if not found.records:
        return None
    start = found.records[0]
    if not isinstance(start, Start) or start.id != run_id:
        raise RunCorrupt(f"Run {run_id} is damaged: its file does not begin with its start.")
    run = RunRecord(start, sound=found.sound, checksum=found.checksum)
    for record in found.records[1:]:
        run.add(record)
    return run
