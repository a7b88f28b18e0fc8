"""What may befall a flush on the wire: requests and answers that are lost or refused, and a flusher that is killed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

from support.proxy import POST_RUN, UPLOAD_URL

if TYPE_CHECKING:
    from faults.files.apart import Child

LIST = r"/runs(\?.*)?$"
WIRE: dict[str, dict[str, Any]] = {
    "POST taken, answer lost": {"method": "POST", "path": POST_RUN, "forward": True},
    "POST lost": {"method": "POST", "path": POST_RUN},
    "POST taken, 502": {"method": "POST", "path": POST_RUN, "forward": True, "status": 502},
    "POST 500": {"method": "POST", "path": POST_RUN, "status": 500},
    "POST 429": {"method": "POST", "path": POST_RUN, "status": 429, "headers": {"Retry-After": "0"}},
    "POST 413": {"method": "POST", "path": POST_RUN, "status": 413},
    "POST 422": {"method": "POST", "path": POST_RUN, "status": 422, "body": b'{"error":"no"}'},
    "POST 401": {"method": "POST", "path": POST_RUN, "status": 401},
    "POST 404": {"method": "POST", "path": POST_RUN, "status": 404},
    "upload URL 503": {"method": "POST", "path": UPLOAD_URL, "status": 503},
    "upload URL lost": {"method": "POST", "path": UPLOAD_URL, "forward": True},
    "upload expired": {"method": "PUT", "path": ".", "status": 403},
    "upload lost": {"method": "PUT", "path": ".", "forward": True},
    "list 500": {"method": "GET", "path": LIST, "status": 500},
    "list lost": {"method": "GET", "path": LIST, "forward": True},
    "list 429": {"method": "GET", "path": LIST, "status": 429, "headers": {"Retry-After": "0"}},
    "list is no JSON": {"method": "GET", "path": LIST, "status": 200, "body": b"<html>"},
}
"""The faults of a proxy, by what findings call them."""


class Killer:
    """A fault that kills a flusher at the nth request that it sends, before the platform gets it or after.

    Attributes:
        forward: The platform gets that request.
        done: It has killed.
    """

    headers: ClassVar[dict[str, str]] = {}
    body = b""

    def __init__(self, number: int, *, forward: bool) -> None:
        self.forward = forward
        self.done = False
        self._left = number
        self._known = threading.Event()
        self._child: Child | None = None

    def aim(self, child: Child) -> None:
        self._child = child
        self._known.set()

    def matches(self, method: str, path: str) -> bool:
        self._left -= 1
        if self._left:
            return False
        if not self.forward:
            self._kill()
        return True

    @property
    def status(self) -> None:
        """Asked for when the request was dealt with; there is no answer to somebody who is dead."""
        if self.forward:
            self._kill()

    def _kill(self) -> None:
        self._known.wait(10)
        if self._child is not None:
            self._child.kill()
            self.done = True
