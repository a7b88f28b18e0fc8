"""What is stored: applications, uploads, runs and what belongs to them, as values and as rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredApplication:
    """An application. `created_at` in microseconds since 1970."""

    id: str
    name: str
    description: str
    default_instance: str | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload id: `payload` is None until something was PUT. `expires_at` in seconds since 1970."""

    id: str
    application: str
    expires_at: int
    payload: str | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One payload of a run, and its size in bytes."""

    payload: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """What is known of an asset besides its content, which is the artefact of the same `kind`."""

    kind: str
    name: str
    description: str
    content_type: str
    visual: dict[str, Any] | None
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it is stored.

    Attributes:
        instance: The instance that was asked for, or for a remote run the one that executes it.
        status: `queued`, `running`, `succeeded`, `failed` or `canceled`.
        created_at: Microseconds since 1970; with `started_at` and `ended_at`, which only remote runs have, once they
            have begun and ended.
        duration: Milliseconds: of a remote run from its start to its end; of a tracked run what it was told.
        error: Why it failed or was canceled; else empty.
        run_type: `standard` for a remote run, `external` for a tracked one.
        number: Its place in the order in which runs came in; the store gives it.
        artefacts: Its payloads by kind: `input`, `output`, `logs`, `asset-0` and so on, and `stdout` for what a remote
            run printed that became no output.
    """

    id: str
    application: str
    instance: str
    name: str
    description: str
    status: str
    created_at: int
    duration: int
    error: str
    run_type: str
    input_format: str
    output_format: str
    execution_class: str
    experiment: str | None
    options: dict[str, str]
    metrics: dict[str, Any] | None
    started_at: int | None = None
    ended_at: int | None = None
    number: int = 0
    artefacts: Mapping[str, Artefact] = field(default_factory=dict[str, Artefact])

    def format_of(self, kind: str) -> str:
        """How one of its payloads is written: `json`, `text`, `csv-archive` or `multi-file`."""
        formats = {"input": self.input_format, "output": self.output_format, "logs": "text", "stdout": "text"}
        return formats.get(kind, "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExperiment:
    """A batch experiment, which exists by the runs that name it. Times in microseconds since 1970.

    Attributes:
        runs: How many runs it has.
        completed: How many of them no longer change.
        updated_at: When its newest run came in.
    """

    id: str
    created_at: int
    updated_at: int
    runs: int
    completed: int


def run_of(row: sqlite3.Row, artefacts: Mapping[str, Artefact]) -> Run:
    """A run out of all the columns of its row."""
    values: dict[str, Any] = dict(row)
    values["options"] = msgspec.json.decode(values["options"])
    values["metrics"] = _decoded(values["metrics"])
    return Run(**values, artefacts=artefacts)


def asset_of(row: sqlite3.Row) -> StoredAsset:
    """An asset out of its row."""
    values: dict[str, Any] = dict(row)
    values["visual"] = _decoded(values["visual"])
    return StoredAsset(**values)


def encoded(value: object) -> bytes | None:
    """A value as a column holds it."""
    return None if value is None else msgspec.json.encode(value)


def _decoded(value: bytes | None) -> dict[str, Any] | None:
    return None if value is None else msgspec.json.decode(value, type=dict[str, Any])
