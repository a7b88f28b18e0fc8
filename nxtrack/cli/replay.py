"""Owns `nxtrack replay`: a function run again on a run's captured input, and what differs then."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from nxtrack import settings
from nxtrack.cli import functions
from nxtrack.cli.elsewhere import stdout_to
from nxtrack.cli.output import columns, emit, line, say, span
from nxtrack.cli.page import number_text
from nxtrack.differences import Changes, between_documents, between_mappings
from nxtrack.errors import FunctionUnusable, RunNotFound
from nxtrack.spool.store import Spool, spool

if TYPE_CHECKING:
    from collections.abc import Generator

    from nxtrack.differences import Row, Sign
    from nxtrack.spool.reader import RunRecord
    from nxtrack.tracking.again import Again

SAME, DIFFERENT = 0, 1
_LONGEST_VALUE, _LONGEST_IN_JSON = 60, 2_000
_KINDS: dict[Sign, Literal["added", "removed", "changed"]] = {"+": "added", "-": "removed", "±": "changed"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What counts as the same.

    Attributes:
        tolerance: By how much two numbers may differ: absolute, or as a share of the larger one.
        ignored: Places in the output that are not compared.
    """

    tolerance: float = 0.0
    ignored: tuple[str, ...] = ()


class _Outcome(msgspec.Struct, kw_only=True):
    """How a run ended; its output without the metrics and assets that were logged, which are told apart from it."""

    status: str
    error: str | None
    duration_ms: int
    output: Any
    metrics: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a replay has shown."""

    run_id: str
    function: str
    old: _Outcome
    new: _Outcome
    changes: Changes
    metrics: list[Row]
    notes: list[str]

    @property
    def same(self) -> bool:
        """Whether status, error and output are what they were."""
        ends = [(end.status, end.error) for end in (self.old, self.new)]
        return ends[0] == ends[1] and not self.changes.found and not self.changes.cut


def replay(run_id: str, name: str, terms: Terms, *, as_json: bool) -> int:
    """Runs a function on what was captured of a run, and prints what differs from how it ended then.

    The function is tracked as usual, but in a spool of its own that is removed at the end: no run is added.

    Args:
        run_id: The run's id, or the beginning of it.
        name: The function, such as `routing:solve`.
        terms: What counts as the same.
        as_json: As a JSON object.

    Returns:
        The exit status: 0 for the same, 1 for a difference.

    Raises:
        RunNotFound: There is no such run, it goes on still, or it has no input.
        RunCorrupt: It is damaged.
        FunctionUnusable: The function cannot be imported, or does not take what was captured.
    """
    runs = spool(settings.spool_dir(settings.current()))
    entry = runs.find(run_id)
    run = runs.read(entry)
    old = _outcome(runs, run)
    if old is None:
        raise RunNotFound(f"Run {entry.run_id} has not ended yet, so there is nothing to compare with.")
    source = runs.artefact(run, "input")
    if source is None:
        raise RunNotFound(f"Run {entry.run_id} has no input to replay.")
    with _away_from_the_spool() as folder, stdout_to(sys.stderr):
        from nxtrack.tracking.again import Again

        again = Again(functions.load(name), run.start.options)
        try:
            call = again.arguments(msgspec.json.decode(source.read()))
        except FunctionUnusable as error:
            raise FunctionUnusable(f"{line(name)} cannot be run on run {entry.run_id}. {error}") from None
        new = _run(again, call, folder)
    notes = [f"the input was altered when it was captured: {note}" for note in (run.input.notes if run.input else ())]
    notes += [*call.notes, *again.notes]
    for when, outcome in (("captured", old), ("new", new)):
        notes += [f"the {when} output was altered: {note}" for note in outcome.notes]
    found = _Found(
        run_id=entry.run_id,
        function=name,
        old=old,
        new=new,
        changes=between_documents(
            old.output,
            new.output,
            longest=_LONGEST_IN_JSON if as_json else _LONGEST_VALUE,
            tolerance=terms.tolerance,
            ignored=terms.ignored,
        ),
        metrics=between_mappings(old.metrics, new.metrics),
        notes=notes,
    )
    if as_json:
        emit(_document(found))
    else:
        say(*_page(found))
    return SAME if found.same else DIFFERENT


def _run(again: Again, call: Any, folder: str) -> _Outcome:
    """Calls the function; returns how it ended, as it was recorded."""
    _use(folder)  # Again, as the function's module may have had settings of its own.
    runs = Spool(folder)
    before = {entry.run_id for entry in runs.entries()}
    with suppress(Exception, SystemExit):  # The record tells, as it does for the captured run.
        again.call(call)
    for entry in runs.entries():
        if entry.run_id not in before:
            found = _outcome(runs, runs.read(entry))
            if found is not None:
                return found
    raise FunctionUnusable("The function was run, but what it did could not be recorded.")


def _outcome(runs: Spool, run: RunRecord) -> _Outcome | None:
    end = run.end
    if end is None:
        return None
    source = runs.artefact(run, "output")
    output = None if source is None else msgspec.json.decode(source.read())
    metrics = {metric.name: metric.value for metric in run.metrics}
    return _Outcome(
        status=end.status,
        error=end.error,
        duration_ms=end.duration_ms,
        output=_without_logged(output, metrics, len(run.assets)),
        metrics=metrics,
        notes=run.output.notes if run.output else (),
    )


def _without_logged(output: Any, metrics: dict[str, Any], assets: int) -> Any:
    """Returns an output without what was logged beside it: a time or a count of nodes differs with each run."""
    if not isinstance(output, dict):
        return output
    whole = dict(cast("dict[str, Any]", output))
    logged: Any = whole.get("metrics")
    if metrics and isinstance(logged, dict):
        own = {name: value for name, value in cast("dict[str, Any]", logged).items() if name not in metrics}
        whole["metrics"] = own
    if assets and isinstance(whole.get("assets"), list):
        whole["assets"] = whole["assets"][:-assets]
    if metrics and not whole.get("metrics", True):
        del whole["metrics"]
    if assets and not whole.get("assets", True):
        del whole["assets"]
    return whole or None


@contextmanager
def _away_from_the_spool() -> Generator[str]:
    """Has whatever is tracked in the block recorded in a folder that is removed after it, also by child processes."""
    kept = {name: os.environ.get(name) for name in ("NXTRACK_DIR", "NXTRACK_MODE", "NXTRACK_DURABILITY")}
    path = list(sys.path)
    with tempfile.TemporaryDirectory(prefix="nxtrack-replay-", ignore_cleanup_errors=True) as folder:
        os.environ.update(NXTRACK_DIR=folder, NXTRACK_MODE="offline", NXTRACK_DURABILITY="process")
        _use(folder)
        try:
            yield folder
        finally:
            settings.configure(dir=None, mode=None, durability=None)
            sys.path[:] = path
            for name, value in kept.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _use(folder: str) -> None:
    settings.configure(dir=folder, mode="offline", durability="process")


def _document(found: _Found) -> dict[str, Any]:
    old, new = found.old, found.new
    return {
        "id": found.run_id,
        "function": found.function,
        "same": found.same,
        "status": {"old": old.status, "new": new.status},
        "error": {"old": old.error, "new": new.error},
        "duration_ms": {"old": old.duration_ms, "new": new.duration_ms},
        "changes": [
            {"path": change.path, "kind": _KINDS[change.sign], "old": change.old, "new": change.new}
            for change in found.changes.found
        ],
        "cut": found.changes.cut,
        "metrics": [{"name": row.name, "old": row.old, "new": row.new, "change": row.change} for row in found.metrics],
        "notes": found.notes,
    }


def _page(found: _Found) -> list[str]:
    old, new = found.old, found.new
    rows = [
        ("", "captured", "replayed", ""),
        ("status", old.status, new.status, ""),
        ("duration", span(old.duration_ms / 1000), span(new.duration_ms / 1000), ""),
        *((row.name, _shown(row.old), _shown(row.new), _share(row)) for row in found.metrics),
    ]
    page = [f"Run {found.run_id} replayed by {line(found.function)}.", *columns(rows)]
    if old.error == new.error:
        page += [f"Error, both times: {line(old.error, 400)}"] if old.error else []
    else:
        errors = (("captured", old.error), ("replayed", new.error))
        page += [f"Error when {when}: {line(error or 'none', 400)}" for when, error in errors]
    page += _differences(found.changes)
    page += [f"Note: {line(note, 400).rstrip('.')}." for note in found.notes]
    return [*page, "The same." if found.same else "Different."]


def _differences(changes: Changes) -> list[str]:
    if not changes.found and not changes.cut:
        return []
    number = f"more than {len(changes.found)}" if changes.cut else str(len(changes.found))
    title = f"Output differs in {number} place{'s' if len(changes.found) != 1 or changes.cut else ''}:"
    rows = [
        (change.sign, line(change.path or "the whole output"), " → ".join(filter(None, (change.old, change.new))))
        for change in changes.found
    ]
    return [title, *columns(rows)]


def _shown(value: object) -> str:
    return "" if value is None else number_text(value)


def _share(row: Row) -> str:
    return "" if row.share is None else f"{row.share:+.1%}"
