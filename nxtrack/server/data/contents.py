"""What is read out of payloads: whether they are JSON or text, and the metrics and assets they hold."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_METRIC_NAME = 200
"""Characters of a metric's dotted name, beyond which it is found in the output alone."""
_MOST_ASSETS = 100
_MOST_METRIC_BYTES = 256 * 1024
_CHUNK = 1024 * 1024

Document = msgspec.Raw | msgspec.UnsetType


class Asset(msgspec.Struct, kw_only=True):
    """One asset, as the public SDK (1.13) writes it: `content` is any JSON."""

    name: str
    content: msgspec.Raw
    content_type: str = "json"
    description: str | None = None
    visual: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    metrics: Document = msgspec.UNSET
    statistics: Document = msgspec.UNSET
    assets: Document = msgspec.UNSET


class _StatisticsResult(msgspec.Struct):
    duration: float | None = None
    value: Any = None
    custom: dict[str, Any] | None = None


class _Statistics(msgspec.Struct):
    result: _StatisticsResult | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What an output, or an upload of its own, says of a run."""

    metrics: dict[str, Any] | None = None
    assets: list[Asset] = field(default_factory=list[Asset])


def is_json(data: bytes) -> bool:
    """Whether `data` is one JSON document in UTF-8, so that it may stand inside an answer as it is."""
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def is_text(path: Path) -> bool:
    """Whether a file is UTF-8 text; reads it piece by piece."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def in_output(data: bytes) -> Findings:
    """What a JSON output says under `metrics` (or, as it once was, `statistics`) and `assets`; odd ones are skipped."""
    output = _members(data)
    metrics = _metrics(output.metrics)
    return Findings(metrics if metrics is not None else _statistics(output.statistics), _assets(output.assets))


def in_upload(kind: str, data: bytes) -> Findings:
    """What an upload of `metrics`, `statistics` or `assets` says, whether under that name or as the whole of it."""
    inner = getattr(_members(data), kind)
    document = msgspec.Raw(data) if inner is msgspec.UNSET else inner
    if kind == "assets":
        return Findings(assets=_assets(document))
    return Findings(metrics=_metrics(document) if kind == "metrics" else _statistics(document))


def _members(data: bytes) -> _Output:
    try:
        return msgspec.json.decode(data, type=_Output)
    except (ValueError, RecursionError):
        return _Output()


def _metrics(document: Document) -> dict[str, Any] | None:
    # Larger ones would make every page of the run list slow; they stay in the output all the same.
    if document is msgspec.UNSET or len(bytes(document)) > _MOST_METRIC_BYTES:
        return None
    try:
        return msgspec.json.decode(document, type=dict[str, Any])
    except (ValueError, RecursionError):
        return None


def _statistics(document: Document) -> dict[str, Any] | None:
    if document is msgspec.UNSET or len(bytes(document)) > _MOST_METRIC_BYTES:
        return None
    try:
        result = msgspec.json.decode(document, type=_Statistics).result
    except (ValueError, RecursionError):
        return None
    if result is None:
        return None
    named = {"value": result.value, "duration": result.duration}
    return {name: value for name, value in named.items() if value is not None} | (result.custom or {})


def _assets(document: Document) -> list[Asset]:
    if document is msgspec.UNSET:
        return []
    try:
        entries = msgspec.json.decode(document, type=list[msgspec.Raw])
    except (ValueError, RecursionError):
        return []
    found: list[Asset] = []
    for entry in entries[:_MOST_ASSETS]:
        try:
            found.append(msgspec.json.decode(entry, type=Asset))
        except (ValueError, RecursionError):
            continue
    return found


def indicators(metrics: dict[str, Any], *, most: int = 50) -> list[tuple[str, str | float | bool]]:
    """The single values in metrics, by dotted names of at most 200 characters: what fits in a list of runs."""
    found: list[tuple[str, str | float | bool]] = []
    # A name is made when its turn comes, and long ones are left out: with many members each they would fill the memory.
    left = [("", iter(metrics.items()))]
    while left and len(found) < most:
        prefix, members = left[-1]
        key, value = next(members, (None, None))
        if key is None:
            left.pop()
            continue
        if len(prefix) + len(key) > LONGEST_METRIC_NAME:
            continue
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            left.append((f"{name}.", iter(cast("dict[str, Any]", value).items())))
        elif isinstance(value, str | int | float):
            found.append((name, value))
    return found
