"""Owns what differs between two runs: in JSON documents, in metrics and options, and in the lines of their logs."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from nxtrack.documents import compact, is_array, is_object, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Sign = Literal["+", "-", "±", "="]
"""Only the second run has it; only the first; both, but not the same; both the same."""

_DEPTH = 64
_MOST_STEPS = 200_000
_MOST_LINES = 1_000
_CONTEXT = 3
_ABSENT = object()
_Pair = tuple[str, object, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One place where two documents differ.

    Attributes:
        path: Where, such as `stops[3].name`; empty for the whole document.
        sign: How.
        old: The value of the first as compact JSON; None where it has none.
        new: As `old`, of the second.
    """

    path: str
    sign: Sign
    old: str | None
    new: str | None


@dataclass(slots=True, kw_only=True)
class Changes:
    """Where two documents differ.

    Attributes:
        found: The places, in the order of the first document.
        cut: Whether there may be more of them.
    """

    found: list[Change] = field(default_factory=list[Change])
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One name in two mappings.

    Attributes:
        name: Of a nested value, with dots.
        sign: Whether both have it, and the same.
        old: The value of the first, None where it has none.
        new: As `old`, of the second.
        change: `new - old` where both are finite numbers and differ.
        share: `change / |old|` where that exists.
    """

    name: str
    sign: Sign
    old: object = None
    new: object = None
    change: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of two logs side by side: `sign` is `+`, `-`, a blank for both, or `@` where lines are left out."""

    sign: Literal["+", "-", " ", "@"]
    text: str


def between_documents(
    old: object,
    new: object,
    *,
    most: int = 200,
    longest: int = 500,
    tolerance: float = 0.0,
    ignored: Iterable[str] = (),
) -> Changes:
    """Where two JSON documents differ: members by their names; items by their places, from both ends of a list.

    Args:
        old: The first, decoded.
        new: The second.
        most: How many places are told.
        longest: How many characters of a value are.
        tolerance: By how much two numbers may differ and count as the same: absolute, or as a share of the larger one.
        ignored: Paths that are not looked at, nor what is inside of them.
    """
    comparison = _Comparison(most, longest, tolerance, frozenset(ignored))
    comparison.compare(old, new)
    return comparison.changes


def between_mappings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Row]:
    """What two flat mappings say of each name, in the order of the first, then of the second."""
    return [_row(name, old.get(name, _ABSENT), new.get(name, _ABSENT)) for name in {**old, **new}]


def between_logs(old: Sequence[str], new: Sequence[str]) -> tuple[list[LogLine], bool]:
    """The lines that only one of two logs has, with those around them.

    Returns:
        The lines, none when the logs are the same; and whether the ends of the logs were left out, because what
        compares them takes the square of their length.
    """
    start = 0
    for mine, its in zip(old, new, strict=False):
        if mine != its:
            break
        start += 1
    if start == len(old) == len(new):
        return [], False
    start = max(0, start - _CONTEXT)
    one, other = old[start : start + _MOST_LINES], new[start : start + _MOST_LINES]
    found: list[LogLine] = []
    for number, group in enumerate(difflib.SequenceMatcher(None, one, other).get_grouped_opcodes(_CONTEXT)):
        _, from_old, _, from_new, _ = group[0]
        if number or start + from_old or start + from_new:
            found.append(LogLine(sign="@", text=f"line {start + from_old + 1} and line {start + from_new + 1}"))
        for kind, low, high, new_low, new_high in group:
            if kind == "equal":
                found += [LogLine(sign=" ", text=text) for text in one[low:high]]
                continue
            found += [LogLine(sign="-", text=text) for text in one[low:high]]
            found += [LogLine(sign="+", text=text) for text in other[new_low:new_high]]
    return found, max(len(old), len(new)) > start + _MOST_LINES


