"""The page of one run: all there is to see of it, and what changes while it runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from nxtrack.cloud.messages import FINAL_STATUSES
from nxtrack.documents import compact
from nxtrack.server.drawing.assets import draw_series
from nxtrack.server.drawing.facts import flat, series
from nxtrack.server.ids import is_id
from nxtrack.server.pages import payloads
from nxtrack.server.pages.rendering import HEADERS, number_text, page, problem, render
from nxtrack.server.state import platform_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from nxtrack.server.data.records import Run

_LOG_BYTES = 128 * 1024
_ALL_LOG_BYTES = 1024 * 1024
_HTML_EACH = 6
_TILES = 6
_MOST_SERIES = 8
_LONGEST_VALUE = 300
_NO_SUCH_RUN = "There is no such run: it may have been deleted."


def routes() -> list[BaseRoute]:
    """Which paths lead here."""
    return [
        Route("/runs/{app}/{run}", run),
        Route("/runs/{app}/{run}/live", live),
        Route("/runs/{app}/{run}/logs", all_logs),
        Route("/runs/{app}/{run}/cancel", cancel, methods=["POST"]),
        Route("/runs/{app}/{run}/delete", delete, methods=["POST"]),
    ]


def run(request: Request) -> Response:
    """`GET /runs/{app}/{run}`: all there is to see of one run."""
    found = find(request, request.path_params["app"], request.path_params["run"])
    if found is None:
        return problem(HTTPStatus.NOT_FOUND, _NO_SUCH_RUN)
    before = platform_of(request).store.runs(limit=1, application=found.application, before=found.number)
    metrics = flat(found.metrics)
    lines = {name: points for name, value in metrics.items() if (points := series(value))}
    return page(
        "run.html",
        **_changing(request, found),
        before=before[0] if before else None,
        tiles=_tiles(metrics),
        metrics=[(name, shown_value(value)) for name, value in metrics.items() if name not in lines],
        series=[draw_series(name, points) for name, points in list(lines.items())[:_MOST_SERIES]],
        output=payloads.shown(request, found, "output"),
        stdout=payloads.shown(request, found, "stdout"),
        input=payloads.shown(request, found, "input"),
        assets=payloads.assets(request, found),
    )


def live(request: Request) -> Response:
    """`GET .../live`: the parts of the page that change while the run does, for its script."""
    found = find(request, request.path_params["app"], request.path_params["run"])
    if found is None:
        return problem(HTTPStatus.NOT_FOUND, _NO_SUCH_RUN)
    return Response(
        render("run_live.html", **_changing(request, found)), media_type="text/html; charset=utf-8", headers=HEADERS
    )


def all_logs(request: Request) -> Response:
    """`GET .../logs`: the logs alone, and more of them."""
    found = find(request, request.path_params["app"], request.path_params["run"])
    if found is None:
        return problem(HTTPStatus.NOT_FOUND, _NO_SUCH_RUN)
    return page("run_logs.html", run=found, logs=_logs(request, found, _ALL_LOG_BYTES), link=_log_link(request, found))


def cancel(request: Request) -> Response:
    """`POST .../cancel`: cancels a queued or running run; `auth.Guard` has seen that no other web page asks for it."""
    found = find(request, request.path_params["app"], request.path_params["run"])
    if found is None:
        return problem(HTTPStatus.NOT_FOUND, _NO_SUCH_RUN)
    # A run that ended meanwhile is shown as it ended.
    platform_of(request).cancel(found)
    return RedirectResponse(f"/runs/{found.application}/{found.id}", HTTPStatus.SEE_OTHER, headers=HEADERS)


def delete(request: Request) -> Response:
    """`POST .../delete`: forgets a run, and leads to those that its application still has; see `cancel`."""
    found = find(request, request.path_params["app"], request.path_params["run"])
    if found is None:
        return problem(HTTPStatus.NOT_FOUND, _NO_SUCH_RUN)
    platform_of(request).remove(found)
    query = urlencode({"application": found.application})
    return RedirectResponse(f"/?{query}", HTTPStatus.SEE_OTHER, headers=HEADERS)


def find(request: Request, application: str, name: str) -> Run | None:
    """The run that a page asks for, by ids that may be anything."""
    if not is_id(application) or not is_id(name):
        return None
    return platform_of(request).store.run(application, name)


def shown_value(value: object) -> str:
    """A metric for people: numbers and texts as they read, anything else as JSON, none of it long."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"
    text = compact(value, longest=_LONGEST_VALUE + 1)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _changing(request: Request, run: Run) -> dict[str, Any]:
    """What the page and its live parts have in common."""
    platform = platform_of(request)
    now = platform.microseconds()
    active = run.status not in FINAL_STATUSES
    duration = run.duration
    if active:
        duration = max(0, now - run.started_at) // 1000 if run.started_at else 0
    return {
        "run": run,
        "now": now,
        "active": active,
        "duration": duration,
        "logs": _logs(request, run, _LOG_BYTES),
        "log_link": _log_link(request, run),
        "log_size": run.artefacts["logs"].size if "logs" in run.artefacts else None,
    }


def _logs(request: Request, run: Run, most: int) -> payloads.Logs:
    # One byte more tells whether there are more.
    data = platform_of(request).logs(run, last=most + 1)
    cut = len(data) > most
    return payloads.logs(data[1:] if cut else data, cut=cut, most=_HTML_EACH * most)


def _log_link(request: Request, run: Run) -> str | None:
    return payloads.link_to(request, run, "logs") if "logs" in run.artefacts else None


def _tiles(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The first few numbers among the metrics, to be seen at a glance."""
    numbers = [(name, value) for name, value in metrics.items() if isinstance(value, int | float)]
    return [(name, number_text(value)) for name, value in numbers if not isinstance(value, bool)][:_TILES]
