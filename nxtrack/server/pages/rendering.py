"""What all pages share: the templates, their filters, and the headers every page is sent with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import Response

from nxtrack.server.times import moment, rfc3339

_TEMPLATES_FOLDER = Path(__file__).parent.parent / "templates"
_SECOND = 1_000
_LARGE, _SMALL = 1e15, 1e-4
# No inline script or style anywhere: what a run says can at worst be text.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def page(template: str, **values: object) -> Response:
    """A page made from a template."""
    return Response(render(template, **values), media_type="text/html; charset=utf-8", headers=HEADERS)


def render(template: str, **values: object) -> str:
    """The text of a template, every value in it escaped."""
    return _TEMPLATES.get_template(template).render(values)


def problem(status: int, message: str) -> Response:
    """A page that says in one sentence why there is nothing else to see."""
    answer = page("problem.html", message=message)
    answer.status_code = status
    return answer


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


def number_text(value: object) -> str:
    """A metric for people: six digits that count, whole numbers in groups of three; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value and not _SMALL <= abs(value) < _LARGE:
        try:
            return f"{value:.6g}"
        except OverflowError:  # an integer beyond all floats
            return f"≈{'-' if value < 0 else ''}1e{math.floor(math.log10(abs(value)))}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1e6 else f"{value:,.6g}"  # noqa: PLR2004  # where six digits end


def ago_text(microseconds: int, now: int) -> str:
    """How long ago a moment was, both in microseconds since 1970: `just now`, `5 min ago`, `3 d ago`."""
    seconds = (now - microseconds) // 1_000_000
    if seconds < 0:
        return "in the future"
    for unit, each in (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= each and (unit != "s" or seconds > 9):  # noqa: PLR2004  # below, the page is older than that
            return f"{seconds // each} {unit} ago"
    return "just now"


def when_text(microseconds: int) -> str:
    """A moment in UTC, to the second: `2027-01-15 08:00:00`."""
    return f"{moment(microseconds):%Y-%m-%d %H:%M:%S}"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "ago": ago_text,
        "duration": duration_text,
        "number": number_text,
        "rfc3339": rfc3339,
        "size": size_text,
        "when": when_text,
    }
    environment.filters.update(filters)
    return environment


_TEMPLATES = _environment()
