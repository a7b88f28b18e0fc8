"""Stored times, which are microseconds since 1970: as moments, and as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(microseconds: int) -> datetime:
    """A stored time, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def rfc3339(microseconds: int) -> str:
    """A stored time as the API writes it, such as `2024-03-28T11:42:49.468548Z`."""
    return moment(microseconds).isoformat(timespec="microseconds").replace("+00:00", "Z")
