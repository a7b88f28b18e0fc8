"""Owns what `Client.request` gives back, in the words of the library that people know for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack.errors import AnswerLost

if TYPE_CHECKING:
    from collections.abc import Mapping


class Response:
    """The answer to `Client.request`.

    Attributes:
        status_code: The HTTP status, from 200 to 299: for all others there are errors.
        headers: The headers; their names are found in any case.
        content: The body, decompressed.
    """

    def __init__(self, status_code: int, headers: Mapping[str, str], content: bytes) -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 in it is replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Returns what the body says.

        Raises:
            AnswerLost: It is no JSON.
        """
        try:
            return msgspec.json.decode(self.content)
        except (ValueError, RecursionError):
            pass
        raise AnswerLost("The answer is no JSON: its bytes are in `content`.")

    def __repr__(self) -> str:
        """Tells how much it is, and not what: an answer may hold presigned URLs."""
        return f"Response({self.status_code}, {len(self.content)} bytes)"
