"""A JSON document as a tree of HTML that folds and unfolds without a script, and is never too large for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from nxtrack.documents import compact, is_array, is_object, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DEPTH = 30
_MOST_NODES = 4_000
_MOST_MEMBERS = 200
_LONGEST_TEXT = 2_000
_LONGEST_NAME = 200
# A list of a few short values reads best on one line, as people write matrices.
_IN_A_LINE = 40
_LINE = 120
_OPEN_MEMBERS = 12


def tree(value: Any) -> Markup:
    """A decoded JSON document as HTML.

    Every value is escaped. Of a document that is too large, each branch shows its beginning and says how much is
    left out; branches share the room that there is.
    """
    return Markup('<div class="tree">{}</div>').format(_Tree().value(value, room=_MOST_NODES, depth=0))


class _Tree:
    def value(self, value: Any, *, room: int, depth: int, name: Markup | None = None) -> Markup:
        label = Markup("") if name is None else name
        if not _has_members(value) or depth >= _DEPTH or room <= 1:
            return label + _leaf(value)
        many = len(value)
        if is_object(value):
            kind, brackets = ("member", "members"), "{}"
            entries: Iterable[tuple[str, Any]] = value.items()
        else:
            if line := _one_line(value):
                return label + line
            kind, brackets = ("item", "items"), "[]"
            entries = ((str(place), item) for place, item in enumerate(value))
        shown = min(many, _MOST_MEMBERS, max(1, room - 1))
        return Markup(
            '<details{}><summary>{}<span class="count">{} {:,} {}</span></summary><ul>{}{}</ul></details>'
        ).format(
            Markup(" open") if depth == 0 or (depth == 1 and many <= _OPEN_MEMBERS) else "",
            label,
            brackets,
            many,
            kind[many != 1],
            self._members(entries, shown, room=room - 1, depth=depth + 1),
            Markup('<li class="count">… {:,} more</li>').format(many - shown) if many > shown else "",
        )

    def _members(self, entries: Iterable[tuple[str, Any]], shown: int, *, room: int, depth: int) -> Markup:
        found: list[Markup] = []
        for place, (name, value) in enumerate(entries):
            if place == shown:
                break
            # What one branch does not need, those after it may have.
            share = max(1, room // (shown - place))
            text = visible(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")
            entry = self.value(value, room=share, depth=depth, name=Markup('<span class="key">{}</span> ').format(text))
            room -= min(share, 1 + entry.count("<li"))
            found.append(Markup("<li>{}</li>").format(entry))
        return Markup("").join(found)


def _one_line(items: Sequence[Any]) -> Markup | None:
    if len(items) > _IN_A_LINE or any(_has_members(item) for item in items):
        return None
    if len(compact(items, longest=_LINE + 1)) > _LINE:
        return None
    return Markup('<span class="row">[{}]</span>').format(Markup(", ").join(map(_leaf, items)))


def _has_members(value: Any) -> bool:
    return (is_object(value) or is_array(value)) and len(value) > 0


def _leaf(value: Any) -> Markup:
    if isinstance(value, str):
        cut = len(value) - _LONGEST_TEXT
        more = Markup(' <span class="count">… {:,} more characters</span>').format(cut) if cut > 0 else ""
        return Markup('<span class="text">{}</span>{}').format(
            compact(value[:_LONGEST_TEXT], longest=10 * _LONGEST_TEXT), more
        )
    if value is None or isinstance(value, bool):
        return Markup('<span class="word">{}</span>').format({None: "null", True: "true", False: "false"}[value])
    if isinstance(value, int | float):
        return Markup('<span class="number">{}</span>').format(value)
    return Markup('<span class="rest">{}</span>').format(escape(compact(value, longest=_LONGEST_TEXT)))
