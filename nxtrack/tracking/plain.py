"""Owns the careful walk: any value at all into dicts, lists, texts and numbers, however it is tangled.

It is what is left when msgspec alone cannot encode a value. It uses no recursion, so neither depth nor cycles can
exhaust the stack, and it copies each container before it looks into it, so another thread may change it meanwhile.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard, cast

import msgspec

from nxtrack.tracking import hooks
from nxtrack.tracking.notes import summary, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.tracking.notes import Notes

_Container: TypeAlias = "dict[object, object] | list[object]"
# The container being filled, the parts still to come with their places, and whose parts they are.
_Frame: TypeAlias = "tuple[Any, Iterator[tuple[Any, object]], int]"

_MOST_STEPS: Final = 8
_MOST_CONTAINERS: Final = 1_000_000
_SMALL: Final = 32
# Python refuses to write integers of more than 4300 digits in decimal; that limit can be set as low as 640 digits,
# which is more than this many bits ever need.
_HUGE_BITS: Final = 2048


class TangledError(Exception):
    """The value holds itself, or shares so many parts that each must be written only once."""


class Plain:
    """One walk over one value.

    Args:
        notes: Where to count what is altered.
        once: Write each container only once. Without it a container that is used in several places is written
            in each, and a tangle raises `TangledError`: walking all the paths through a graph of objects
            would take for ever.
        deepest: How many levels to write.
    """

    def __init__(self, notes: Notes, *, once: bool, deepest: int = 200) -> None:
        self._notes = notes
        self._once = once
        self._deepest = deepest
        self._path: set[int] = set()
        self._opened = 0
        # The objects are kept along with their ids, so that no id is given to another object meanwhile.
        self._written: dict[int, object] = {}

    def convert(self, value: object) -> object:
        """Gives the plain data that stand for a value.

        Returns:
            None, bool, int, float, str, list or dict with text keys, all of exactly these types. Numbers that are
            not finite are counted and left: msgspec writes them as null.

        Raises:
            TangledError: Only without `once`.
        """
        top: list[object] = [None]
        frames: list[_Frame] = [(top, iter([(0, value)]), 0)]
        while frames:
            target, parts, owner = frames[-1]
            for place, part in parts:
                if (kind := type(part)) is float or (kind is str and cast("str", part).isascii()):
                    # Most parts are these. An infinite number becomes null when msgspec writes it.
                    target[place] = part
                    self._notes.nonfinite += kind is float and not math.isfinite(cast("float", part))
                    continue
                done, container = self._reduce(part)
                if container is not None:
                    done = self._refusal(part, container, depth=len(frames))
                if container is None or done is not None:
                    target[place] = done
                    continue
                target[place], below = self._enter(container)
                if below is not None:
                    self._path.add(id(part))
                    frames.append((target[place], below, id(part)))
                    break
            else:
                frames.pop()
                self._path.discard(owner)
        return top[0]

    def _reduce(self, value: object) -> tuple[object, _Container | None]:
        """Steps towards plain data until there is a scalar (first) or a container to look into (second)."""
        for _ in range(_MOST_STEPS):
            kind = type(value)
            if _is_scalar(value):
                return self._scalar(value), None
            if kind is list or kind is dict:
                return None, cast("_Container", value)
            value = self._step(value)
        return summary(value), None

    def _scalar(self, value: object) -> object:
        kind = type(value)
        if kind is str:
            written = cast("str", value)
            return written if written.isascii() else _text(written, self._notes)
        if kind is float:
            self._notes.nonfinite += not math.isfinite(cast("float", value))
        if kind is int:
            return _whole_number(cast("int", value), self._notes)
        return value

    def _step(self, value: object) -> object:
        try:
            try:
                return hooks.convert(value, self._notes)
            except RuntimeError:  # "mutated during iteration": once more, it may be quiet now
                return hooks.convert(value, self._notes)
        except BaseException as fault:
            if not hooks.is_fault(fault):
                raise
            self._notes.about("failed", value)
            return summary(value)

    def _refusal(self, value: object, container: _Container, *, depth: int) -> object:
        """Tells what to write in place of a container, or None when it can be entered."""
        self._opened += 1
        known = id(value)
        if not self._once and (known in self._path or self._opened > _MOST_CONTAINERS):
            raise TangledError
        if known in self._path:
            return self._instead("circular", value)
        if depth > self._deepest:
            return self._instead("deep", value)
        if self._once:
            if known in self._written and not _is_small(container):
                return self._instead("repeated", value)
            self._written[known] = value
        return None

    def _instead(self, why: str, value: object) -> object:
        self._notes.about(why, value)
        return summary(value, **{why: True})

    def _enter(self, container: _Container) -> tuple[object, Iterator[tuple[Any, object]] | None]:
        """Makes the empty counterpart of a container and an iterator over its parts, or none if it is done."""
        if isinstance(container, dict):
            entries = list(container.items())
            if all(type(key) is str and key.isascii() for key, _ in entries):
                return {}, iter(entries)
            return {}, self._entries(entries)
        items = list(container)
        if self._are_plain(items):
            return items, None
        return [None] * len(items), iter(enumerate(items))

    def _are_plain(self, items: list[object]) -> bool:
        """Checks a list of numbers or of texts as a whole, at the speed of C."""
        try:
            kinds = set(map(type, items))
        except Exception:  # noqa: BLE001 a metaclass may refuse to be hashed
            return False
        if len(kinds) != 1:
            return not kinds
        kind = kinds.pop()
        if kind is float:
            self._notes.nonfinite += len(items) - sum(map(math.isfinite, cast("list[float]", items)))
            return True
        if kind is str:
            return all(map(str.isascii, cast("list[str]", items)))
        return kind is bool or kind is type(None) or (kind is int and _are_short(cast("list[int]", items)))

    def _entries(self, items: list[tuple[object, object]]) -> Iterator[tuple[str, object]]:
        """Gives the entries of a dict under keys that are texts, each used once."""
        counts: dict[str, int] = {}
        for key, part in items:
            name = key if type(key) is str and key.isascii() else self._key(key)
            single = distinct(name, counts)
            if single is not name:
                self._notes.add("twin")
            yield single, part

    def _key(self, key: object) -> str:
        """Writes a key as msgspec does, and the kinds of keys it cannot write as JSON text."""
        kind = type(key)
        if kind is str:
            return _text(cast("str", key), self._notes)
        if kind is float and not math.isfinite(cast("float", key)):
            return str(key)
        if isinstance(plain := self._plain_key(key), str):
            return plain
        if type(plain) is not int and type(plain) is not float:
            self._notes.add("key", kind)
        return msgspec.json.encode(plain).decode()

    def _plain_key(self, key: object) -> object:
        if _is_tuple(key) and self._are_plain(parts := list(key)):
            return parts
        plain = Plain(self._notes, once=True, deepest=_SMALL).convert(key)
        # Opaque objects of one class look the same: a number will tell them apart.
        return type_name(type(key)) if hooks.is_opaque(key) and not _is_scalar(key) else plain


def distinct(name: str, counts: dict[str, int]) -> str:
    """Gives a key itself, or with a number when it was given before.

    Args:
        name: The key wanted.
        counts: How often each key was given, which is kept up to date.
    """
    single, number = name, counts.get(name, 0)
    while single in counts:
        number += 1
        single = f"{name} #{number}"
    counts[name] = max(number, 1)
    counts.setdefault(single, 1)
    return single


class UncountedError(Exception):
    """The numbers that are not finite can only be counted by a walk."""


def count_nonfinite(value: object) -> int:
    """Counts the NaN and infinite numbers in what msgspec encodes by itself, ten times faster than by a walk.

    MessagePack, unlike JSON, keeps them: their bytes are looked for in the value's MessagePack form.

    Args:
        value: Something that msgspec encodes as JSON; parts that need a hook are passed over.

    Raises:
        UncountedError: When the bytes may be those of a NaN or not.
        Exception: Whatever msgspec finds wrong, such as an integer of more than 64 bits.
    """
    packed = _PACKER.encode(value)
    payloads: list[bytes] = [*_POSITIVE.findall(packed), *_NEGATIVE.findall(packed)]
    if any(payloads):
        raise UncountedError
    return len(payloads)


# `id` stands in for whatever needs a hook: written in C it runs no Python code, so no other thread gets a turn
# while msgspec holds pointers into the value's lists.
_PACKER: Final = msgspec.msgpack.Encoder(enc_hook=id)

# 0xcb opens a double; an exponent of all ones means not finite. What Python and the hardware make is all zeros after
# that. Other NaNs have a payload (the group, empty otherwise); as any double may hold such bytes, they count only where
# no other double begins in the eight bytes before, and then leave it to a walk. Two expressions, because one with
# both signs has a shorter fixed prefix and takes three times as long.
_TAIL: Final = (
    rb"(?:[\xf0\xf8]\x00{6}|([\xf0-\xff])" + b"".join(rb"(?<!\xcb.{%d})" % gap for gap in range(3, 11)) + b")"
)
_POSITIVE: Final = re.compile(rb"\xcb\x7f" + _TAIL, re.DOTALL)
_NEGATIVE: Final = re.compile(rb"\xcb\xff" + _TAIL, re.DOTALL)


def _is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    return type(value) is tuple


def _are_short(items: list[int]) -> bool:
    return max(map(int.bit_length, items)) <= _HUGE_BITS


def _is_small(container: _Container) -> bool:
    """Whether a container is so small and flat that writing it again costs less than explaining why not."""
    if len(container) > _SMALL:
        return False
    parts = list(container.values()) if isinstance(container, dict) else container
    return all(map(_is_scalar, parts))


def _is_scalar(value: object) -> bool:
    kind = type(value)  # compared by identity only: a metaclass may refuse to be hashed or compared
    return kind is float or kind is str or kind is int or kind is bool or value is None


def _whole_number(value: int, notes: Notes) -> int | str:
    """Gives an integer back, or as hexadecimal text where Python refuses to write it in decimal."""
    if value.bit_length() <= _HUGE_BITS:
        return value
    try:
        str(value)
    except ValueError:
        notes.add("huge")
        return hex(value)
    return value


def _text(value: str, notes: Notes) -> str:
    """Gives a text back, with lone surrogates (which no UTF-8 can hold) written as escapes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        notes.add("surrogates")
        return value.encode("utf-8", "backslashreplace").decode()
    return value
