"""Owns `nxtrack flush`: one flush shown as it goes on, told in sentences or JSON, and what its exit status is."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from nxtrack import settings as settings_module
from nxtrack.cli.bar import Bar, Lines, Silent
from nxtrack.cli.main import DONE, LATER, REJECTED, USAGE
from nxtrack.cli.output import complain, emit, line, say, span, table, them
from nxtrack.cli.signals import stopping_by
from nxtrack.cloud.credentials import credentials
from nxtrack.delivery.flusher import Flusher
from nxtrack.delivery.report import FlushReport, plural
from nxtrack.errors import RunNotFound, SettingsError, SpoolError
from nxtrack.spool.store import Spool, spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.delivery.order import Order
    from nxtrack.settings import Settings

_REJECTED_SHOWN = 5
_PREVIEW_SHOWN = 20


def deliver(settings: Settings, order: Order, *, as_json: bool = False) -> int:
    """Delivers what waits in the spool, and tells what came of it.

    Args:
        settings: The settings in force.
        order: What is asked of the flush.
        as_json: Print the report as JSON, and nothing else on stdout.

    Returns:
        The exit status.

    Raises:
        SettingsError: No API key, or a setting that cannot be used; all runs are kept.
        SpoolError: The spool cannot be used.
    """
    runs = spool(settings_module.spool_dir(settings))
    stop = threading.Event()
    began = time.monotonic()
    with _progress(stop, order, as_json=as_json) as progress, stopping_by(stop, told=progress.stopping):
        flusher = Flusher(runs, settings, order=order, progress=progress)
        flusher.stopping = stop
        stopped_at_once = run_to_end(flusher, runs)
    report = flusher.report
    if as_json:
        emit(report)
    else:
        _tell(report, runs, settings, time.monotonic() - began, stopped_at_once=stopped_at_once, stopped=stop.is_set())
    return exit_status(report)


def run_to_end(flusher: Flusher, runs: Spool) -> bool:
    """Runs a flush; one that is stopped at once still has a report that holds.

    Returns:
        Whether it was stopped at once.
    """
    try:
        flusher.run()
    except KeyboardInterrupt:
        flusher.report.pending = waiting(runs)
        return True
    return False


def waiting(runs: Spool) -> int:
    """Counts the runs that a flush would look at."""
    return len(runs.waiting())


def exit_status(report: FlushReport) -> int:
    """Returns the exit status that a flush's report means."""
    if report.refused:
        return USAGE
    if report.rejected or report.damaged:
        return REJECTED
    return LATER if report.pending else DONE


def troubles(report: FlushReport) -> Iterator[str]:
    """Yields sentences about what did not go well, but for how many runs are left."""
    for rejected in report.rejected[:_REJECTED_SHOWN]:
        yield f"Run {rejected.id} was rejected and is kept: {line(rejected.error, 400)} `nxtrack show {rejected.id}`"
    if (more := len(report.rejected) - _REJECTED_SHOWN) > 0:
        yield f"{plural(more, 'more run')} rejected and kept: `nxtrack list --state rejected`"
    yield from (line(problem, 600) for problem in report.problems)
    if report.unconfirmed:
        yield (
            f"{plural(report.unconfirmed, 'run')} unconfirmed: the platform may have taken {them(report.unconfirmed)}; "
            "the next flush looks before sending again."
        )


def _progress(stop: threading.Event, order: Order, *, as_json: bool) -> Silent:
    if as_json:
        return Silent()
    return Bar(stop, limit=order.limit) if sys.stderr.isatty() else Lines(limit=order.limit)


