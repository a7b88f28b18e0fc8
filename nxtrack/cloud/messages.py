"""The messages of the Nextmv Cloud API about runs: one definition each, for client, delivery and local platform.

Field names are the platform's. Sources: the platform's "Track runs" and "Large payloads" guides; fields that only
the public Python SDK (1.13) shows are marked (SDK). Unknown fields in an answer are ignored, as the platform may
add some. What is not about runs stands in `resources`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

TrackedStatus = Literal["succeeded", "failed"]
"""What a tracked run may have become."""

FINAL_STATUSES: frozenset[str] = frozenset({"succeeded", "failed", "canceled"})
"""Statuses after which a run no longer changes."""

# A hundred years; it also keeps the number within what a database holds.
_LONGEST_DURATION = 100 * 366 * 24 * 3600 * 1000

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=_LONGEST_DURATION)]
"""A duration in whole milliseconds."""

RunName = Annotated[str, msgspec.Meta(max_length=1_000)]
"""What people call a run or an application. Only requests are held to its length."""

Description = Annotated[str, msgspec.Meta(max_length=10_000)]
"""What people say of a run or an application, held to its length as its name is."""

ID_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""How ids look that the local platform takes. The cloud's own rule is not published."""

# Only described: who takes a request says in a sentence what is wrong with an id.
Id = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": ID_PATTERN})]
"""What names an application, an instance, a run or an experiment."""


class Message(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Base of all messages: fields that have their default are left out of the JSON."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the message that a decoded answer holds.

        Raises:
            ValueError: It holds no such message.
        """
        return msgspec.convert(data, cls)

    def to_dict(self) -> dict[str, Any]:
        """Returns the message as it stands in JSON, decoded: plain values all through."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


def read_message(data: bytes, kind: type[T]) -> T:
    """Reads an answer; where a field holds null that is not to, as if it were left out.

    Raises:
        ValueError: It holds no such message.
        RecursionError: It is nested too deeply.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(msgspec.json.decode(data)), kind)


def _without_nulls(value: Any, deepest: int = 4) -> Any:
    if not isinstance(value, dict) or not deepest:
        return cast("Any", value)
    fields = cast("dict[str, Any]", value)
    # What an output says is not ours to change.
    return {
        name: field if name == "output" and "metadata" in fields else _without_nulls(field, deepest - 1)
        for name, field in fields.items()
        if field is not None
    }


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


Form = Literal["json", "text", "csv-archive", "multi-file"]
"""What an input or output is; the last two are a directory as a `.tar.gz` (SDK)."""


class ContentFormat(Message, omit_defaults=False):
    """The format of an input or output: `json`, `text`, `csv-archive` or `multi-file` (SDK)."""

    type: Form = "json"


class RunFormat(Message, omit_defaults=False):
    """The formats of a run's input and output; the SDK's command line names only the first (SDK)."""

    input: ContentFormat = msgspec.field(default_factory=ContentFormat)
    output: ContentFormat | None = None


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
    name: RunName | None = None
    description: Description | None = None
    options: dict[str, str] | None = None
    configuration: RunConfiguration | None = None
    batch_experiment_id: Id | None = None
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

    @property
    def outcome(self) -> str:
        """The status; of an answer that has only the older field, that one."""
        return self.status if self.status_v2 == "none" else self.status_v2

    @property
    def is_final(self) -> bool:
        """Whether the run no longer changes."""
        return self.outcome in FINAL_STATUSES


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

    output: Any = None
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


class RunList(Message):
    """Answer of `GET .../runs`: newest first; `next_page_token` goes back as `pagetoken`; absent on the last page."""

    runs: list[RunListItem]
    next_page_token: str | None = None


class RunPage(Message):
    """What a client reads of a `RunList`: no odd value in somebody's run may make the others unreadable."""

    runs: list[msgspec.Raw] = []
    next_page_token: str | None = None


class ListedRun(Message):
    """What is needed of a `RunListItem` that cannot be read as a whole."""

    id: str
    description: str | None = None
    created_at: str | None = None


class RunLogs(Message, omit_defaults=False):
    """Answer of `GET .../runs/{id}/logs`."""

    log: str = ""


class LogEntry(Message):
    """One piece of the logs, and when it was written (SDK: `TimestampedRunLog`)."""

    timestamp: str
    log: str


class LiveLogs(Message, omit_defaults=False):
    """Answer of `GET .../runs/{id}/logs/live` (SDK): what was logged since the last answer.

    `next_page_token` goes back as `since`. A client that sees a final `status_v2` asks no more.
    """

    items: list[LogEntry]
    status_v2: str
    next_page_token: str
    next_available_in_seconds: float


class RunChange(Message):
    """Body of `PUT .../runs/{id}`: what is left out stays as it is (SDK)."""

    name: RunName | None = None
    description: Description | None = None


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


class Done(Message):
    """An answer that says nothing but that it is done."""


class ErrorAnswer(Message):
    """Body of a refusal; both keys have been seen."""

    error: str | None = None
    message: str | None = None
