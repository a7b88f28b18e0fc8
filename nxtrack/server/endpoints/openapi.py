"""Describes the platform's API as an OpenAPI 3.1 document, out of its operations and the messages they carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, cast

import msgspec

from nxtrack.cloud.messages import ID_PATTERN, ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

JSON = "application/json"
XML = "application/xml"
TEXT = "text/plain"
BYTES = "application/octet-stream"

_SCHEMA = "#/components/schemas/{name}"
ID: Mapping[str, Any] = {"type": "string", "pattern": ID_PATTERN}
_TEXT: Mapping[str, Any] = {"type": "string"}
# The parameters of paths: what the guides call them, what they are, and how they look.
_PATH: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "app": ("application_id", "The application's id.", ID),
    "run": ("run_id", "The run's id.", ID),
    "instance": ("instance_id", "The instance's id.", _TEXT),
    "experiment": ("batch_experiment_id", "The batch experiment's id.", _TEXT),
    "asset": ("asset_id", "The asset's id.", _TEXT),
    "kind": ("kind", "Which of a run's payloads.", _TEXT),
    "upload_id": ("upload_id", "The upload's id.", _TEXT),
}
_SAID: dict[HTTPStatus, str] = {
    HTTPStatus.BAD_REQUEST: "The request cannot be used; the sentence names the field.",
    HTTPStatus.UNAUTHORIZED: "The request carries no API key, or not the one of this platform.",
    HTTPStatus.FORBIDDEN: "The URL is not one that was signed here, or has expired.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.REQUEST_TIMEOUT: "The request's body stalled.",
    HTTPStatus.CONFLICT: "What is there already forbids it.",
    HTTPStatus.LENGTH_REQUIRED: "The request says no Content-Length.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "It is larger than the limit.",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "The payload has no such range.",
    HTTPStatus.MISDIRECTED_REQUEST: "The Host header names another machine than this one, which serves only itself.",
    HTTPStatus.TOO_MANY_REQUESTS: "The rate limit is reached (with --rate-limit): try again after the seconds given.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The platform cannot read or write its data.",
}
_HEADERS: dict[HTTPStatus, tuple[str, Mapping[str, Any]]] = {
    HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After", {"type": "integer", "minimum": 1}),
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", _TEXT),
}
# What any request under /v1 may be told.
_ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

Handler = Callable[["Request"], Any]
_Schemas = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter that need not be given: its name, where it stands, its JSON schema, and what it is for."""

    name: str
    schema: Mapping[str, Any]
    description: str
    place: str = "query"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing that can be asked of the platform.

    Attributes:
        method: The HTTP method.
        path: With `{name}` for each parameter.
        handler: The endpoint, whose name is the operation's id.
        summary: What it does.
        answer: The message that answers it, a tuple of those that may, or schemas by media type.
        body: The message that it takes, or schemas by media type.
        parameters: What the query or the headers may hold.
        refusals: Statuses that it answers besides those that any request may get.
        links: For what its answer may serve next: an operation's id, and which of its parameters get what.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Any
    body: Any = None
    parameters: tuple[Parameter, ...] = ()
    refusals: tuple[HTTPStatus, ...] = ()
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @property
    def keyed(self) -> bool:
        """Whether it needs an API key."""
        return self.path.startswith("/v1/")

    @property
    def group(self) -> str:
        """What it belongs to."""
        if self.signed:
            return "payloads"
        parts = self.path.split("/")
        return next(
            (part for part in ("runs", "experiments", "instances", "applications") if part in parts), "platform"
        )

    @property
    def signed(self) -> bool:
        """Whether its URL is signed, and it is answered in the manner of an object store."""
        return self.path.startswith(("/uploads/", "/downloads/"))


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    found = list(operations)
    messages = [ErrorAnswer, *(kind for one in found for kind in (*_messages(one.answer), *_messages(one.body)))]
    references, schemas = msgspec.json.schema_components(messages, ref_template=_SCHEMA)
    schema_of: _Schemas = dict(zip(map(repr, messages), references, strict=True))
    for schema in schemas.values():
        schema["description"] = cleandoc(schema["description"])
    paths: dict[str, dict[str, Any]] = {}
    for operation in found:
        described = _operation(operation, schema_of)
        paths.setdefault(_published(operation.path), {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nxtrack's local platform",
            "version": version("nxtrack"),
            "description": "The part of the Nextmv Cloud API that tracked runs, remote runs and large payloads need.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                **{f"Api{int(status)}": _refusal(status, {JSON: schema_of[repr(ErrorAnswer)]}) for status in _SAID},
                **{f"Object{int(status)}": _refusal(status, {XML: {}, TEXT: {}}) for status in _SAID},
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "The API key."}},
        },
    }


def _published(path: str) -> str:
    for inner, (name, _, _) in _PATH.items():
        path = path.replace(f"{{{inner}}}", f"{{{name}}}")
    return path


def _operation(operation: Operation, schema_of: _Schemas) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done.", **_content(operation.answer, schema_of)}
    if operation.links:
        done["links"] = {name: {"operationId": name, **link} for name, link in operation.links.items()}
    responses: dict[str, Any] = {"200": done}
    for status in sorted({*operation.refusals, *(_ALWAYS if operation.keyed else (HTTPStatus.MISDIRECTED_REQUEST,))}):
        # Who is let in is judged before it is known what is asked for: that is always told in JSON.
        manner = "Object" if operation.signed and status != HTTPStatus.MISDIRECTED_REQUEST else "Api"
        responses[str(int(status))] = {"$ref": f"#/components/responses/{manner}{int(status)}"}
    described: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": operation.summary,
        "tags": [operation.group],
        "security": [{"key": []}] if operation.keyed else [],
        "responses": responses,
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "description": said, "schema": schema}
        for inner, (name, said, schema) in _PATH.items()
        if f"{{{inner}}}" in operation.path
    ] + [
        {"name": one.name, "in": one.place, "description": one.description, "schema": one.schema}
        for one in operation.parameters
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": True, **_content(operation.body, schema_of)}
    return described


def _refusal(status: HTTPStatus, media: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": _SAID[status], **_content(media, {})}
    if status in _HEADERS:
        name, schema = _HEADERS[status]
        described["headers"] = {name: {"required": True, "schema": schema}}
    return described


def _content(kind: Any, schema_of: _Schemas) -> dict[str, Any]:
    by_media: Mapping[str, Any] = {}
    if isinstance(kind, Mapping):
        by_media = cast("Mapping[str, Any]", kind)
    elif references := [schema_of[repr(message)] for message in _messages(kind)]:
        by_media = {JSON: references[0] if len(references) == 1 else {"anyOf": references}}
    if not by_media:
        return {}
    return {"content": {media: {"schema": schema} if schema else {} for media, schema in by_media.items()}}


def _messages(kind: Any) -> tuple[Any, ...]:
    if kind is None or isinstance(kind, Mapping):
        return ()
    return kind if isinstance(kind, tuple) else (kind,)  # pyright: ignore[reportUnknownVariableType]
