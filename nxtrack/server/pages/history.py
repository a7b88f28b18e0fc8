"""The run history: applications, and runs in a table and a plot, narrowed down, sorted and paged through."""

from __future__ import annotations

import hashlib
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from nxtrack.server.data import listing
from nxtrack.server.data.contents import indicators
from nxtrack.server.drawing.plots import draw
from nxtrack.server.endpoints.objects import base_url
from nxtrack.server.pages.rendering import HEADERS, number_text, page, problem, render
from nxtrack.server.pages.view import SPANS, STATUSES, Unreadable, View, read
from nxtrack.server.state import platform_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from nxtrack.server.state import Platform

_SHOWN_APPLICATIONS = 200
_SHOWN_EXPERIMENTS = 100
# Another start of the platform counts its changes anew.
_START = secrets.token_hex(8)
_SHOWN_METRICS = 2
_SHOWN_OPTIONS = 2
# What solvers and the platform's own documents call the value that is optimized.
_OBJECTIVES = ("objective", "objective_value", "result.value", "value", "cost", "total_cost", "makespan", "profit")


def routes() -> list[BaseRoute]:
    """Which paths lead here."""
    return [Route("/", history), Route("/history/live", live), Route("/history/points", as_table)]


def history(request: Request) -> Response:
    """`GET /`: the runs of all applications, or of one, newest first unless the query says otherwise."""
    return _answer(request, "history.html")


def as_table(request: Request) -> Response:
    """`GET /history/points`: what the plot shows, in a table."""
    return _answer(request, "points.html")


def live(request: Request) -> Response:
    """`GET /history/live`: the parts of the page that change while runs arrive; 304 while they are as they were."""
    platform = platform_of(request)
    try:
        view = read(request.query_params, platform.signer)
    except Unreadable as error:
        return problem(error.status, str(error))
    tag = _tag(platform, request.url.query, passing=bool(view.within))
    headers = HEADERS | {"ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    since = request.query_params.get("since", "")
    values = _values(platform, view, since=int(since) if since.isdecimal() and len(since) < 19 else None)  # noqa: PLR2004  # fits
    # Without the time that has passed, which the page tells by itself and which would change every answer.
    html = render("history_live.html", **values | {"now": None, "address": base_url(request)})
    return Response(html, media_type="text/html; charset=utf-8", headers=headers)


def _tag(platform: Platform, query: str, *, passing: bool) -> str:
    """What stays the same while the store does; with time that passes, for a minute at most."""
    minute = platform.microseconds() // 60_000_000 if passing else 0
    said = f"{_START} {platform.store.revision} {minute} {query}"
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'


def _answer(request: Request, template: str) -> Response:
    platform = platform_of(request)
    try:
        view = read(request.query_params, platform.signer)
    except Unreadable as error:
        return problem(error.status, str(error))
    return page(template, **_values(platform, view), address=base_url(request))


def _values(platform: Platform, view: View, *, since: int | None = None) -> dict[str, Any]:
    """All that the templates need, read from one state of the store."""
    now = platform.microseconds()
    wanted = view.wanted(now)
    size = platform.limits.page
    with platform.store.reading() as db:
        numbers = listing.numbers(db, wanted)
        complete = len(numbers) <= listing.MOST_FOUND
        newest = numbers[: listing.MOST_POINTS]
        names = listing.metric_names(db, newest)
        metric = chosen_metric(view, names)
        points = listing.points(db, newest, metric)
        order = view.order(metric)
        backwards = view.direction == "before" and view.place is not None
        entries = listing.entries(
            db,
            wanted,
            order,
            limit=size + 1,
            place=view.place,
            backwards=backwards,
            within=numbers if complete else None,
        )
        more = len(entries) > size
        entries = (entries[1:] if backwards else entries[:-1]) if more else entries
        measures = listing.measures(db, [entry.number for entry in entries], metric)
        total = len(numbers) if complete else listing.count(db, wanted)
        new = listing.news(db, wanted, since=since) if since is not None else 0
        values: dict[str, Any] = {
            "applications": listing.overview(db, most=_SHOWN_APPLICATIONS),
            "experiments": listing.experiments(db, wanted.application, most=_SHOWN_EXPERIMENTS),
            "newest": listing.newest(db),
        }
    link = {"after": None, "before": None} | _neighbours(platform, view, entries, more=more)
    return values | {
        "view": view,
        "now": now,
        "new": new,
        "entries": entries,
        "options": {entry.number: list((entry.options or {}).items())[:_SHOWN_OPTIONS] for entry in entries},
        "others": {entry.number: _others(entry, metric) for entry in entries},
        "measures": measures,
        "metric": metric,
        "metrics": names,
        "points": points,
        "plots": draw(points, metric),
        "total": total,
        "statuses": STATUSES,
        "spans": SPANS,
        "link": link,
    }


def chosen_metric(view: View, names: Sequence[str]) -> str:
    """The metric that gets a column and a plot: the one asked for, else the objective, else the most frequent."""
    if view.metric:
        return view.metric
    return next((name for name in _OBJECTIVES if name in names), names[0] if names else "")


def _neighbours(
    platform: Platform, view: View, entries: Sequence[listing.Entry], *, more: bool
) -> dict[str, str | None]:
    if not entries:
        return {}
    first, last = (listing.Place(entry.key, entry.number) for entry in (entries[0], entries[-1]))
    backwards = view.direction == "before" and view.place is not None
    found: dict[str, str | None] = {}
    if more or backwards:
        found["after"] = view.page_link(platform.signer, last, "after")
    if view.place is not None and (more or not backwards):
        found["before"] = view.page_link(platform.signer, first, "before")
    return found


def _others(entry: listing.Entry, metric: str) -> list[tuple[str, str]]:
    found = indicators(entry.metrics or {}, most=_SHOWN_METRICS + 1)
    return [(name, number_text(value)) for name, value in found if name != metric][:_SHOWN_METRICS]
