"""Owns the record format: what the frames of a run's file say.

A run's file holds, in this order: `start`, `input`, then `update`, `metric` and `asset` as they come, then `logged`,
`output` and `end`; after that delivery's journal: `uploaded`, `posting`, `unsent`, `absent`, `posted`, `rejected`,
`retried`. Of records that set the same thing the last one counts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal

import msgspec

FORMAT_VERSION = 1
Status = Literal["succeeded", "failed"]
Artefact = Literal["input", "output", "logs", "metrics", "assets"]
Form = Literal["json", "text", "csv-archive", "multi-file"]
"""What an input or output is, in the platform's words; the last two are a folder as a `.tar.gz`."""

ARCHIVES: Final[frozenset[str]] = frozenset({"csv-archive", "multi-file"})
GREW = (".input", ".output")
"""What the names of sidecars end with that were written piece by piece."""


class Record(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="t"):
    """Base of everything that a frame may hold."""


class Owner(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """Which process a run belongs to. Empty or 0 where the system does not tell.

    A pid alone never identifies a process: pids are used again, and differ between containers.

    Attributes:
        pid: Process id in its own pid namespace.
        started: When the process started, in the kernel's clock ticks since boot.
        boot: Id of the boot of the kernel it runs on.
        pidns: Inode of its pid namespace.
        host: Id of the machine.
    """

    pid: int
    started: int = 0
    boot: str = ""
    pidns: int = 0
    host: str = ""


class Moment(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """A point in time that survives clocks which jump.

    Attributes:
        at: Wall-clock time.
        boot: The boot in which `monotonic` was read.
        monotonic: Seconds on the clock that only runs forward.
    """

    at: datetime
    boot: str = ""
    monotonic: float = 0.0

    def is_before(self, other: Moment) -> bool:
        """Says whether this moment surely came before `other`."""
        if self.boot and self.boot == other.boot:
            return self.monotonic < other.monotonic
        return self.at < other.at

    def age(self, now: Moment) -> float:
        """Returns the seconds from this moment to `now`, never below 0.

        Within one boot by the monotonic clock; across boots by wall clock, as nothing better is left.
        """
        if self.boot and self.boot == now.boot:
            return max(0.0, now.monotonic - self.monotonic)
        return max(0.0, (now.at - self.at).total_seconds())


class Start(Record, tag="start"):
    """The first frame: what is known before the solver is called.

    Attributes:
        monotonic: Seconds on the clock that only runs forward, when it began.
        source: What was tracked, such as `routing.solve`; for messages.
        unlocked: The file could not be locked, so that its lock is free says nothing about its process.
        capture: What takes the run's log until it ends, when descriptors are captured.
        errors: What takes descriptor 2, when that led elsewhere than descriptor 1.
        max_log: Bytes that are kept of its log; None for all.
        unread: Should the process die, what a solver says in the log is not to be made metrics.
        plain: Its log is read without colours and other escape sequences.
    """

    id: str
    at: datetime
    owner: Owner
    monotonic: float = 0.0
    v: int = FORMAT_VERSION
    source: str = ""
    unlocked: bool = False
    app_id: str | None = None
    instance_id: str | None = None
    name: str | None = None
    description: str | None = None
    options: dict[str, str] = {}
    batch_experiment_id: str | None = None
    capture: str | None = None
    errors: str | None = None
    max_log: int | None = None
    unread: bool = False
    plain: bool = False


class Update(Record, tag="update"):
    """What the user's program changed of the run while it ran; only what is set counts."""

    name: str | None = None
    description: str | None = None
    options: dict[str, str] | None = None


class Payload(Record):
    """Bytes that will be uploaded as they are: inline JSON, or a sidecar file named with its size and CRC-32.

    The sidecar of a program's stream grows while the program runs: its record comes first without a size, and again
    at the run's end, by the process itself or by recovery. What stands in the file behind its size was written later.

    Attributes:
        data: The bytes themselves, when they are few.
        file: Name of the sidecar, when they are many.
        size: Bytes in the sidecar; with 0 there is no payload.
        crc: CRC-32 of the sidecar's bytes.
        form: Their format.
        growing: The sidecar is being written; what it is will be found out.
        wished: The format that was asked for, until it is.
        notes: What was altered or left out when the value was encoded.
    """

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    file: str | None = None
    size: int = 0
    crc: int = 0
    form: Form = "json"
    growing: bool = False
    wished: Form | None = None
    notes: tuple[str, ...] = ()


class Input(Payload, tag="input"):
    """What the solver was given."""


class Output(Payload, tag="output"):
    """What the solver returned."""


class Metric(Record, tag="metric"):
    """One value of a metric, perhaps one of a series."""

    name: str
    value: float | int | str | bool | None
    step: float | int | None = None


class Asset(Record, tag="asset"):
    """Something to look at, in the platform's form: `{"name", "content", "content_type", "visual"?}`."""

    data: msgspec.Raw


class Logged(Record, tag="logged"):
    """What the run's log held when the run ended: its first bytes, and the CRC-32 of what is kept of them.

    What stands behind them was written later, by a child process say.

    Attributes:
        size: Bytes that were written.
        crc: Of the head and the tail.
        head: Bytes of the head, when the middle of the log is left out.
        cut: Bytes behind the head that are left out.
    """

    size: int
    crc: int
    head: int = 0
    cut: int = 0


class End(Record, tag="end"):
    """The last frame of the tracked process, or of the recovery that speaks for a dead one.

    Attributes:
        error: `error_message` of a failed run.
        duration_ms: Wall-clock milliseconds, from a monotonic clock.
        recovered: The process died, and recovery wrote this.
        notes: What else should be known of the run.
    """

    status: Status
    at: datetime
    duration_ms: int
    error: str | None = None
    recovered: bool = False
    notes: tuple[str, ...] = ()


class Uploaded(Record, tag="uploaded"):
    """An artefact is in the object store. The upload URL is a secret and never journaled.

    Attributes:
        place: Endpoint and application the upload id belongs to.
    """

    artefact: Artefact
    upload_id: str
    place: str
    moment: Moment


class Posting(Record, tag="posting"):
    """The run is about to be posted: from here on, no outcome means that it may have been.

    Attributes:
        place: Endpoint and application that it is posted to; empty when that is not known any more.
    """

    place: str
    moment: Moment


class Unsent(Record, tag="unsent"):
    """The POST announced before surely had no effect: it never left, or it was refused for now."""


class Absent(Record, tag="absent"):
    """The platform's list, looked through after the settling time, does not hold the run: it may be posted again."""


class Posted(Record, tag="posted"):
    """The platform took the run."""

    run_id: str
    app_id: str
    place: str
    at: datetime


class Rejected(Record, tag="rejected"):
    """The platform will never take the run as it is."""

    error: str
    at: datetime


class Retried(Record, tag="retried"):
    """A person sent the rejected run back."""

    at: datetime


AnyRecord = (
    Start
    | Update
    | Input
    | Output
    | Metric
    | Asset
    | Logged
    | End
    | Uploaded
    | Posting
    | Unsent
    | Absent
    | Posted
    | Rejected
    | Retried
)


now: Final = partial(datetime.now, UTC)
"""Returns the wall-clock time, UTC."""
