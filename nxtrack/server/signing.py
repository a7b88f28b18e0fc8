"""Signatures: URLs that expire, and tokens that only this platform can have made."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from enum import Enum
from typing import TYPE_CHECKING

from nxtrack.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from nxtrack.server.options import Clock

_SECRET_BYTES = 32
_LONGEST_NUMBER = 20


class Verdict(Enum):
    """What a signed URL is worth."""

    GOOD = "good"
    EXPIRED = "expired"
    FORGED = "forged"


def load_secret(path: Path) -> bytes:
    """Reads the signing secret, making it on the first start, readable by its owner only.

    Raises:
        ServerError: The file does not hold a secret.
    """
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
    secret = path.read_bytes()
    if len(secret) != _SECRET_BYTES:
        raise ServerError(f"{path} is damaged: delete it, and the platform makes a new one when it starts.")
    return secret


class Signer:
    """Signs with one secret, by HMAC-SHA256."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def query(self, method: str, path: str, *, seconds: int) -> str:
        """The query string that lets anyone use `method` on `path` for so many seconds."""
        expires = str(int(self._clock()) + seconds)
        return f"expires={expires}&signature={self._sign(method, path, expires)}"

    def check(self, method: str, path: str, *, expires: str, signature: str) -> Verdict:
        """Judges a signed URL. The signature comes first, so that a forged time is not believed."""
        if not hmac.compare_digest(signature.encode(), self._sign(method, path, expires).encode()):
            return Verdict.FORGED
        return Verdict.GOOD if self._clock() <= int(expires) else Verdict.EXPIRED

    def token(self, purpose: str, number: int) -> str:
        """An opaque, url-safe token that carries `number` for one purpose."""
        return f"{number}-{self._sign('token', purpose, str(number))}"

    def number(self, purpose: str, token: str) -> int | None:
        """The number in a token, or None when this platform did not make it for that purpose."""
        number, _, signature = token.partition("-")
        if len(number) > _LONGEST_NUMBER:
            return None
        if not hmac.compare_digest(signature.encode(), self._sign("token", purpose, number).encode()):
            return None
        return int(number)

    def _sign(self, *parts: str) -> str:
        text = "\n".join(parts).encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()
