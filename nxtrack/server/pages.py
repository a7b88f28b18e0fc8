"""The run-history page: every run in a table, and one page for each, rendered here and without scripts."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jinja2
import msgspec
from starlette.responses import PlainTextResponse, Response

from nxtrack.cloud.messages import FINAL_STATUSES
from nxtrack.server.answers import moment, rfc3339
from nxtrack.server.contents import indicators
from nxtrack.server.ids import is_id
from nxtrack.server.objects import download_url, platform_of
from nxtrack.server.refusals import ApiRefusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from nxtrack.server.store import Run

_HERE = Path(__file__).parent
_STATIC = {"style.css": ("text/css; charset=utf-8", (_HERE / "static" / "style.css").read_bytes())}
_SECOND = 1_000
_SHOWN_BYTES = 256 * 1024
_SHOWN_LOG_BYTES = 64 * 1024
_SHOWN_METRICS = 3
_MOST_METRICS = 200
_SHOWN_APPLICATIONS = 500
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def history(request: Request) -> Response:
    """`GET /`: the runs of all applications, newest first; `application`, `status` and `before` in the query."""
    platform = platform_of(request)
    query = request.query_params
    application = query.get("application") or None
    status = query.get("status") or None
    token = query.get("before")
    before = platform.signer.number("history", token) if token else None
    if token and before is None:
        return _problem(HTTPStatus.BAD_REQUEST, "This link to older runs is not one that this page gave out.")
    size = platform.limits.page
    found = platform.store.runs(limit=size + 1, application=application, status=status, before=before)
    older = None
    if len(found) > size:
        kept = {"application": application or "", "status": status or ""}
        older = "?" + urlencode(kept | {"before": platform.signer.token("history", found[size - 1].number)})
    return _page(
        "history.html",
        runs=found[:size],
        older=older,
        newest=before is None,
        applications=[application.id for application in platform.store.applications(limit=_SHOWN_APPLICATIONS)],
        statuses=sorted(FINAL_STATUSES),
        application=application,
        status=status,
    )


def run(request: Request) -> Response:
    """`GET /runs/{app}/{run}`: all there is to see of one run."""
    platform = platform_of(request)
    application, name = request.path_params["app"], request.path_params["run"]
    found = platform.store.run(application, name) if is_id(application) and is_id(name) else None
    if found is None:
        return _problem(HTTPStatus.NOT_FOUND, "There is no such run: it may have been deleted.")
    return _page(
        "run.html",
        run=found,
        payloads=[_shown(request, found, kind) for kind in ("input", "output", "logs") if kind in found.artefacts],
        assets=[(asset, _link(request, found, asset.kind)) for asset in platform.store.assets(found)],
    )


def static(request: Request) -> Response:
    """`GET /static/{name}`: the style sheet."""
    found = _STATIC.get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("There is no such file.\n", status_code=HTTPStatus.NOT_FOUND)
    media, body = found
    headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type=media, headers=headers)


def _shown(request: Request, run: Run, kind: str) -> dict[str, Any]:
    """A payload as the page shows it: whole when it is small, the end of longer logs, else only a link."""
    artefact = run.artefacts[kind]
    payloads = platform_of(request).payloads
    text, cut = None, False
    if kind == "logs":
        cut = artefact.size > _SHOWN_LOG_BYTES
        text = payloads.read(artefact.payload, last=_SHOWN_LOG_BYTES).decode(errors="replace")
    elif artefact.size <= _SHOWN_BYTES and (run.input_format if kind == "input" else run.output_format) in {
        "json",
        "text",
    }:
        text = _pretty(payloads.read(artefact.payload))
    return {"kind": kind, "size": artefact.size, "text": text, "cut": cut, "link": _link(request, run, kind)}


def _pretty(data: bytes) -> str:
    try:
        return msgspec.json.format(data, indent=2).decode(errors="replace")
    except (ValueError, RecursionError):
        return data.decode(errors="replace")


def _link(request: Request, run: Run, kind: str) -> str | None:
    try:
        return download_url(request, run, kind)
    except ApiRefusal:
        return None


def duration_text(milliseconds: int) -> str:
    """A duration for people: `340 ms`, `12.3 s`, `4 min 05 s`, `3 h 12 min`."""
    seconds = milliseconds // _SECOND
    if not seconds:
        return f"{milliseconds} ms"
    minutes, seconds = divmod(seconds, 60)
    if not minutes:
        # Cut, not rounded: 59,999 ms are not yet a minute.
        return f"{milliseconds // 100 / 10:.1f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def size_text(count: int) -> str:
    """A size for people, in decimal units: `812 B`, `1.2 kB`, `5.0 MB`."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes_each:
            return f"{count / bytes_each:.1f} {unit}"
    return f"{count} B"


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _few(metrics: dict[str, Any] | None) -> list[tuple[str, str]]:
    return [(name, _number(value)) for name, value in indicators(metrics or {}, most=_SHOWN_METRICS)]


def _all(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, _number(value)) for name, value in indicators(metrics, most=_MOST_METRICS)]


def _when(microseconds: int) -> str:
    return f"{moment(microseconds):%Y-%m-%d %H:%M:%S}"


def _page(template: str, **values: object) -> Response:
    html = _TEMPLATES.get_template(template).render(values)
    return Response(html, media_type="text/html; charset=utf-8", headers=_HEADERS)


def _problem(status: int, message: str) -> Response:
    answer = _page("problem.html", message=message)
    answer.status_code = status
    return answer


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "duration": duration_text,
        "size": size_text,
        "few": _few,
        "metrics": _all,
        "when": _when,
        "rfc3339": rfc3339,
    }
    environment.filters.update(filters)
    return environment


_TEMPLATES = _environment()
