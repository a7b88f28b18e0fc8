"""Logs as a terminal would show them: what its control sequences leave on the screen, as text with CSS classes."""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape
from rich.cells import cell_len

from nxtrack.server.drawing.palette import COLOURS, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Piece = tuple[str, str]
"""A text, and the classes it is shown in: of this module's or of `palette.stylesheet`."""

# A terminal forgets nothing that scrolled away, and cannot reach it either: what is above is final.
_ROWS = 50
# Moving to the right of a line's end pads it: so far at most, or a few bytes would become a page of blanks.
_COLUMNS = 200
_TAB = 8
_MOST_ON_A_CELL = 8
_PIECE_COSTS = 32
# ECMA-48: control sequences, strings with their terminators, other escapes. Each part ends where the next begins
# and none is optional twice, so that no text takes more than linear time. A string never crosses a line's end:
# one that is not terminated would swallow all logs after it.
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+)"
    r"|(?P<csi>(?:\x1b\[|\x9b)(?P<numbers>[0-?]*)[ -/]*(?P<final>[@-~]?))"
    r"|(?P<string>\x1b[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?)"
    r"|(?P<escape>\x1b[ -/]*[0-~]?)"
    r"|(?P<control>[\x08-\x0d])"
)


class Replay(NamedTuple):
    """What is on the screen at the end, and what scrolled off it.

    Attributes:
        lines: From the first to the last, each in pieces.
        cut: Whether lines before them were left out.
    """

    lines: Sequence[Sequence[Piece]]
    cut: bool


def replay(text: str, *, most: int = 1_000_000) -> Replay:
    """Plays logs as a terminal would, one that is as wide as they are.

    Carriage returns, backspaces, tabs, moves of the cursor and erasures are applied, colours and styles become
    classes, and all other sequences and control characters are left out, with those that reorder text.

    Args:
        text: Any text at all.
        most: How many characters the HTML of it may have, roughly; lines at the beginning make way.
    """
    screen = _Screen(most)
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind == "text":
            screen.write(found[0])
        elif kind == "control":
            screen.control(found[0])
        elif kind in {"csi", "final"}:
            screen.sequence(found["final"], found["numbers"])
        elif kind == "escape":
            screen.escape(found[0][1:])
    return screen.end()


def html(lines: Iterable[Sequence[Piece]]) -> Markup:
    """Lines as HTML, escaped, for a `<pre>`."""
    # Each piece is escaped by itself, so what joins them need not look at them again.
    return Markup("\n".join("".join(map(_html, line)) for line in lines))  # noqa: S704


def plain(lines: Iterable[Sequence[Piece]]) -> list[str]:
    """Lines as they read without colours and styles."""
    return ["".join(text for text, _ in line) for line in lines]


def _html(piece: Piece) -> str:
    text, classes = piece
    return f'<span class="{classes}">{escape(text)}</span>' if classes else escape(text)


class _Line:
    """One line, a cell for each column. The second cell of a wide character is empty."""

    __slots__ = ("cells", "styles")

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.styles: list[str] = []

    def put(self, column: int, cells: Sequence[str], style: str) -> int:
        """Writes over what is there, and gives the column after it."""
        missing = column - len(self.cells)
        if missing > 0:
            pad = min(missing, _COLUMNS)
            column += pad - missing
            self.cells += " " * pad
            self.styles += [""] * pad
        end = column + len(cells)
        # Half a wide character is none.
        if column < len(self.cells) and not self.cells[column]:
            self.cells[column - 1] = " "
        self.cells[column:end] = cells
        self.styles[column:end] = [style] * len(cells)
        if end < len(self.cells) and not self.cells[end]:
            self.cells[end] = " "
        return end

    def combine(self, column: int, mark: str) -> bool:
        """Puts an accent, or a joiner, on the character before a column, but not one too many; False without one."""
        place = min(column, len(self.cells)) - 1
        while place > 0 and not self.cells[place]:
            place -= 1
        if place >= 0 and len(self.cells[place]) < _MOST_ON_A_CELL:
            self.cells[place] += mark
        return place >= 0

    def erase(self, column: int, end: int | None = None) -> None:
        del self.cells[column:end], self.styles[column:end]

    def pieces(self) -> list[Piece]:
        if not any(self.styles):
            text = "".join(self.cells).rstrip(" ")
            return [(text, "")] if text else []
        grouped = groupby(zip(self.cells, self.styles, strict=True), key=itemgetter(1))
        found = [("".join(cell for cell, _ in cells), style) for style, cells in grouped]
        if found and not found[-1][1]:
            last = found.pop()[0].rstrip(" ")
            found += [(last, "")] * bool(last)
        return found


