"""Owns how things are said: sentences, JSON, sizes, ages, and text that is safe on a terminal."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

# C0 but for tab and newline, DEL, C1, and what turns the direction of writing.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_KILO = 1000
_MINUTE = 60
_HOUR = 3600
_DAY = 86_400


def plain(text: str) -> str:
    """Returns text that a terminal shows and does not obey: control characters are written as escapes."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def line(text: str, longest: int = 200) -> str:
    """Returns text as one line of at most `longest` characters that a terminal shows and does not obey."""
    return shorten(plain(" ".join(text.split())), longest)


def shorten(text: str, longest: int = 200) -> str:
    """Returns text cut to `longest` characters, the last of which tells that it was."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


class Unwritable(Exception):
    """Stdout cannot be written; its cause is the OSError that told."""


@contextmanager
def on_stdout() -> Generator[TextIO]:
    """Gives stdout to write to, and flushes it at the end of the block.

    Raises:
        Unwritable: It cannot be written. That is no fault of the command's.
    """
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        from nxtrack.spool.layout import reason

        raise Unwritable(f"Stdout cannot be written: {reason(error)}.") from error


@contextmanager
def on_stderr() -> Generator[TextIO]:
    """Gives stderr to write to. If it cannot be written nobody is left to be told, and the exit status has to do."""
    try:
        yield sys.stderr
        sys.stderr.flush()
    except OSError:
        lead_nowhere(sys.stderr)


def lead_nowhere(stream: TextIO) -> None:
    """Has a stream that failed take everything: Python flushes it once more when it ends, and would complain then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(*sentences: str) -> None:
    """Prints lines on stdout, at once: who reads them through a pipe follows a watch as well."""
    with on_stdout() as stdout:
        for sentence in sentences:
            stdout.write(f"{plain(sentence)}\n")


def complain(*sentences: str) -> None:
    """Prints lines on stderr, after what stdout still holds back."""
    say()
    with on_stderr() as stderr:
        for sentence in sentences:
            stderr.write(f"{plain(sentence)}\n")


def emit(value: Any) -> None:
    """Prints a value on stdout as JSON: for people with a terminal over several lines, else on one."""
    import msgspec

    text = msgspec.json.encode(value).decode()
    if sys.stdout.isatty():
        # JSON itself escapes C0; the rest only occurs inside of strings, where it may be escaped as well.
        text = _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", msgspec.json.format(text, indent=2))
    with on_stdout() as stdout:
        stdout.write(f"{text}\n")


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Returns rows of texts as lines, with what stands below each other aligned."""
    safe = [[line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*safe, strict=True)]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in safe
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table: with a frame on a terminal, as aligned columns elsewhere.

    Args:
        header: The columns' names.
        rows: Texts; each becomes one line.
    """
    safe = [[line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        framed = Table(*header, header_style="")
        framed.columns[0].no_wrap = True
        for row in safe:
            # A link stays one where a narrow terminal breaks its text over lines.
            styles = (f"link {cell}" if cell.startswith("http") and " " not in cell else "" for cell in row)
            framed.add_row(*(Text(cell, style, overflow="fold") for cell, style in zip(row, styles, strict=True)))
        with on_stdout() as stdout:
            Console(file=stdout, soft_wrap=False).print(framed)
        return
    say(*columns([header, *rows], indent=""))


def them(number: int) -> str:
    """Returns what stands for so many runs: `it` or `them`."""
    return "it" if number == 1 else "them"


def size(number: int) -> str:
    """Returns a number of bytes for people: `512 B`, `12.4 MB`; kB, MB and GB are powers of 1000."""
    if number < _KILO:
        return f"{number} B"
    value = float(number)
    for unit in ("kB", "MB", "GB"):
        value /= _KILO
        if value < _KILO - 0.05:
            return f"{value:.1f}".removesuffix(".0") + f" {unit}"
    return f"{value / _KILO:.1f}".removesuffix(".0") + " TB"


def span(seconds: float) -> str:
    """Returns a time span for people: `340 ms`, `7.6 s`, `12 min`, `2 h`, `3 days`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{int(seconds * 10) / 10:g} s"  # Cut, not rounded: 59.99 s are not yet a minute.
    for length, unit in ((_DAY, "day"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= length:
            whole = int(seconds // length)
            return f"{whole} {unit}{'s' if unit == 'day' and whole > 1 else ''}"
    raise AssertionError  # a minute is less than `seconds` by now


def ago(moment: datetime) -> str:
    """Returns how long ago a moment was: `2 h ago`."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return f"{span(int(seconds))} ago" if seconds >= 1 else "just now"


def rfc3339(moment: datetime | None) -> str | None:
    """Returns a moment as JSON carries it: `2026-11-04T12:00:00.000Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def folder(path: str) -> str:
    """Returns a path as people write it: `~/...` below their home."""
    home = os.path.expanduser("~")  # noqa: PTH111
    return f"~{path[len(home) :]}" if home != os.sep and path.startswith(home + os.sep) else path
