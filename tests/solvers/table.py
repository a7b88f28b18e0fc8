"""The table of what came of all cases, as Markdown, and its place in the README."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = {
    "result": "result",
    "log": "log",
    "metrics": "metrics",
    "killed": "killed",
    "ctrl_c": "Ctrl-C",
}
_PLACE = re.compile(r"(<!-- solvers -->\n).*?(<!-- end of solvers -->)", re.DOTALL)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the table: a cell that is not as it should be is bold."""
    lines = [
        f"| solver | version | {' | '.join(COLUMNS.values())} |",
        "|---" * (2 + len(COLUMNS)) + "|",
    ]
    for row in rows:
        cells = [f"skipped: {row['skipped']}", *[""] * (len(COLUMNS) - 1)] if row["skipped"] else _cells(row)
        lines.append(f"| {row['name']} | {row['version']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[str]:
    cells = []
    for name in COLUMNS:
        column = row["columns"][name]
        said = column["says"]
        cells.append(f"**no**{', ' + said if said else ''}" if column["findings"] else said or "yes")
    return cells


def put(rows: Sequence[dict[str, Any]], readme: Path) -> None:
    """Puts the table into its place in the README."""
    text = readme.read_text(encoding="utf-8")
    found, times = _PLACE.subn(lambda place: f"{place[1]}{table(rows)}\n{place[2]}", text)
    if times != 1:
        raise ValueError(f"{readme} has {times} places for the table of solvers")
    readme.write_text(found, encoding="utf-8")
