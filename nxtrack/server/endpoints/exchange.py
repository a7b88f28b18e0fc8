"""What every endpoint of the API does with a request: reads it within bounds, checks it, and writes an answer."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from nxtrack.server.ids import is_id
from nxtrack.server.refusals import ApiRefusal
from nxtrack.server.state import platform_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from nxtrack.server.data.store import Run, StoredApplication

_Body = TypeVar("_Body")


class _Named(Protocol):
    @property
    def id(self) -> str: ...


_Item = TypeVar("_Item", bound=_Named)

SMALL_BODY = 64 * 1024
"""The most bytes of a request that changes a few fields."""

# The most entries of a list whose client did not ask for pages: it gets no token to go on with.
_UNPAGED = 1_000


def refuse(status: int, message: str) -> NoReturn:
    """Ends a request with a refusal.

    Raises:
        ApiRefusal: Always.
    """
    raise ApiRefusal(status, message)


def answer(content: object) -> Response:
    """A message, as JSON that no browser takes for anything else."""
    return Response(
        msgspec.json.encode(content), media_type="application/json", headers={"X-Content-Type-Options": "nosniff"}
    )


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request, read up to `limit` bytes.

    Raises:
        ApiRefusal: It is larger, stalls or breaks off.
    """
    body = bytearray()
    chunks = aiter(request.stream())
    try:
        while True:
            async with asyncio.timeout(platform_of(request).limits.idle_seconds):
                chunk = await anext(chunks, None)
            if chunk is None:
                return bytes(body)
            body += chunk
            if len(body) > limit:
                refuse(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"The request's body has more than {limit} bytes; upload large payloads and send their ids.",
                )
    except TimeoutError:
        raise ApiRefusal(HTTPStatus.REQUEST_TIMEOUT, "The request's body stalled; send it again.", close=True) from None
    except ClientDisconnect:
        refuse(HTTPStatus.BAD_REQUEST, "The request broke off.")  # Nobody is left to read this.


def decode(body: bytes, kind: type[_Body]) -> _Body:
    """The message in a body.

    Raises:
        ApiRefusal: It is not JSON in UTF-8, or not of that kind.
    """
    try:
        body.decode()
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as error:
        said = str(error).replace("`$.", "`")
        refuse(HTTPStatus.BAD_REQUEST, f"The request's body cannot be used: {said}.")


def check_id(what: str, name: str) -> None:
    """Refuses what can be no id of a `what`.

    Raises:
        ApiRefusal: It is none.
    """
    if not is_id(name):
        refuse(
            HTTPStatus.BAD_REQUEST,
            f"The {what} id may have letters, digits, `.`, `_` and `-`, begins with one of the first two, "
            "and has at most 128 of them.",
        )


def parameter(request: Request, name: str, *, one_of: tuple[str, ...] | None = None) -> str:
    """A parameter of the query; empty when it is not there.

    Raises:
        ApiRefusal: It is there twice, so that nobody can tell which is meant, or none of `one_of`.
    """
    given = request.query_params.getlist(name)
    if len(given) > 1:
        refuse(HTTPStatus.BAD_REQUEST, f"{name}: it stands in the query {len(given)} times.")
    value = given[0] if given else ""
    if given and one_of is not None and value not in one_of:
        refuse(HTTPStatus.BAD_REQUEST, f"{name}: it may be {' or '.join(one_of)}.")
    return value


def application_id(request: Request) -> str:
    """The application id in the path.

    Raises:
        ApiRefusal: It can be none.
    """
    name: str = request.path_params["app"]
    check_id("application", name)
    return name


def find_application(request: Request) -> StoredApplication:
    """The application in the path.

    Raises:
        ApiRefusal: There is none.
    """
    name = application_id(request)
    application = platform_of(request).store.application(name)
    if application is None:
        refuse(HTTPStatus.NOT_FOUND, f"No application {name} exists.")
    return application


def find_run(request: Request) -> Run:
    """The run in the path.

    Raises:
        ApiRefusal: There is none.
    """
    application = application_id(request)
    name: str = request.path_params["run"]
    check_id("run", name)
    run = platform_of(request).store.run(application, name)
    if run is None:
        refuse(HTTPStatus.NOT_FOUND, f"No run {name} exists in application {application}.")
    return run


class Cut:
    """Which part of a list in the order of its ids a request asks for.

    The public SDK (1.13) asks for pages by `pagereturn=true`, and takes the answer for the bare list without it.
    """

    def __init__(self, request: Request, what: str) -> None:
        """Reads `pagereturn` and `pagetoken`; `what` is what the list is of."""
        self.after = parameter(request, "pagetoken")
        if self.after:
            check_id(f"page token's {what}", self.after)
        self._paged = parameter(request, "pagereturn", one_of=("true", "false")) == "true" or bool(self.after)
        self._size = platform_of(request).limits.page if self._paged else _UNPAGED

    @property
    def limit(self) -> int:
        """How many entries to look for: one more than go into the answer, to know whether there is a next page."""
        return self._size + 1

    def answer(self, found: Sequence[_Item], message: Callable[[_Item], object]) -> Response:
        """The list, or a page of it, out of what was found."""
        items = [message(item) for item in found[: self._size]]
        if not self._paged:
            return answer(items)
        page: dict[str, object] = {"items": items}
        if len(found) > self._size:
            page["next_page_token"] = found[self._size - 1].id
        return answer(page)
