"""Compares what was written, found and recorded; each comparison returns what differs, in words, or ""."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

_NUMBER = re.compile(rb"0x[0-9a-f]+|[-+]?\d[\d.,']*(?:e[-+]?\d+)?(?:ns|us|ms|[smdkMG%])?(?![A-Za-z])", re.IGNORECASE)
_FILL = re.compile(rb"[-\s|.*]+")


def same(wanted: bytes, got: bytes, what: str) -> str:
    """Compares bytes."""
    if wanted == got:
        return ""
    at = next((i for i, (one, other) in enumerate(zip(wanted, got, strict=False)) if one != other), None)
    if at is None:
        at = min(len(wanted), len(got))
    return (
        f"{what}: {len(got):,} bytes instead of {len(wanted):,}; "
        f"from byte {at:,} {got[at : at + 60]!r} instead of {wanted[at : at + 60]!r}"
    )


def woven(whole: bytes, one: bytes, other: bytes) -> str:
    """Looks whether `whole` consists of the bytes of `one` and of `other`, each in its order, and of nothing else."""
    if len(whole) != len(one) + len(other):
        return f"log: {len(whole):,} bytes, where stdout and stderr have {len(one):,} and {len(other):,}"
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    places = {0}  # how much of the shorter may be used up
    for at, byte in enumerate(whole):
        places = {
            next_place
            for place in places
            for next_place in (
                *((place + 1,) if place < len(short) and short[place] == byte else ()),
                *((place,) if at - place < len(long) and long[at - place] == byte else ()),
            )
        }
        if not places:
            return f"log: byte {at:,} comes from neither stdout nor stderr: {whole[max(0, at - 30) : at + 30]!r}"
    return ""


def alike(control: bytes, tracked: bytes, own: tuple[bytes, ...], what: str) -> str:
    """Compares what two runs of one program wrote, apart from numbers and from how often a solver reports progress.

    Solvers report by the clock, so of their lines one in twenty may be more or less; the program's `own` lines must be
    there the same number of times.
    """
    for line in own:
        if control.count(line) != tracked.count(line):
            return f"{what}: {tracked.count(line)} times {line!r}, {control.count(line)} times without nxtrack"
    before, after = _shapes(control), _shapes(tracked)
    more, less = after - before, before - after
    if more.total() + less.total() > max(4, before.total() // 10):
        examples = [line.decode(errors="replace")[:60] for line in [*more, *less][:3]]
        return f"{what}: {more.total()} lines more and {less.total()} fewer than without nxtrack, such as {examples}"
    return ""


def _shapes(text: bytes) -> Counter[bytes]:
    return Counter(_FILL.sub(b" ", _NUMBER.sub(b"#", line)).strip() for line in text.splitlines() if line.strip())


def near(wanted: object, got: object, *, relative: float, absolute: float) -> bool:
    """Compares two numbers."""
    if not isinstance(wanted, int | float) or not isinstance(got, int | float) or isinstance(got, bool):
        return False
    return math.isclose(wanted, got, rel_tol=relative, abs_tol=absolute)


def plain(output: Any) -> Any:
    """Returns an output without what was added to it: the metrics, and what draws their course."""
    if not isinstance(output, dict):
        return output
    return {name: value for name, value in output.items() if name not in {"metrics", "assets"}}
