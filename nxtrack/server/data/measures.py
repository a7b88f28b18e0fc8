"""The numbers in a run's metrics, by which runs are sorted and drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nxtrack.server.data.contents import indicators

if TYPE_CHECKING:
    import sqlite3

_MOST = 50


def measures_of(metrics: dict[str, Any] | None) -> list[tuple[str, float]]:
    """The finite numbers in metrics by their dotted names, each name once, at most 50 of them."""
    found: dict[str, float] = {}
    for name, value in indicators(metrics or {}, most=10 * _MOST):
        if isinstance(value, str | bool):
            continue
        try:
            number = float(value)
        except OverflowError:  # an integer of hundreds of digits
            continue
        if math.isfinite(number) and len(found) < _MOST:
            found.setdefault(name, number)
    return list(found.items())


def keep_measures(db: sqlite3.Connection, number: int, metrics: dict[str, Any] | None) -> None:
    """Notes the numbers in a run's metrics, within the transaction that stores the metrics."""
    db.execute("DELETE FROM measures WHERE run = ?", (number,))
    db.executemany(
        "INSERT INTO measures (run, name, value, application) "
        "SELECT number, ?, ?, application FROM runs WHERE number = ?",
        [(name, value, number) for name, value in measures_of(metrics)],
    )
