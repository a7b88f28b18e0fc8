"""The API as a whole: a route for each of its paths, and the document that describes it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec
from starlette.endpoints import HTTPEndpoint
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from nxtrack.server.endpoints.openapi import JSON, TEXT, Handler, Operation, document
from nxtrack.server.endpoints.operations import OPERATIONS

if TYPE_CHECKING:
    from starlette.requests import Request


def healthz(_: Request) -> Response:
    """`GET /healthz`: the platform is up."""
    return PlainTextResponse("ok\n")


def openapi(_: Request) -> Response:
    """`GET /openapi.json`: what this API has."""
    return Response(_document(), media_type=JSON, headers={"X-Content-Type-Options": "nosniff"})


_PUBLIC = (
    Operation(
        method="GET", path="/healthz", handler=healthz, summary="Tell whether the platform is up.", answer={TEXT: {}}
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        handler=openapi,
        summary="Describe this API.",
        answer={JSON: {"type": "object"}},
    ),
)


def routes() -> list[BaseRoute]:
    """One route for each path, which knows all of its methods: so a refused one is told the others."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in (*_PUBLIC, *OPERATIONS):
        by_path.setdefault(operation.path, {})[operation.method] = operation.handler
    return [Route(path, _endpoint(handlers)) for path, handlers in by_path.items()]


def _endpoint(handlers: dict[str, Handler]) -> type[HTTPEndpoint]:
    members = {method.lower(): staticmethod(handler) for method, handler in handlers.items()}
    return type("Endpoint", (HTTPEndpoint,), members)


@cache
def _document() -> bytes:
    return msgspec.json.format(msgspec.json.encode(document((*_PUBLIC, *OPERATIONS))), indent=1)