class _Comparison:
    """Walks two documents at once, without recursion, and not forever."""

    def __init__(self, most: int, longest: int, tolerance: float, ignored: frozenset[str]) -> None:
        self.changes = Changes()
        self._most = most
        self._longest = longest
        self._tolerance = tolerance
        self._ignored = ignored

    def compare(self, old: object, new: object) -> None:
        left: list[tuple[str, object, object, int]] = [("", old, new, 0)]
        steps = 0
        while left:
            path, mine, its, depth = left.pop()
            steps += 1
            if steps > _MOST_STEPS or len(self.changes.found) >= self._most:
                self.changes.cut = True
                return
            if path in self._ignored:
                continue
            inner = self._inner(path, mine, its) if depth < _DEPTH else None
            if inner is None:
                self._leaf(path, mine, its)
            else:
                left += [(*entry, depth + 1) for entry in reversed(inner)]

    def _inner(self, path: str, old: object, new: object) -> list[_Pair] | None:
        if is_object(old) and is_object(new):
            return _members(path, old, new)
        if is_array(old) and is_array(new):
            return _items(path, old, new, self._same)
        return None

    def _same(self, one: object, other: object) -> bool:
        if _same(one, other):
            return True
        mine, its = number_of(one), number_of(other)
        if not self._tolerance or mine is None or its is None:
            return False
        return math.isclose(mine, its, rel_tol=self._tolerance, abs_tol=self._tolerance)

    def _leaf(self, path: str, mine: object, its: object) -> None:
        if self._same(mine, its):
            return
        sign: Sign = "+" if mine is _ABSENT else "-" if its is _ABSENT else "±"
        self.changes.found.append(Change(path=path, sign=sign, old=self._text(mine), new=self._text(its)))

    def _text(self, value: object) -> str | None:
        if value is _ABSENT:
            return None
        text = compact(value, longest=self._longest + 1)
        return text if len(text) <= self._longest else f"{text[: self._longest]}…"


def _members(path: str, old: dict[str, Any], new: dict[str, Any]) -> list[_Pair]:
    names = {**old, **new}
    return [(_at(path, name), old.get(name, _ABSENT), new.get(name, _ABSENT)) for name in names]


def _items(path: str, old: Sequence[Any], new: Sequence[Any], same: Callable[[object, object], bool]) -> list[_Pair]:
    """The items to compare with each other: what is equal at both ends is not, so that one more item is just that."""
    shorter = min(len(old), len(new))
    first = next((place for place in range(shorter) if not same(old[place], new[place])), shorter)
    last = 0
    while last < shorter - first and same(old[-1 - last], new[-1 - last]):
        last += 1
    pairs: list[_Pair] = []
    for place in range(first, max(len(old), len(new)) - last):
        mine = old[place] if place < len(old) - last else _ABSENT
        its = new[place] if place < len(new) - last else _ABSENT
        pairs.append((f"{path}[{place}]", mine, its))
        if len(pairs) > _MOST_STEPS:
            break
    return pairs


def _at(path: str, name: str) -> str:
    name = name[:200]
    if not name.isidentifier():
        return f"{path}[{compact(name, longest=2_000)}]"
    return f"{path}.{name}" if path else name


def _same(one: object, other: object) -> bool:
    """Whether two values are the same JSON. Python has `True == 1`, JSON has not; both have `1 == 1.0`."""
    if one is _ABSENT or other is _ABSENT:
        return one is other
    if not _has_parts(one) or not _has_parts(other):
        return one == other and isinstance(one, bool) == isinstance(other, bool)
    try:
        return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    except (RecursionError, ValueError):
        return False


def _has_parts(value: object) -> bool:
    return is_object(value) or is_array(value)


def _row(name: str, old: object, new: object) -> Row:
    if old is _ABSENT:
        return Row(name=name, sign="+", new=new)
    if new is _ABSENT:
        return Row(name=name, sign="-", old=old)
    if _same(old, new):
        return Row(name=name, sign="=", old=old, new=new)
    change = _difference(old, new)
    share = None if change is None or not old else change / abs(cast("float", old))
    if share is not None and not math.isfinite(share):
        share = None
    return Row(name=name, sign="±", old=old, new=new, change=change, share=share)


def _difference(old: object, new: object) -> float | None:
    if isinstance(old, bool) or isinstance(new, bool):
        return None
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return None
    try:
        change = new - old
        return change if math.isfinite(change) else None
    except OverflowError:
        return None
