"""What the history reads: runs narrowed down, in an order, page by page; points to draw; applications with counts.

All of it holds at 100,000 runs: an order is walked along an index, a page begins where the last one ended, and a
search that finds little reads the runs once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

MOST_POINTS = 500
"""How many of the newest runs are drawn, and looked through for the names of metrics."""
MOST_FOUND = 10_000
"""So many runs may be found one by one before a page is cut out of them; of more, an index gives them in order."""
_MOST_NEWS = 1_000
_MOST_NAMES = 50

By = Literal["time", "duration", "name", "status", "metric"]
Sign = Literal["=", "<", ">", "<=", ">="]
Key = float | str | None

# The index runs_by_title is on this very expression.
_TITLE = "COALESCE(NULLIF(r.name, ''), r.id) COLLATE NOCASE"
_KEYS: dict[By, str | None] = {
    "time": None,
    "duration": "r.duration",
    "name": _TITLE,
    "status": "r.status",
    "metric": "m.value",
}
_TEXTS = ("r.name", "r.id", "r.description", "r.error", "r.instance")
_CONTAINS = "(" + " OR ".join(f"{text} LIKE ? ESCAPE '\\'" for text in _TEXTS) + ")"
_COLUMNS = (
    "r.number, r.id, r.application, r.instance, SUBSTR(r.name, 1, 300) AS name, "
    "SUBSTR(r.description, 1, 300) AS description, r.status, r.created_at, r.duration, "
    "SUBSTR(r.error, 1, 300) AS error, r.experiment, "
    "CASE WHEN LENGTH(r.options) <= 65536 THEN r.options END AS options, "
    "CASE WHEN LENGTH(r.metrics) <= 65536 THEN r.metrics END AS metrics"
)


@dataclass(frozen=True, slots=True)
class Term:
    """A condition such as `gap<0.05`: on a metric, and with `=` on an option or a metric.

    Attributes:
        name: The metric's dotted name, or the option's.
        sign: `=`, or how the metric compares.
        text: What the option is to be.
        number: What the metric is compared with; None when the text is no number.
    """

    name: str
    sign: Sign
    text: str
    number: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which runs are meant. `since` (included) and `until` (not) in microseconds since 1970.

    Attributes:
        words: Each of them stands in the name, id, description, error or instance; ASCII letters in either case.
        terms: Each of them holds, or stands there as a word does.
    """

    application: str | None = None
    status: str | None = None
    experiment: str | None = None
    words: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """In which order. By a metric, runs that lack it come last, however the others are turned."""

    by: By = "time"
    descending: bool = True
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the key and the number of the run there. Without a key in the order by a metric."""

    key: Key
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run as a row of the list; long texts are cut. Times in microseconds since 1970, `duration` in ms.

    Attributes:
        options: None where there is too much of them for a list; so it is with `metrics`, which there may be none of.
        key: What it is sorted by.
    """

    number: int
    id: str
    application: str
    instance: str
    name: str
    description: str
    status: str
    created_at: int
    duration: int
    error: str
    experiment: str | None
    options: dict[str, str] | None
    metrics: dict[str, Any] | None
    key: Key


