"""Owns `nxtrack retry` and `nxtrack clean`: what comes back to the runs that wait, and what leaves the spool."""

from __future__ import annotations

import re

from nxtrack import settings
from nxtrack.cli.output import complain, say, size
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


def retry(run_ids: list[str] | None) -> int:
    """Sends rejected runs back to those that wait. One that cannot be sent back does not stop the others.

    Args:
        run_ids: Ids, or their beginnings; None for all rejected runs.

    Returns:
        The exit status: that of the last run that could not be sent back, if there is one.
    """
    from nxtrack.cli.main import status_of

    runs = spool(settings.spool_dir(settings.current()))
    wanted = [entry.run_id for entry in runs.entries("rejected")] if run_ids is None else run_ids
    sent = status = 0
    for run_id in wanted:
        try:
            _retry(runs, run_id)
            sent += 1
        except NxtrackError as error:
            complain(str(error))
            status = status_of(error)
    if sent:
        say(f"{plural(sent, 'run')} sent back; `nxtrack flush` tries again.")
    elif not wanted:
        say("No runs are rejected.")
    return status


def _retry(runs: Spool, run_id: str) -> None:
    entry = runs.find(run_id)
    if entry.state != "rejected":
        raise RunNotFound(f"Run {entry.run_id} is {entry.state}, not rejected: there is nothing to retry.")
    if not retention.retry(runs, entry.run_id):
        raise RunBusy(f"Run {entry.run_id} is in the hands of another process; try again later.")


def clean(*, older_than: float, rejected: bool, dry_run: bool) -> int:
    """Removes delivered runs from the spool.

    Args:
        older_than: Seconds since a run began, below which it stays.
        rejected: Remove rejected runs too.
        dry_run: Only count.

    Returns:
        The exit status.
    """
    runs = spool(settings.spool_dir(settings.current()))
    pruned = retention.prune(runs, older_than=older_than, rejected=rejected, dry_run=dry_run)
    if not (pruned.runs or pruned.size):
        say("Nothing to remove.")
    elif dry_run:
        say(f"{plural(pruned.runs, 'run')} would be removed, {size(pruned.size)}.")
    else:
        say(f"{plural(pruned.runs, 'run')} removed, {size(pruned.size)} freed.")
    return 0