class _Screen:
    """The screen while logs are played."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._cut = False
        self._above: deque[list[Piece]] = deque()
        self._rows = [_Line()]
        self._row = 0
        self._column = 0
        self._saved = (0, 0)
        self._look = _Look()
        self._moves: dict[str, Callable[[int], None]] = {
            "A": lambda count: self._go(self._row - count),
            "B": lambda count: self._go(self._row + count),
            "C": lambda count: self._to_column(self._column + count),
            "D": lambda count: self._to_column(self._column - count),
            "E": lambda count: self._go(self._row + count, column=0),
            "F": lambda count: self._go(self._row - count, column=0),
            "G": lambda count: self._to_column(count - 1),
            "`": lambda count: self._to_column(count - 1),
            "X": self._blank,
        }

    def write(self, text: str) -> None:
        line = self._rows[self._row]
        if text.isascii():
            self._column = line.put(self._column, text, self._look.classes)
            return
        for wide, characters in groupby(text, key=cell_len):
            if wide == 0:
                for mark in characters:
                    if not line.combine(self._column, mark):
                        self._column = line.put(self._column, mark, self._look.classes)
                continue
            cells = [cell for character in characters for cell in (character, *[""] * (wide - 1))]
            self._column = line.put(self._column, cells, self._look.classes)

    def control(self, sign: str) -> None:
        if sign == "\r":
            self._column = 0
        elif sign == "\b":
            self._column = max(0, self._column - 1)
        elif sign == "\t":
            self._to_column(self._column // _TAB * _TAB + _TAB)
        else:
            self._row += 1
            self._column = 0
            if self._row == len(self._rows):
                self._add_row()

    def escape(self, rest: str) -> None:
        if rest == "7":
            self._saved = (self._row, self._column)
        elif rest == "8":
            self._go(self._saved[0], column=self._saved[1])
        elif rest == "M":
            self._go(self._row - 1)
        elif rest in {"D", "E"}:
            self.control("\n")
        elif rest == "c":
            self._look = _Look()

    def sequence(self, final: str, numbers: str) -> None:
        """Does what a control sequence asks for, as far as it makes sense where nobody is typing."""
        if final == "m":
            self._look = _look_after(self._look, numbers)
        elif final in {"s", "u"} and not numbers:
            self.escape("7" if final == "s" else "8")
        elif final in {"H", "f"}:
            row, _, column = numbers.partition(";")
            self._place(_number(row, 1) - 1, _number(column, 1) - 1)
        elif final == "d":
            self._place(_number(numbers, 1) - 1, self._column)
        elif final == "K":
            self._erase_in_line(numbers)
        elif final == "J":
            self._erase_in_screen(numbers)
        elif final in self._moves:
            self._moves[final](max(1, _number(numbers, 1)))

    def end(self) -> Replay:
        for line in self._rows:
            self._finish(line)
        while self._above and not self._above[-1]:
            self._above.pop()
        return Replay(self._above, self._cut)

    def _go(self, row: int, *, column: int | None = None) -> None:
        self._row = min(max(0, row), len(self._rows) - 1)
        if column is not None:
            self._column = column

    def _to_column(self, column: int) -> None:
        longest = max(_COLUMNS, len(self._rows[self._row].cells) + _TAB)
        self._column = min(max(0, column), longest)

    def _place(self, row: int, column: int) -> None:
        while len(self._rows) <= min(row, _ROWS - 1):
            self._rows.append(_Line())
        self._go(row)
        self._to_column(column)

    def _blank(self, count: int) -> None:
        line = self._rows[self._row]
        there = min(count, _COLUMNS, len(line.cells) - self._column)
        if there > 0:
            line.put(self._column, " " * there, "")

    def _erase_in_line(self, what: str) -> None:
        if what in {"", "0"}:
            self._rows[self._row].erase(self._column)
        elif what == "2":
            self._rows[self._row] = _Line()

    def _erase_in_screen(self, what: str) -> None:
        if what in {"", "0"}:
            self._erase_in_line("0")
            del self._rows[self._row + 1 :]
        elif what == "2":
            # As terminals do that keep a history: what was there scrolls away.
            for line in self._rows:
                if line.cells:
                    self._finish(line)
            self._rows = [_Line()]
            self._row = 0

    def _add_row(self) -> None:
        self._rows.append(_Line())
        if len(self._rows) > _ROWS:
            self._finish(self._rows.pop(0))
            self._row -= 1

    def _finish(self, line: _Line) -> None:
        pieces = line.pieces()
        self._above.append(pieces)
        self._size += _size(pieces)
        while self._size > self._most and len(self._above) > 1:
            self._size -= _size(self._above.popleft())
            self._cut = True
        if self._size > self._most:
            # One line alone is too long: its end makes way, or there would be nothing to see.
            self._above[0] = _head(pieces, self._most)
            self._size = _size(self._above[0])
            self._cut = True


def _size(pieces: Sequence[Piece]) -> int:
    return 1 + sum(len(text) + (_PIECE_COSTS if classes else 0) for text, classes in pieces)


def _head(pieces: Sequence[Piece], most: int) -> list[Piece]:
    found: list[Piece] = []
    for text, classes in pieces:
        most -= _PIECE_COSTS
        if most <= 0:
            break
        found.append((text[:most], classes))
        most -= len(text)
    return found


class _Look(NamedTuple):
    """How text is shown (ECMA-48, SGR). A colour is a number of the palette; None is the default."""

    ink: int | None = None
    paper: int | None = None
    flags: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        return _classes(self)


_FLAGS = {1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "reverse", 9: "strike", 21: "under"}
_UNSET = {22: {"bold", "dim"}, 23: {"italic"}, 24: {"under"}, 27: {"reverse"}, 29: {"strike"}}


@lru_cache(maxsize=4096)
def _classes(look: _Look) -> str:
    names = sorted(look.flags)
    if "reverse" in look.flags and look.ink is not None:
        names.remove("reverse")
        names.append(f"g{look.ink}")
    elif look.paper is not None and "reverse" not in look.flags:
        # Black or white, whatever is readable: two colours that were chosen for another screen may not be.
        names.append(f"g{look.paper}")
    elif look.ink is not None:
        names.append(f"f{look.ink}")
    return " ".join(names)


@lru_cache(maxsize=4096)
def _look_after(look: _Look, numbers: str) -> _Look:
    """The look after one sequence; it takes colours by number, of the 256, and true ones, by `;` and by `:`."""
    left = deque(numbers[:256].split(";"))
    ink, paper, flags = look
    while left:
        part = left.popleft()
        number, _, more = part.partition(":")
        code = _number(number, 0)
        if code in {38, 48, 58}:
            colour = _colour(deque(more.split(":")), separate=False) if more else _colour(left, separate=True)
            ink, paper = (colour, paper) if code == 38 else (ink, colour if code == 48 else paper)  # noqa: PLR2004
        elif code == 0:
            ink, paper, flags = _Look()
        elif code in _FLAGS and more != "0":
            flags |= {_FLAGS[code]}
        elif code in _UNSET or code == 4:  # noqa: PLR2004  # `4:0` takes the underline away
            flags -= _UNSET.get(code, {"under"})
        elif code // 10 in {3, 9}:
            ink = _of_sixteen(code % 10, bright=code >= 90, now=ink)  # noqa: PLR2004
        elif code // 10 in {4, 10}:
            paper = _of_sixteen(code % 10, bright=code >= 100, now=paper)  # noqa: PLR2004
    return _Look(ink, paper, flags)


def _of_sixteen(digit: int, *, bright: bool, now: int | None) -> int | None:
    if digit < 8:  # noqa: PLR2004
        return digit + 8 * bright
    return None if digit == 9 and not bright else now  # noqa: PLR2004


def _colour(left: deque[str], *, separate: bool) -> int | None:
    """Takes `5;n` or `2;r;g;b` off what is left; with colons, a colour space stands before `r`."""
    kind = left.popleft() if left else ""
    if kind == "5" and left:
        return min(_number(left.popleft(), 0), COLOURS - 1)
    if kind != "2":
        return None
    if not separate and len(left) > 3:  # noqa: PLR2004
        left.popleft()
    parts = [min(_number(left.popleft(), 0), 255) if left else 0 for _ in range(3)]
    return nearest(parts[0], parts[1], parts[2])


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and len(text) < 8 else default  # noqa: PLR2004  # more is no cursor's place