@dataclass(frozen=True, slots=True)
class Point:
    """A run as a point to draw. `measure` is the value of the chosen metric."""

    number: int
    id: str
    application: str
    name: str
    status: str
    created_at: int
    duration: int
    measure: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One application: how many of its runs are of which status, and when the last one came."""

    id: str
    counts: dict[str, int]
    last: int | None

    @property
    def total(self) -> int:
        """All its runs."""
        return sum(self.counts.values())


def overview(db: sqlite3.Connection, *, most: int) -> list[Summary]:
    """Applications, those with the newest runs first, then those without any."""
    counts: dict[str, dict[str, int]] = {}
    newest: dict[str, int] = {}
    for name, status, count, number in db.execute(
        "SELECT application, status, COUNT(*), MAX(number) FROM runs GROUP BY application, status"
    ):
        counts.setdefault(name, {})[status] = count
        newest[name] = max(number, newest.get(name, 0))
    names = sorted(newest, key=lambda name: -newest[name])[:most]
    numbers = [newest[name] for name in names]
    times = dict(db.execute(f"SELECT number, created_at FROM runs WHERE number IN ({_marks(numbers)})", numbers))  # noqa: S608
    found = [Summary(id=name, counts=counts[name], last=times[newest[name]]) for name in names]
    bare = db.execute(
        "SELECT id FROM applications AS a WHERE NOT EXISTS (SELECT 1 FROM runs WHERE application = a.id) "
        "ORDER BY id LIMIT ?",
        (most - len(found),),
    )
    return found + [Summary(id=name, counts={}, last=None) for (name,) in bare]


def experiments(db: sqlite3.Connection, application: str | None, *, most: int) -> list[str]:
    """Batch experiments that runs belong to, by name."""
    clause, values = ("AND application = ?", [application]) if application is not None else ("", [])
    rows = db.execute(
        f"SELECT DISTINCT experiment FROM runs WHERE experiment IS NOT NULL {clause} ORDER BY experiment LIMIT ?",  # noqa: S608
        (*values, most),
    )
    return [name for (name,) in rows]


def numbers(db: sqlite3.Connection, wanted: Filter) -> list[int]:
    """The numbers of the newest runs that are meant, newest first: all of them, or `MOST_FOUND + 1`."""
    where, values = _where(wanted)
    rows = db.execute(
        f"SELECT r.number FROM runs AS r WHERE {where} ORDER BY r.number DESC LIMIT {MOST_FOUND + 1}",  # noqa: S608
        values,
    )
    return [number for (number,) in rows]


def points(db: sqlite3.Connection, numbers: Sequence[int], metric: str) -> list[Point]:
    """These runs, newest first, with the value that one metric has for each."""
    rows = db.execute(
        "SELECT r.number, r.id, r.application, SUBSTR(r.name, 1, 300), r.status, r.created_at, r.duration, m.value "  # noqa: S608
        "FROM runs AS r LEFT JOIN measures AS m ON m.run = r.number AND m.name = ? "
        f"WHERE r.number IN ({_marks(numbers)}) ORDER BY r.number DESC",
        (metric, *numbers),
    )
    return [Point(*row) for row in rows]


def metric_names(db: sqlite3.Connection, numbers: Sequence[int]) -> list[str]:
    """The metrics that these runs have, the most frequent first."""
    rows = db.execute(
        f"SELECT name FROM measures WHERE run IN ({_marks(numbers)}) GROUP BY name "  # noqa: S608
        f"ORDER BY COUNT(*) DESC, name LIMIT {_MOST_NAMES}",
        numbers,
    )
    return [name for (name,) in rows]


def measures(db: sqlite3.Connection, numbers: Sequence[int], name: str) -> dict[int, float]:
    """The value of one metric for each of these runs that has it."""
    rows = db.execute(
        f"SELECT run, value FROM measures WHERE name = ? AND run IN ({_marks(numbers)})",  # noqa: S608
        (name, *numbers),
    )
    return dict(rows)


def count(db: sqlite3.Connection, wanted: Filter) -> int | None:
    """How many runs are meant; None when it would take a search through all runs to know."""
    if wanted.words or wanted.terms or wanted.since is not None or wanted.until is not None:
        return None
    where, values = _where(wanted)
    (found,) = db.execute(f"SELECT COUNT(*) FROM runs AS r WHERE {where}", values).fetchone()  # noqa: S608
    return int(found)


def news(db: sqlite3.Connection, wanted: Filter, *, since: int) -> int:
    """How many of the runs that are meant have a greater number; at most 1,000 are counted."""
    where, values = _where(wanted)
    (found,) = db.execute(
        f"SELECT COUNT(*) FROM (SELECT 1 FROM runs AS r WHERE {where} AND r.number > ? LIMIT {_MOST_NEWS})",  # noqa: S608
        (*values, since),
    ).fetchone()
    return int(found)


def newest(db: sqlite3.Connection) -> int:
    """The greatest number that any run has; 0 without runs."""
    (number,) = db.execute("SELECT MAX(number) FROM runs").fetchone()
    return number or 0


def entries(
    db: sqlite3.Connection,
    wanted: Filter,
    order: Order,
    *,
    limit: int,
    place: Place | None = None,
    backwards: bool = False,
    within: Sequence[int] | None = None,
) -> list[Entry]:
    """One page of the list.

    Args:
        db: A connection, reading.
        wanted: Which runs.
        order: Their order.
        limit: How many at most.
        place: The page begins after this place, or, backwards, ends before it.
        backwards: Whether it is the page before `place`; its rows still come in the order that is asked for.
        within: The numbers of all runs that are meant, where there are no more than `MOST_FOUND`.
    """
    # More than that are a good part of all runs: the order's index is walked, not the filter's and then sorted.
    where, values = _where(wanted, plus="" if order.by == "time" else "+")
    if within is not None:
        where, values = f"r.number IN ({_marks(within)})", list(within)
    parts = [_Part("FROM runs AS r WHERE TRUE", [], _KEYS[order.by])]
    if order.by == "metric":
        parts = _metric_parts(order.metric, wanted.application)
        if backwards:
            parts.reverse()
        if place is not None and (place.key is None) is not (parts[0].key is None):
            del parts[0]
    down = order.descending is not backwards
    found: list[Place] = []
    for part in parts:
        clause, bound = _beyond(place, part, down=down)
        place = None
        turn = "DESC" if down else "ASC"
        turned = ", ".join(f"{column} {turn}" for column in (part.key, part.number) if column)
        rows = db.execute(
            f"SELECT {part.key or 'NULL'}, {part.number} {part.source} AND {where} AND {clause} "
            f"ORDER BY {turned} LIMIT ?",
            (*part.values, *values, *bound, limit - len(found)),
        )
        found += [Place(*row) for row in rows]
        if len(found) >= limit:
            break
    return _rows(db, found[::-1] if backwards else found)


@dataclass(frozen=True, slots=True)
class _Part:
    """One stretch of a list: where its rows come from, and the columns of their keys and numbers."""

    source: str
    values: list[Any]
    key: str | None
    number: str = "r.number"


def _metric_parts(metric: str | None, application: str | None) -> list[_Part]:
    """The runs that have a metric, and those that lack it."""
    having = "FROM measures AS m CROSS JOIN runs AS r ON r.number = m.run WHERE m.name = ?"
    values: list[Any] = [metric]
    if application is not None:
        # The index on measures holds the application: this spares looking up other applications' runs.
        having, values = f"{having} AND m.application = ?", [metric, application]
    lacking = "FROM runs AS r WHERE NOT EXISTS (SELECT 1 FROM measures WHERE run = r.number AND name = ?)"
    return [_Part(having, values, "m.value", "m.run"), _Part(lacking, [metric], None)]


def _rows(db: sqlite3.Connection, places: Sequence[Place]) -> list[Entry]:
    """The rows themselves, which no sorting should have to carry along."""
    numbers = [place.number for place in places]
    rows = db.execute(f"SELECT {_COLUMNS} FROM runs AS r WHERE r.number IN ({_marks(numbers)})", numbers)  # noqa: S608
    known = {row["number"]: dict(row) for row in rows}
    found: list[Entry] = []
    for place in places:
        values = known[place.number]
        for name in ("options", "metrics"):
            values[name] = None if values[name] is None else msgspec.json.decode(values[name], type=dict[str, Any])
        found.append(Entry(**values, key=place.key))
    return found


def _where(wanted: Filter, *, plus: str = "") -> tuple[str, list[Any]]:
    """The clause for what is wanted, and its values. A `plus` before a column keeps SQLite from using its index."""
    plain: dict[str, Any] = {
        f"{plus}r.application = ?": wanted.application,
        f"{plus}r.status = ?": wanted.status,
        f"{plus}r.experiment = ?": wanted.experiment,
        f"{plus}r.created_at >= ?": wanted.since,
        f"{plus}r.created_at < ?": wanted.until,
    }
    clauses = [clause for clause, value in plain.items() if value is not None]
    values = [value for value in plain.values() if value is not None]
    for word in wanted.words:
        clauses.append(_CONTAINS)
        values += [_pattern(word)] * len(_TEXTS)
    for term in wanted.terms:
        clause, bound = _holds(term)
        clauses.append(clause)
        values += bound
    return " AND ".join(clauses) or "TRUE", values


def _holds(term: Term) -> tuple[str, list[Any]]:
    """The clause for a condition, what is quickly told first, and its values."""
    ways: list[str] = []
    values: list[Any] = []
    if term.sign == "=":
        # As they are stored; a quote within a name or a value is not written as one.
        ways.append("INSTR(r.options, ?)")
        values.append(msgspec.json.encode({term.name: term.text})[1:-1])
    if term.number is not None:
        ways.append(f"r.number IN (SELECT run FROM measures WHERE name = ? AND value {term.sign} ?)")  # noqa: S608
        values += [term.name, term.number]
    ways.append(_CONTAINS)
    values += [_pattern(f"{term.name}{term.sign}{term.text}")] * len(_TEXTS)
    return f"({' OR '.join(ways)})", values


def _pattern(word: str) -> str:
    return "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def _beyond(place: Place | None, part: _Part, *, down: bool) -> tuple[str, list[Any]]:
    """The clause that leaves out everything up to a place."""
    if place is None:
        return "TRUE", []
    sign = "<" if down else ">"
    if part.key is None:
        return f"{part.number} {sign} ?", [place.number]
    return f"({part.key}, {part.number}) {sign} (?, ?)", [place.key, place.number]


def _marks(numbers: Sequence[int]) -> str:
    return ", ".join("?" * len(numbers))
