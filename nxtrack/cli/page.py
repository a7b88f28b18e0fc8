"""Owns how one run's values look on its page: aligned names, series as a small chart, payloads folded and bounded."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack.cli.output import columns, line, shorten
from nxtrack.documents import compact, is_array, is_object, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nxtrack.spool.records import Metric

WIDTH = 100
_DEPTH = 12
_MOST_ROWS = 20
_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 24


def number_text(value: object) -> str:
    """Returns a metric's value for people: numbers with six digits that count, unless they are whole."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else line(str(value), 60)


def options(values: Mapping[str, str]) -> list[str]:
    """Returns options as lines with their values below each other."""
    rows = [(line(name, 60), line(value)) for name, value in islice(values.items(), _MOST_ROWS)]
    return _bounded("Options:", columns(rows), len(values)) if rows else []


def metrics(logged: Iterable[Metric]) -> list[str]:
    """Returns metrics as lines: the last value of each, and of those that were logged several times how they went."""
    series: dict[str, list[Any]] = {}
    for metric in logged:
        series.setdefault(metric.name, []).append(metric.value)
    rows = [
        (line(name, 60), number_text(values[-1]), *_course(values))
        for name, values in islice(series.items(), _MOST_ROWS)
    ]
    return _bounded("Metrics:", columns(rows), len(series)) if rows else []


def _bounded(title: str, lines: list[str], number: int) -> list[str]:
    more = [f"  … and {number - _MOST_ROWS} more"] if number > _MOST_ROWS else []
    return ["", title, *lines, *more]


def _course(values: list[Any]) -> tuple[str, str]:
    """Returns how a series went: a chart, where the terminal can show one, and its ends."""
    if len(values) == 1:
        return "", ""
    numbers = [number for value in values if (number := number_of(value)) is not None]
    chart = sparkline(numbers) if len(numbers) > 1 and _can_show(_BARS) else ""
    return chart, f"{len(values)} values, the first {number_text(values[0])}"


def sparkline(numbers: list[float]) -> str:
    """Returns numbers as a row of bars, each the last one of its part of the series."""
    count = min(_MOST_BARS, len(numbers))
    chosen = [numbers[(place + 1) * len(numbers) // count - 1] for place in range(count)]
    low, high = min(chosen), max(chosen)
    # Halved, as the distance of two numbers may be more than a number can be.
    reach = high / 2 - low / 2
    return "".join(_BARS[int((one / 2 - low / 2) / reach * (len(_BARS) - 1) + 0.5) if reach else 0] for one in chosen)


def _can_show(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def folded(data: bytes, most: int) -> tuple[list[str], bool]:
    """Returns a JSON document as at most so many lines, and whether those are all: short parts stay on one line each.

    Of what is no JSON, or nested too deep to be read, there are no lines.
    """
    try:
        lines = list(islice(_fold(msgspec.json.decode(data), "", "", "", _DEPTH), most + 1))
    except (msgspec.DecodeError, RecursionError):
        return [], False
    return lines[:most], len(lines) <= most and all(len(text) < WIDTH for text in lines)


def _fold(value: object, indent: str, lead: str, tail: str, depth: int) -> Iterator[str]:
    room = WIDTH - len(indent) - len(lead) - len(tail)
    text = compact(value, longest=max(room, 0) + 1)
    if len(text) <= room or not depth or not (is_object(value) or is_array(value)):
        yield shorten(f"{indent}{lead}{text}{tail}", WIDTH)
        return
    if is_array(value) and not any(is_object(part) or is_array(part) for part in value):
        items = f" {len(value)} items{tail}"
        yield f"{indent}{lead}{shorten(text, max(room - len(items), 1))}{items}"
        return
    opening, closing = ("{", "}") if is_object(value) else ("[", "]")
    yield f"{indent}{lead}{opening}"
    parts: Iterable[tuple[str, Any]]
    if is_object(value):
        parts = ((f"{compact(name, longest=WIDTH)}: ", part) for name, part in value.items())
    else:
        parts = (("", part) for part in value)
    for place, (name, part) in enumerate(parts, start=1):
        yield from _fold(part, indent + "  ", name, "," if place < len(value) else "", depth - 1)
    yield f"{indent}{closing}{tail}"