def _tell(
    report: FlushReport, runs: Spool, settings: Settings, elapsed: float, *, stopped: bool, stopped_at_once: bool
) -> None:
    say(*report.recovered)
    delivered, pending = len(report.synced), report.pending
    total = delivered + len(report.rejected) + pending
    if delivered:
        # The pace is told where it is what took the time.
        paced = settings.rate and delivered > 1 and delivered >= 0.8 * settings.rate * elapsed
        limit = f" (platform limit {settings.rate:g} runs/s)" if paced else ""
        kept = _kept_before(report, runs)
        say(f"{delivered} of {total} delivered in {span(elapsed)}{limit}.{kept}")
    elif not total and not report.problems:
        say("Nothing to deliver." + _kept_before(report, runs))
    complain(*troubles(report))
    if not pending:
        return
    if stopped_at_once:
        complain(f"Stopped at once: {plural(pending, 'run')} left, nothing lost; the next flush goes on.")
    elif stopped:
        complain(f"Stopped: {plural(pending, 'run')} left for the next flush.")
    elif report.refused:
        complain(f"{plural(pending, 'run')} kept.")
    elif report.problems or report.unconfirmed:
        complain(f"{plural(pending, 'run')} kept; try again later.")
    else:
        complain(f"{plural(pending, 'run')} left for the next flush.")


def _kept_before(report: FlushReport, runs: Spool) -> str:
    """Returns the sentence about runs that an earlier flush found rejected."""
    number = sum(1 for _ in runs.entries("rejected")) - len(report.rejected)
    return f" {plural(number, 'rejected run')} kept: `nxtrack list --state rejected`." if number > 0 else ""


class Planned(msgspec.Struct, frozen=True):
    """A run that a flush would deliver."""

    id: str
    state: str
    app_id: str
    name: str


class Preview(FlushReport):
    """What a flush would do: a report of which nothing has come yet.

    Attributes:
        endpoint: Where the runs would go to; None when there are none, or no key.
        runs: Those that would be delivered, in the order of the flush.
    """

    endpoint: str | None = None
    runs: list[Planned] = msgspec.field(default_factory=list[Planned])


def plan(runs: Spool, settings: Settings, order: Order) -> Preview:
    """Looks for what a flush would deliver, and for what would keep runs from being delivered.

    Raises:
        SpoolError: The spool cannot be used.
    """
    found = Preview()
    for entry in sorted(runs.entries("ready", "unconfirmed"), key=lambda entry: entry.state):
        if len(found.runs) == order.limit:
            break
        try:
            start = runs.read(entry).start
        except RunNotFound:
            continue  # Another flush was faster.
        except SpoolError as error:
            found.tell(str(error))
            continue
        app_id = start.app_id or order.app_id or settings.app_id
        if order.app_id not in {None, app_id}:
            continue
        found.pending += 1
        if app_id is None:
            found.refused = True
            found.tell("Some runs name no application: set NEXTMV_APP_ID, or give `--app-id`.")
        else:
            found.runs.append(Planned(entry.run_id, entry.state, app_id, start.name or start.source))
    if found.pending:
        try:
            found.endpoint = credentials(settings).endpoint
        except SettingsError as error:
            found.refused = True
            found.tell(str(error))
    return found


def preview(settings: Settings, order: Order, *, as_json: bool = False) -> int:
    """Lists what a flush would deliver, and where to; nothing is sent and nothing changed.

    Returns:
        The exit status: 2 when the flush would be refused, else 0.

    Raises:
        SpoolError: The spool cannot be used.
    """
    found = plan(spool(settings_module.spool_dir(settings)), settings, order)
    if as_json:
        emit(found)
    else:
        _tell_preview(found)
    return USAGE if found.refused else DONE


def _tell_preview(found: Preview) -> None:
    delivered = len(found.runs) if found.endpoint else 0
    if found.runs:
        cells = [(run.id, run.state, run.app_id, run.name) for run in found.runs[:_PREVIEW_SHOWN]]
        table(("id", "state", "app", "name"), cells)
        if (more := len(found.runs) - _PREVIEW_SHOWN) > 0:
            say(f"and {plural(more, 'more run')}")
    if delivered:
        shares = ", ".join(f"{number} to {app}" for app, number in Counter(run.app_id for run in found.runs).items())
        say(f"{plural(delivered, 'run')} would be delivered to {found.endpoint}: {shares}. Nothing was sent.")
    elif not found.pending:
        say("Nothing to deliver.")
    complain(*troubles(found))
    if found.refused:
        complain(f"{plural(found.pending - delivered, 'run')} kept.")
