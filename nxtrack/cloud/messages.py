"""The messages of the Nextmv Cloud API: one definition each, for the client, delivery and the local platform.

Field names are the platform's. Sources: the platform's "Track runs" and "Large payloads" guides; fields that only
the public Python SDK (1.13) shows are marked (SDK). Unknown fields in an answer are ignored, as the platform may
add some.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

TrackedStatus = Literal["succeeded", "failed"]
"""What a tracked run may have become."""

FINAL_STATUSES: frozenset[str] = frozenset({"succeeded", "failed", "canceled"})
"""Statuses after which a run no longer changes."""

Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
"""A duration in whole milliseconds."""


class Message(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Base of all messages: fields that have their default are left out of the JSON."""


class UploadURL(Message):
    """Answer of `POST .../runs/uploadurl`: where to PUT one artefact. Valid for 15 minutes ("Track runs", step 1)."""

    upload_id: str
    upload_url: str

    def __repr__(self) -> str:
        """Names the id only: the URL lets anyone write, so it must not reach a log."""
        return f"UploadURL(upload_id={self.upload_id!r})"


class DownloadURL(Message):
    """Where to GET an input or output, in place of its bytes, when asked with `?format=url`."""

    url: str

    def __repr__(self) -> str:
        """Shows nothing: the URL lets anyone read."""
        return "DownloadURL(...)"


class ContentFormat(Message, omit_defaults=False):
    """The format of an input or output: `json`, `text`, `csv-archive` or `multi-file` (SDK)."""

    type: Literal["json", "text", "csv-archive", "multi-file"] = "json"


class RunFormat(Message, omit_defaults=False):
    """The formats of a run's input and output (SDK)."""

    input: ContentFormat = msgspec.field(default_factory=ContentFormat)
    output: ContentFormat | None = msgspec.field(default_factory=ContentFormat)


class RunConfiguration(Message):
    """How to run: of it, nxtrack uses the formats; the rest is passed through (SDK)."""

    format: RunFormat | None = None
    execution_class: str | None = None
    run_type: dict[str, Any] | None = None
    secrets_collection_id: str | None = None
    queuing: dict[str, Any] | None = None
    integration_id: str | None = None


class ExternalResult(Message):
    """What an external run came to ("Track runs", step 5).

    `error_upload_id` carries the logs, of succeeded runs too. `execution_duration` is in milliseconds.
    """

    status: TrackedStatus
    output_upload_id: str | None = None
    error_upload_id: str | None = None
    error_message: str | None = None
    execution_duration: Milliseconds | None = None
    metrics_upload_id: str | None = None
    assets_upload_id: str | None = None
    statistics_upload_id: str | None = None


class NewRun(Message):
    """Body of `POST .../runs`: a remote run, or with `result` an external one that is only tracked.

    The input is either inline (`input`) or uploaded before (`upload_id`).
    """

    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    upload_id: str | None = None
    name: str | None = None
    description: str | None = None
    options: dict[str, str] | None = None
    configuration: RunConfiguration | None = None
    batch_experiment_id: str | None = None
    result: ExternalResult | None = None


class RunCreated(Message):
    """Answer of `POST .../runs`."""

    run_id: str


class RunType(Message, omit_defaults=False):
    """What made a run: `standard` for remote ones, `external` for tracked ones."""

    type: str = "standard"
    definition_id: str = ""
    reference_id: str = ""


class RunOptions(Message):
    """The options that a run was asked to use, and did use."""

    active_options: dict[str, Any] | None = None
    request_options: dict[str, Any] | None = None
    options_summary: list[dict[str, Any]] | None = None


class RunMetadata(Message, omit_defaults=False):
    """What is known of a run besides its payloads. Durations in milliseconds, sizes in bytes."""

    status: str = "none"
    status_v2: str = "none"
    created_at: str = ""
    duration: float = 0
    execution_duration: float = 0
    input_size: float = 0
    output_size: float = 0
    error: str = ""
    application_id: str = ""
    application_instance_id: str = ""
    application_version_id: str = ""
    execution_class: str | None = None
    runtime: str | None = None
    run_type: RunType = msgspec.field(default_factory=RunType)
    format: RunFormat = msgspec.field(default_factory=RunFormat)
    options: RunOptions = msgspec.field(default_factory=RunOptions)
    metrics: dict[str, Any] | None = None
    statistics: dict[str, Any] | None = None
    experiment_id: str | None = None


class RunInformation(Message, omit_defaults=False):
    """Answer of `GET .../runs/{id}/metadata`: a run without its output."""

    id: str
    user_email: str = ""
    name: str = ""
    description: str = ""
    metadata: RunMetadata = msgspec.field(default_factory=RunMetadata)


class ErrorLog(Message):
    """What a failed run said."""

    error: str | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunResult(RunInformation, omit_defaults=False):
    """Answer of `GET .../runs/{id}`. `output` is the output, or `{"url": ...}` when asked with `?format=url`."""

    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error_log: ErrorLog | None = None


class RunListItem(Message, omit_defaults=False):
    """One run in the answer of `GET .../runs` (SDK)."""

    id: str
    user_email: str = ""
    name: str = ""
    description: str = ""
    created_at: str = ""
    application_id: str = ""
    application_instance_id: str = ""
    application_version_id: str = ""
    run_type: RunType = msgspec.field(default_factory=RunType)
    execution_class: str = ""
    runtime: str = ""
    status: str = "none"
    status_v2: str = "none"
    experiment_id: str | None = None
    metrics: dict[str, Any] | None = None
    options: dict[str, str] | None = None


class ListedRun(Message):
    """What a client needs of a `RunListItem`: no odd value elsewhere in somebody's run may make a list unreadable."""

    id: str
    description: str | None = None
    created_at: str | None = None


class RunPage(Message):
    """Answer of `GET .../runs`: newest first; `next_page_token` goes back as `pagetoken`; absent on the last page."""

    runs: list[ListedRun] = []
    next_page_token: str | None = None


class RunLogs(Message, omit_defaults=False):
    """Answer of `GET .../runs/{id}/logs`."""

    log: str = ""


class RunChange(Message):
    """Body of `PUT .../runs/{id}`: what is left out stays as it is (SDK)."""

    name: str | None = None
    description: str | None = None


class AssetItem(Message):
    """One asset in the answer of `GET .../runs/{id}/assets`, without its content (SDK). `size` in bytes."""

    id: str
    name: str
    created_at: str
    size: int
    content_type: str
    description: str | None = None
    visual: dict[str, Any] | None = None


class AssetPage(Message, omit_defaults=False):
    """Answer of `GET .../runs/{id}/assets` (SDK)."""

    items: list[AssetItem] = []


class AssetDownload(Message):
    """Answer of `GET .../runs/{id}/assets/{asset}`: where to GET the content (SDK)."""

    download_url: str
    type: str


class Application(Message, omit_defaults=False):
    """An application, as `GET /v1/applications/{id}` shows it (SDK)."""

    id: str
    name: str = ""
    description: str = ""
    type: str = "custom"
    default_instance_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class NewApplication(Message):
    """Body of `POST /v1/applications` (SDK)."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    default_instance_id: str | None = None


class ErrorAnswer(Message):
    """Body of a refusal; both keys have been seen."""

    error: str | None = None
    message: str | None = None
