"""Identifiers: what they look like, and how new ones are made."""

from __future__ import annotations

import re
import secrets
import uuid

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RANDOM_BYTES = 12
_LONGEST_PREFIX = 100


def is_id(text: str) -> bool:
    """Whether `text` may name an application, an instance or a run: it then cannot leave a folder or a URL."""
    return _ID.fullmatch(text) is not None


def new_run_id(instance: str | None) -> str:
    """An id such as `latest-a_USaanxSR0pQ3fLk`: the instance, or `external`, and 96 random bits."""
    return f"{(instance or 'external')[:_LONGEST_PREFIX]}-{secrets.token_urlsafe(_RANDOM_BYTES)}"


def new_upload_id() -> str:
    """A random UUID, as in the guide "Large payloads"."""
    return str(uuid.uuid4())


def new_application_id() -> str:
    """An id for an application that was created without one."""
    return f"app-{secrets.token_hex(6)}"


def new_payload_id() -> str:
    """The name of one payload file: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)
