"""The pages for people, rendered here: the run history, one run, two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from nxtrack.server.pages import compare, export, files, history, run

if TYPE_CHECKING:
    from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """Which paths lead to a page, or to a file of one."""
    return [
        *history.routes(),
        *export.routes(),
        *run.routes(),
        *compare.routes(),
        Route("/static/{name}", files.static),
    ]
