"""Puts the platform's application together: what stands before every route, the routes, and how refusals are told."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from nxtrack.server import pages, refusals
from nxtrack.server.auth import Guard, KeyCheck
from nxtrack.server.endpoints import routes as api
from nxtrack.server.rates import RateLimit

if TYPE_CHECKING:
    from nxtrack.server.state import Platform


def make_app(platform: Platform, *, keys: KeyCheck, loopback: bool, rate_limit: bool = False) -> Starlette:
    """The application that serves one platform, with a rate limit or without one."""
    middleware = [Middleware(Guard, keys=keys, loopback=loopback)]
    if rate_limit:
        limits = platform.limits
        middleware.append(
            Middleware(
                RateLimit,
                runs_per_second=limits.runs_per_second,
                requests_per_minute=limits.requests_per_minute,
                clock=platform.clock,
            )
        )
    app = Starlette(
        routes=[*api.routes(), *pages.routes()],
        middleware=middleware,
        exception_handlers={
            HTTPException: refusals.on_http_error,
            refusals.ApiRefusal: refusals.on_api_refusal,
            refusals.ObjectRefusal: refusals.on_object_refusal,
            OSError: refusals.on_storage_error,
            sqlite3.Error: refusals.on_storage_error,
            Exception: refusals.on_fault,
        },
    )
    app.state.platform = platform
    app.router.redirect_slashes = False
    return app
