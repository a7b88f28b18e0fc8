"""Owns `nxtrack list`, and what a run looks like in a list: read only when it is to be shown."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from nxtrack import settings
from nxtrack.cli.output import ago, emit, rfc3339, say, span, table
from nxtrack.errors import RunCorrupt, RunNotFound, SpoolError, SpoolUnavailable
from nxtrack.spool import ids
from nxtrack.spool.store import Spool, spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.spool.layout import State
    from nxtrack.spool.listing import Entry
    from nxtrack.spool.reader import RunRecord


class Row(msgspec.Struct, kw_only=True):
    """A run as lists show it. What its file does not tell, or cannot as it is damaged, is None.

    Attributes:
        id: Its id in the spool.
        name: Its name, else what was tracked.
        status: `succeeded` or `failed`; None while it runs.
        created_at: When it began, as RFC 3339.
        run_id: Its id on the platform.
        error: Why it was rejected, else why it failed, else what is wrong with its file.
    """

    id: str
    app_id: str | None = None
    name: str | None = None
    status: Literal["succeeded", "failed"] | None = None
    state: str
    created_at: str | None
    duration_ms: int | None = None
    run_id: str | None = None
    error: str | None = None


def row(entry: Entry, run: RunRecord) -> Row:
    """Returns a run as lists show it."""
    start, end, posted = run.start, run.end, run.posted
    error = run.rejected.error if run.rejected else end.error if end else None
    return Row(
        id=entry.run_id,
        app_id=start.app_id or (posted.app_id if posted else None),
        name=start.name or start.source or None,
        status=end.status if end else None,
        state=entry.state,
        created_at=rfc3339(start.at),
        duration_ms=end.duration_ms if end else None,
        run_id=posted.run_id if posted else None,
        error=error,
    )


def rows(runs: Spool, state: State | None, limit: int | None = None) -> Iterator[Row]:
    """Yields runs newest first, each read as it is asked for. One that cannot be read is among them, with its error."""
    entries = runs.entries(*(() if state is None else (state,)), newest_first=True)
    for entry in islice(entries, limit):
        try:
            yield row(entry, runs.read(entry))
        except RunNotFound:
            if (found := _moved(runs, entry, state)) is not None:
                yield found
        except SpoolError as error:
            yield _unreadable(entry, error)


def _moved(runs: Spool, entry: Entry, state: State | None) -> Row | None:
    """Returns a run that changed its state since it was listed, unless it is gone or no longer what is asked for."""
    with suppress(RunNotFound):
        found = runs.find(entry.run_id)
        if state in {None, found.state}:
            try:
                return row(found, runs.read(found))
            except (RunCorrupt, SpoolUnavailable) as error:
                return _unreadable(found, error)
    return None


def _unreadable(entry: Entry, error: SpoolError) -> Row:
    created_at = rfc3339(ids.time_of(entry.run_id))
    return Row(id=entry.run_id, state=entry.state, created_at=created_at, error=str(error))


def list_runs(state: str | None, *, limit: int | None, as_json: bool) -> int:
    """Prints the runs of the spool, newest first.

    Args:
        state: Only runs in this state.
        limit: How many at most.
        as_json: As a JSON array.

    Returns:
        The exit status.
    """
    runs = spool(settings.spool_dir(settings.current()))
    found = list(rows(runs, cast("State | None", state), limit))
    if as_json:
        emit(found)
    elif not found:
        say("No runs." if state is None else f"No {state} runs.")
    else:
        table(
            ("id", "state", "status", "app", "name", "began", "took", "run, or error"), [_cells(item) for item in found]
        )
    return 0


def _cells(item: Row) -> list[str]:
    return [
        item.id,
        item.state,
        item.status or ("running" if item.state == "active" else ""),
        item.app_id or "",
        item.name or "",
        ago(ids.time_of(item.id)),
        "" if item.duration_ms is None else span(item.duration_ms / 1000),
        item.error or item.run_id or "",
    ]
