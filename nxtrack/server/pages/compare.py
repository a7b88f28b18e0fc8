"""The page of two runs side by side, with what differs between them."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from nxtrack.differences import (
    Changes,
    LogLine,
    Row,
    between_documents,
    between_logs,
    between_mappings,
)
from nxtrack.server.drawing import terminal
from nxtrack.server.drawing.facts import flat
from nxtrack.server.pages import payloads
from nxtrack.server.pages.rendering import duration_text, number_text, page, problem, size_text, when_text
from nxtrack.server.pages.run import find, shown_value
from nxtrack.server.state import platform_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from nxtrack.server.data.records import Run

_LOG_BYTES = 512 * 1024
_LONGEST_LINE = 2_000
_LONGEST_VALUE = 240
_WANTED = 2
_OTHER_FORM = "They differ, and are not in a form that can be compared here."
_MINUS = "\N{MINUS SIGN}"
_TENTH, _TENFOLD = 0.1, 9.995


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One row of a table: a name, both values, and how much they differ, all for people."""

    name: str
    sign: str
    old: str
    new: str
    change: str = ""
    share: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What differs between two payloads of the same kind.

    Attributes:
        kind: `input`, `output` or `logs`.
        sizes: Of both, in bytes; None where there is none.
        same: Whether they are the same, byte for byte.
        changes: For two JSON documents.
        lines: For two texts.
        cut: Whether there are more.
        note: Why they are not compared; empty when they are.
    """

    kind: str
    sizes: tuple[int | None, int | None]
    same: bool = False
    changes: Changes | None = None
    lines: Sequence[LogLine] = field(default_factory=list[LogLine])
    cut: bool = False
    note: str = ""


def routes() -> list[BaseRoute]:
    """Which paths lead here."""
    return [Route("/compare", compare)]


def compare(request: Request) -> Response:
    """`GET /compare?a=APP/RUN&b=APP/RUN`, or twice `run=APP/RUN` as a form with check boxes has it."""
    query = request.query_params
    named = [name for name in (query.get("a"), query.get("b")) if name] or query.getlist("run")
    if len(named) != _WANTED:
        return problem(
            HTTPStatus.BAD_REQUEST, f"Two runs can be compared, and {len(named)} were chosen: tick exactly two."
        )
    parts = [name.partition("/") for name in named]
    found = [find(request, application, run) for application, _, run in parts]
    old, new = found
    if old is None or new is None:
        which = " and ".join(name for name, run in zip(("first", "second"), found, strict=True) if run is None)
        return problem(HTTPStatus.NOT_FOUND, f"There is no such run as the {which} one: it may have been deleted.")
    return page(
        "compare.html",
        old=old,
        new=new,
        facts=_facts(old, new),
        options=[_told(row, str) for row in between_mappings(old.options, new.options)],
        metrics=[_told(row, shown_value) for row in between_mappings(flat(old.metrics), flat(new.metrics))],
        payloads=[_compared(request, old, new, kind) for kind in ("input", "output")],
        logs=_compared_logs(request, old, new),
    )


def _facts(old: Run, new: Run) -> list[Told]:
    texts = [
        ("Application", old.application, new.application),
        ("Instance", old.instance, new.instance),
        ("Batch experiment", old.experiment or "", new.experiment or ""),
        ("Time (UTC)", when_text(old.created_at), when_text(new.created_at)),
    ]
    sizes = [(kind, old.artefacts.get(kind), new.artefacts.get(kind)) for kind in ("input", "output", "logs")]
    told = _one("Status", old.status, new.status, str)
    told += _one("Duration", old.duration, new.duration, duration_text)
    for name, one, other in texts:
        told += _one(name, one, other, str) if one or other else []
    for kind, mine, its in sizes:
        told += _one(f"Size of {kind}", mine and mine.size, its and its.size, _size)
    return told


def _one(name: str, old: object, new: object, text: Callable[[Any], str]) -> list[Told]:
    return [_told(row, text) for row in between_mappings({name: old}, {name: new})]


def _size(value: int | None) -> str:
    return size_text(value) if value is not None else "none"


def _told(row: Row, text: Callable[[Any], str]) -> Told:
    change = ""
    if row.change is not None:
        whole = text in {duration_text, size_text, _size}
        change = _signed(row.change, text(abs(int(row.change))) if whole else number_text(abs(row.change)))
    return Told(
        name=row.name,
        sign=row.sign,
        old="" if row.sign == "+" else text(row.old),
        new="" if row.sign == "-" else text(row.new),
        change=change,
        share="" if row.share is None else _signed(row.share, _percent(abs(row.share))),
    )


def _signed(change: float, text: str) -> str:
    return f"{'+' if change > 0 else _MINUS}{text}"


def _percent(share: float) -> str:
    """A share with about three digits that count."""
    digits = 2 if share < _TENTH else 1 if share < _TENFOLD else 0
    return f"{share:,.{digits}%}"


def _compared(request: Request, old: Run, new: Run, kind: str) -> Compared:
    store = platform_of(request).payloads
    mine, its = old.artefacts.get(kind), new.artefacts.get(kind)
    base = Compared(kind=kind, sizes=(mine.size if mine else None, its.size if its else None))
    if mine is None or its is None:
        return base
    if mine.payload == its.payload or filecmp.cmp(store.path(mine.payload), store.path(its.payload), shallow=False):
        return Compared(kind=kind, sizes=base.sizes, same=True)
    formats = {run.format_of(kind) for run in (old, new)}
    if len(formats) > 1 or not formats <= {"json", "text"}:
        return Compared(kind=kind, sizes=base.sizes, note=_OTHER_FORM)
    if max(mine.size, its.size) > payloads.READABLE_BYTES:
        return Compared(
            kind=kind,
            sizes=base.sizes,
            note=f"They differ, and are larger than the {size_text(payloads.READABLE_BYTES)} that are compared here.",
        )
    if formats == {"json"}:
        documents = [payloads.document(request, run, kind) for run in (old, new)]
        changes = between_documents(*documents, longest=_LONGEST_VALUE)
        return Compared(kind=kind, sizes=base.sizes, changes=changes, cut=changes.cut)
    lines, cut = _between_texts(store.read(mine.payload), store.read(its.payload))
    return Compared(kind=kind, sizes=base.sizes, lines=lines, cut=cut)


def _compared_logs(request: Request, old: Run, new: Run) -> Compared:
    platform = platform_of(request)
    data = [platform.logs(run, last=_LOG_BYTES + 1) for run in (old, new)]
    longer = any(len(one) > _LOG_BYTES for one in data)
    lines, cut = _between_texts(*(one[-_LOG_BYTES:] for one in data))
    sizes = (len(data[0]) or None, len(data[1]) or None)
    return Compared(kind="logs", sizes=sizes, same=not lines and not longer, lines=lines, cut=cut or longer)


def _between_texts(old: bytes, new: bytes) -> tuple[list[LogLine], bool]:
    one, other = (
        [line[:_LONGEST_LINE] for line in terminal.plain(terminal.replay(data.decode(errors="replace")).lines)]
        for data in (old, new)
    )
    return between_logs(one, other)
