"""Which path leads where."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from nxtrack.server import api, objects, pages, refusals
from nxtrack.server.auth import Guard, KeyCheck

if TYPE_CHECKING:
    from starlette.requests import Request

    from nxtrack.server.state import Platform


def make_app(platform: Platform, *, keys: KeyCheck, loopback: bool) -> Starlette:
    """The application that serves one platform."""
    app = Starlette(
        routes=_routes(),
        middleware=[Middleware(Guard, keys=keys, loopback=loopback)],
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


def _routes() -> list[BaseRoute]:
    run = "/applications/{app}/runs/{run}"
    return [
        Route("/healthz", healthz),
        Route("/", pages.history),
        Route("/runs/{app}/{run}", pages.run),
        Route("/static/{name}", pages.static),
        Route("/uploads/{upload_id}", objects.put_upload, methods=["PUT"]),
        Route("/downloads/{app}/{run}/{kind}", objects.get_download),
        Mount(
            "/v1",
            routes=[
                Route("/applications", api.create_application, methods=["POST"]),
                Route("/applications", api.list_applications),
                Route("/applications/{app}", api.get_application),
                Route("/applications/{app}", api.delete_application, methods=["DELETE"]),
                Route("/applications/{app}/runs/uploadurl", objects.create_upload, methods=["POST"]),
                Route("/applications/{app}/runs", api.create_run, methods=["POST"]),
                Route("/applications/{app}/runs", api.list_runs),
                Route(run, api.get_run),
                Route(run, api.change_run, methods=["PUT"]),
                Route(run, api.delete_run, methods=["DELETE"]),
                Route(f"{run}/metadata", api.get_metadata),
                Route(f"{run}/input", api.get_input),
                Route(f"{run}/output", api.get_output),
                Route(f"{run}/logs", api.get_logs),
                Route(f"{run}/assets", api.list_assets),
                Route(f"{run}/assets/{{asset}}", api.get_asset),
            ],
        ),
    ]


def healthz(_: Request) -> Response:
    """`GET /healthz`: the platform is up."""
    return PlainTextResponse("ok\n")
