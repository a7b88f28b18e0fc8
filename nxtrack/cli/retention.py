"""Owns `nxtrack retry` and `nxtrack clean`: what comes back to the runs that wait, and what leaves the spool."""

from __future__ import annotations

import re

from nxtrack import settings
from nxtrack.cli.output import complain, emit, say, size
from nxtrack.delivery.report import plural
from nxtrack.errors import NxtrackError, RunBusy, RunNotFound, SettingsError
from nxtrack.spool import retention
from nxtrack.spool.store import Spool, spool

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def seconds(text: str) -> float:
    """Reads an age such as `30m`, `12h`, `7d` or `2w`; a bare number is seconds.

    Raises:
        SettingsError: It is none.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([smhdw]?)\s*", text.lower())
    if match is None:
        raise SettingsError(f"{text[:80]!r} is no age: write it as 30m, 12h, 7d or 2w.")
    return float(match[1]) * _UNITS[match[2]]


def retry(run_ids: list[str] | None, *, as_json: bool = False) -> int:
    """Sends rejected runs back to those that wait. One that cannot be sent back does not stop the others.

    Args:
        run_ids: Ids, or their beginnings; None for all rejected runs.
        as_json: Print which were sent back, and what kept the others, as JSON.

    Returns:
        The exit status: that of the last run that could not be sent back, if there is one.
    """
    from nxtrack.cli.main import DONE, status_of

    runs = spool(settings.spool_dir(settings.current()))
    wanted = [entry.run_id for entry in runs.entries("rejected")] if run_ids is None else run_ids
    sent: list[str] = []
    problems: list[str] = []
    status = DONE
    for run_id in wanted:
        try:
            sent.append(_retry(runs, run_id))
        except NxtrackError as error:
            problems.append(str(error))
            status = status_of(error)
    if as_json:
        emit({"retried": sent, "problems": problems})
        return status
    complain(*problems)
    if sent:
        say(f"{plural(len(sent), 'run')} sent back; `nxtrack flush` tries again.")
    elif not wanted:
        say("No runs are rejected.")
    return status


def _retry(runs: Spool, run_id: str) -> str:
    """Sends a run back by the beginning of its id; returns its id."""
    entry = runs.find(run_id)
    if entry.state != "rejected":
        raise RunNotFound(f"Run {entry.run_id} is {entry.state}, not rejected: there is nothing to retry.")
    if not retention.retry(runs, entry.run_id):
        raise RunBusy(f"Run {entry.run_id} is in the hands of another process; try again later.")
    return entry.run_id


def clean(*, older_than: float, rejected: bool, dry_run: bool, as_json: bool = False) -> int:
    """Removes delivered runs from the spool.

    Args:
        older_than: Seconds since a run began, below which it stays.
        rejected: Remove rejected runs too.
        dry_run: Only count.
        as_json: Print how many runs and bytes as JSON.

    Returns:
        The exit status.
    """
    runs = spool(settings.spool_dir(settings.current()))
    pruned = retention.prune(runs, older_than=older_than, rejected=rejected, dry_run=dry_run)
    if as_json:
        emit({"runs": pruned.runs, "bytes": pruned.size})
    elif not (pruned.runs or pruned.size):
        say("Nothing to remove.")
    elif dry_run:
        say(f"{plural(pruned.runs, 'run')} would be removed, {size(pruned.size)}.")
    else:
        say(f"{plural(pruned.runs, 'run')} removed, {size(pruned.size)} freed.")
    return 0
