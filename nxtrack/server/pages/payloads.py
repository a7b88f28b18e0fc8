"""What the pages show of a run's payloads: trees, texts, logs and drawings, each within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack.server.drawing import terminal
from nxtrack.server.drawing.assets import Drawing, draw
from nxtrack.server.drawing.trees import tree
from nxtrack.server.endpoints.objects import download_url
from nxtrack.server.refusals import ApiRefusal
from nxtrack.server.state import platform_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from starlette.requests import Request

    from nxtrack.server.data.records import Run, StoredAsset

READABLE_BYTES = 2 * 1024 * 1024
"""A larger document is not decoded for a page; its beginning is shown as it is."""

_FIRST_BYTES = 16 * 1024
_DRAWN_BYTES = 4 * 1024 * 1024
_SHOWN_ASSETS = 50
_DRAWN_CHARACTERS = 1_000_000
_TRACEBACK = "Traceback (most recent call last):"
_LONGEST_TRACEBACK = 200
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A payload as a page shows it.

    Attributes:
        kind: `input`, `output`, `stdout` and so on.
        size: Bytes.
        link: Where it is downloaded; None when it is too large for that.
        tree: A JSON document; None for what is none, or too large.
        text: A text, or the beginning of one; None for archives and trees.
        cut: Whether `text` is only the beginning.
    """

    kind: str
    size: int
    link: str | None
    tree: Markup | None = None
    text: str | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Logs as a page shows them: their end, as a terminal would have it."""

    html: Markup
    lines: int
    cut: bool
    traceback: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAsset:
    """An asset as a page shows it: drawn where it can be, and its content as a payload."""

    asset: StoredAsset
    title: str
    drawings: Sequence[Drawing]
    content: Shown


def shown(request: Request, run: Run, kind: str) -> Shown | None:
    """One of a run's payloads; None when it has none of that kind."""
    artefact = run.artefacts.get(kind)
    if artefact is None:
        return None
    payloads = platform_of(request).payloads
    base = Shown(kind=kind, size=artefact.size, link=link_to(request, run, kind))
    form = run.format_of(kind)
    if form not in {"json", "text"}:
        return base
    if artefact.size > READABLE_BYTES:
        with payloads.path(artefact.payload).open("rb") as file:
            return _with(base, text=_readable(file.read(_FIRST_BYTES)), cut=True)
    data = payloads.read(artefact.payload)
    if form == "json":
        try:
            return _with(base, tree=tree(msgspec.json.decode(data)))
        except (ValueError, RecursionError):
            pass
    return _with(base, text=_readable(data[:_FIRST_BYTES]), cut=artefact.size > _FIRST_BYTES)


def logs(data: bytes, *, cut: bool, most: int) -> Logs:
    """Logs, or the end of them.

    Args:
        data: The bytes.
        cut: Whether there are more before them, so that their first line is not whole.
        most: How many characters the page has for them, roughly.
    """
    if cut:
        data = data.partition(b"\n")[2] or data
    replay = terminal.replay(data.decode(errors="replace"), most=most)
    return Logs(
        html=terminal.html(replay.lines),
        lines=len(replay.lines),
        cut=cut or replay.cut,
        traceback=_last_traceback(terminal.plain(replay.lines)),
    )


def assets(request: Request, run: Run) -> list[ShownAsset]:
    """The assets of a run; what is drawn of them shares the room that a page has."""
    room = _DRAWN_CHARACTERS
    unread = _DRAWN_BYTES
    found: list[ShownAsset] = []
    for asset in platform_of(request).store.assets(run)[:_SHOWN_ASSETS]:
        visual = asset.visual or {}
        label = visual.get("label")
        drawings: list[Drawing] = []
        content = Shown(kind=asset.kind, size=asset.size, link=link_to(request, run, asset.kind))
        if asset.size <= min(unread, READABLE_BYTES):
            unread -= asset.size
            value = document(request, run, asset.kind)
            content = _with(content, tree=tree(value))
            schema = visual.get("schema")
            drawings = draw(value, schema if isinstance(schema, str) else None) if room > 0 else []
            room -= sum(len(drawing.svg) for drawing in drawings)
        found.append(
            ShownAsset(
                asset=asset,
                title=label if isinstance(label, str) and label else asset.name,
                drawings=drawings,
                content=content,
            )
        )
    return found


def document(request: Request, run: Run, kind: str) -> Any:
    """A JSON payload, decoded; None when it is none after all."""
    try:
        return msgspec.json.decode(platform_of(request).payloads.read(run.artefacts[kind].payload))
    except (ValueError, RecursionError):
        return None


def link_to(request: Request, run: Run, kind: str) -> str | None:
    """Where a payload is downloaded; None when it is too large for that."""
    try:
        return download_url(request, run, kind)
    except ApiRefusal:
        return None


def _with(base: Shown, *, tree: Markup | None = None, text: str | None = None, cut: bool = False) -> Shown:
    return Shown(kind=base.kind, size=base.size, link=base.link, tree=tree, text=text, cut=cut)


def _readable(data: bytes) -> str:
    """Text without what controls a terminal or reorders it; a character cut in half at the end is left out."""
    return "\n".join(terminal.plain(terminal.replay(data.decode(errors="replace").rstrip("�")).lines))


def _last_traceback(lines: list[str]) -> list[tuple[str, bool]]:
    """The traceback at the end of logs, with those it is chained to; each line with whether it tells a place."""
    starts = [place for place, line in enumerate(lines) if line == _TRACEBACK]
    if not starts:
        return []
    start = starts.pop()
    while starts and any(line.startswith(_CHAINED) for line in lines[max(0, start - 2) : start]):
        start = starts.pop()
    found = lines[start:]
    if len(found) > _LONGEST_TRACEBACK:
        found = [*found[:20], "…", *found[20 - _LONGEST_TRACEBACK :]]
    return [(line, line.startswith('  File "')) for line in found]
