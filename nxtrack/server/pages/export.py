"""The run history as CSV, for spreadsheets and data frames: the runs that the page lists, all of them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from nxtrack.server.data import listing
from nxtrack.server.data.contents import indicators
from nxtrack.server.pages.history import chosen_metric
from nxtrack.server.pages.rendering import HEADERS, problem
from nxtrack.server.pages.view import Unreadable, read
from nxtrack.server.state import platform_of
from nxtrack.server.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

Cells = dict[str, str | float | bool]

_FIRST = ("application", "id", "name", "status", "instance", "created_at", "duration_ms", "experiment", "error")
# A spreadsheet takes a text that begins so for a formula (OWASP, CSV injection).
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def routes() -> list[BaseRoute]:
    """Which paths lead here."""
    return [Route("/history/runs.csv", as_csv)]


def as_csv(request: Request) -> Response:
    """`GET /history/runs.csv`: a line for each run of the history that its query describes, at most 10,000.

    Options and metrics have a column each, `options.NAME` and `metrics.NAME`. Long names and errors are cut, as they
    are on the page.
    """
    platform = platform_of(request)
    try:
        view = read(request.query_params, platform.signer)
    except Unreadable as error:
        return problem(error.status, str(error))
    wanted = view.wanted(platform.microseconds())
    with platform.store.reading() as db:
        numbers = listing.numbers(db, wanted)
        complete = len(numbers) <= listing.MOST_FOUND
        # As the page sorts them.
        order = view.order(chosen_metric(view, listing.metric_names(db, numbers[: listing.MOST_POINTS])))
        entries = listing.entries(db, wanted, order, limit=listing.MOST_FOUND, within=numbers if complete else None)
    headers = HEADERS | {"Content-Disposition": 'attachment; filename="runs.csv"'}
    return Response(_table(entries), media_type="text/csv; charset=utf-8", headers=headers)


def _table(entries: Sequence[listing.Entry]) -> str:
    rows = [_cells(entry) for entry in entries]
    names = dict.fromkeys(_FIRST)
    for prefix in ("options.", "metrics."):
        names |= dict.fromkeys(name for row in rows for name in row if name.startswith(prefix))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names], restval="")
    writer.writerow({name: _harmless(name) for name in names})
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cells(entry: listing.Entry) -> Cells:
    first = (
        entry.application,
        entry.id,
        entry.name,
        entry.status,
        entry.instance,
        rfc3339(entry.created_at),
        entry.duration,
        entry.experiment or "",
        entry.error,
    )
    cells: Cells = dict(zip(_FIRST, first, strict=True))
    cells |= {f"options.{name}": value for name, value in (entry.options or {}).items()}
    return cells | {f"metrics.{name}": value for name, value in indicators(entry.metrics or {})}


def _harmless(value: str | float | bool) -> str | float | bool:  # noqa: FBT001  # the value of a cell
    if not isinstance(value, str) or not value.startswith(_FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
