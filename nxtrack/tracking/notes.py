"""Owns what is told about values that were altered on the way to JSON: their types and counts, never their contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_NOTES: Final = 20
LONGEST_NOTE: Final = 200
_LONGEST_NAME: Final = 80
_MOST_KINDS: Final = 200
_MOST_ATTRIBUTES: Final = 20
_LONGEST_ATTRIBUTE: Final = 80

# What can happen to a value, and how it is told. "{s}" follows the count, "{of}" and "{name}" are the type.
_SENTENCES: Final = {
    "nonfinite": "{n} value{s} that {are} not finite became null",
    "summary": "{n} value{s}{of} became a summary of the type",
    "failed": "{n} value{s}{of} could not be read and became a summary of the type",
    "iterator": "{n} iterator{s}{of} {were} left unread and became a summary of the type",
    "complex": "{n} value{s}{of} became a list of the real and the imaginary part",
    "rounded": "{n} value{s}{of} lost precision",
    "huge": "{n} integer{s} too long for decimal notation became hexadecimal text",
    "surrogates": "{n} text{s} with characters that are not valid Unicode had them escaped",
    "key": "{n} key{s}{of} became text",
    "twin": "{n} key{s} that would have been the same text as another got a number",
    "circular": "{n} circular reference{s} to a value{of} became a summary of the type",
    "repeated": "{n} value{s}{of} written once already became a summary of the type",
    "deep": "{n} value{s}{of} nested too deep became a summary of the type",
    "whole": "the whole value{of} could not be encoded and became a summary of the type",
    "redaction": "redaction failed ({name}), so the whole value was replaced by a summary",
    "nothing": "a redacting function returned None, so the value became null",
}


class Notes:
    """Counts alterations by kind and type, and tells them as sentences.

    Attributes:
        nonfinite: How many NaN and infinite numbers became null.
    """

    __slots__ = ("_counts", "_others", "nonfinite")

    def __init__(self) -> None:
        self.nonfinite = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._others = 0

    def add(self, event: str, kind: type | None = None) -> None:
        """Counts one alteration.

        Args:
            event: A key of the table of sentences.
            kind: The type of the value it happened to, when that says something.
        """
        key = (event, "" if kind is None else type_name(kind))
        if key in self._counts or len(self._counts) < _MOST_KINDS:
            self._counts[key] = self._counts.get(key, 0) + 1
        else:
            self._others += 1

    def about(self, event: str, value: object) -> None:
        """Counts one alteration of a value, of which only the type is told."""
        self.add(event, type(value))

    def sentences(self) -> tuple[str, ...]:
        """Tells everything that was counted, in at most `MOST_NOTES` sentences."""
        counts = dict(self._counts)
        if self.nonfinite:
            counts = {("nonfinite", ""): self.nonfinite, **counts}
        told = [_sentence(event, name, count) for (event, name), count in counts.items()]
        return bounded(told, more=self._others)


def bounded(sentences: Iterable[str], *, more: int = 0) -> tuple[str, ...]:
    """Drops repetitions and keeps to `MOST_NOTES`, the last of which counts what had no room."""
    told = list(dict.fromkeys(sentences))
    if len(told) <= MOST_NOTES and not more:
        return tuple(told)
    kept = told[: MOST_NOTES - 1]
    return (*kept, f"{len(told) - len(kept) + more} more alterations of other kinds")


def type_name(kind: type) -> str:
    """Names a type as `module.Class`: one printable line of bounded length, whatever its metaclass does."""
    try:
        module, name = kind.__module__, kind.__qualname__
        full = name if module == "builtins" else f"{module}.{name}"
    except Exception:  # noqa: BLE001 a metaclass may raise anything
        full = "unknown"
    # Anything outside printable ASCII could be a newline, a lone surrogate, or worse.
    clean = "".join(mark if mark.isascii() and mark.isprintable() else "?" for mark in full[: _LONGEST_NAME + 1])
    return clean if len(clean) <= _LONGEST_NAME else f"{clean[: _LONGEST_NAME - 3]}..."


def summary(value: object, **why: object) -> dict[str, object]:
    """Describes a value by its type, its size if it is a builtin container, and the names of its attributes.

    Calls no method of the value's own class.

    Args:
        value: Anything at all.
        why: What to say besides, for instance `circular=True`.
    """
    told: dict[str, object] = {"type": type_name(type(value))}
    for base in (dict, list, tuple, set, frozenset, str, bytes, bytearray):
        if issubclass(type(value), base):
            told["size"] = cast("Any", base).__len__(value)
            return told | why
    try:
        names: object = list(object.__getattribute__(value, "__dict__"))
    except Exception:  # noqa: BLE001 no __dict__, or one that resists
        names = []
    public = [name for name in cast("list[object]", names) if type(name) is str and not name.startswith("_")]
    if public:
        told["attributes"] = [
            name[:_LONGEST_ATTRIBUTE].encode("ascii", "backslashreplace").decode() for name in public[:_MOST_ATTRIBUTES]
        ]
    return told | why


def _sentence(event: str, name: str, count: int) -> str:
    one = count == 1
    return _SENTENCES[event].format(
        n=count,
        s="" if one else "s",
        are="is" if one else "are",
        were="was" if one else "were",
        name=name,
        of=f" of type {name}" if name else "",
    )[:LONGEST_NOTE]
