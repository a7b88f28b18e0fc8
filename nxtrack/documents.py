"""Owns decoded JSON, looked at with types: what is an object, an array, a finite number; and any of it on one line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REORDERING = {
    code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a decoded value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a decoded value is a JSON array."""
    return isinstance(value, list)


def members_of(value: object) -> Mapping[str, Any]:
    """The members of an object; none of anything else."""
    return value if is_object(value) else {}


def items_of(value: object) -> Sequence[Any]:
    """The items of an array; none of anything else."""
    return value if is_array(value) else []


def number_of(value: object) -> float | None:
    """A finite number, or None. Texts are none, even when they look like one, and neither are true and false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def visible(text: str) -> str:
    """A text with the characters that would reorder what is around them written as JSON may write them."""
    return text.translate(_REORDERING)


def compact(value: object, *, longest: int) -> str:
    """A decoded value as JSON on one line, or the beginning of it; see `visible`."""
    if isinstance(value, str):
        value = value[:longest]
    try:
        return visible(msgspec.json.encode(value).decode(errors="replace")[:longest])[:longest]
    except (RecursionError, ValueError):
        return "nested too deeply to show"
