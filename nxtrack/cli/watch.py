"""Owns `nxtrack flush --watch`: flushes as runs become ready, outlives the platform's absence, ends when asked to."""

from __future__ import annotations

import dataclasses
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nxtrack import settings as settings_module
from nxtrack.cli.flush import plan, run_to_end, troubles
from nxtrack.cli.main import DONE, LATER, REJECTED, USAGE
from nxtrack.cli.output import complain, emit, folder, say
from nxtrack.cli.signals import rest, stopping_by
from nxtrack.cloud.credentials import credentials
from nxtrack.delivery.flusher import Flusher
from nxtrack.delivery.report import FlushReport, plural
from nxtrack.errors import SpoolUnavailable
from nxtrack.spool.store import spool

if TYPE_CHECKING:
    from nxtrack.delivery.order import Order
    from nxtrack.settings import Settings

LOOK_SECONDS = 2.0
"""How often the spool is looked at, by its names alone."""

MOST_SECONDS = 60.0
"""The longest wait between two flushes while the platform is away; each try in vain doubles the wait."""


def watch(settings: Settings, order: Order, *, as_json: bool = False) -> int:
    """Delivers runs as they become ready, until a signal, or until the order's timeout or limit is reached.

    Args:
        settings: The settings in force.
        order: What is asked; its timeout and limit count for all flushes together.
        as_json: Print a line of JSON for each flush that changed something, and nothing else on stdout.

    Returns:
        The exit status: 2 when the settings or the key are at fault, 1 when a run was rejected or damaged, 75 when
        runs are left, else 0.

    Raises:
        SettingsError: No API key, or a setting that cannot be used.
        SpoolRefused: The spool is somebody else's, or others may write to it.
    """
    access = credentials(settings)
    stop = threading.Event()
    with stopping_by(stop):
        watcher = Watcher(settings, order, stop, as_json=as_json)
        if not as_json:
            say(f"Watching {folder(watcher.runs.root)} for {access.endpoint}; Ctrl-C stops.")
        with suppress(KeyboardInterrupt):  # A second signal may come between two flushes: nothing is in flight there.
            watcher.work()
    left = watcher.waiting()
    if not as_json:
        say(f"Stopped: {plural(len(left), 'run')} left." if left else "Stopped: nothing left.")
    if left & watcher.refused:
        return USAGE
    if watcher.rejected:
        return REJECTED
    return LATER if left else DONE


class Watcher:
    """The loop of a watch, and what it has told already.

    Attributes:
        runs: The spool that is watched.
        refused: Runs that waited when the settings, the key or an application were last found at fault.
        rejected: Whether a run was rejected, or damaged.
    """

    def __init__(self, settings: Settings, order: Order, stop: threading.Event, *, as_json: bool) -> None:
        """Takes what `watch` takes, and what ends the loop once it is set."""
        self.runs = spool(settings_module.spool_dir(settings))
        self.refused: set[str] = set()
        self.rejected = False
        self._settings = settings
        self._order = order
        self._stop = stop
        self._as_json = as_json
        self._known: set[str] = set()  # the runs that waited when the last flush began
        self._told: tuple[list[str], int] = ([], 0)

    def work(self) -> None:
        """Goes round until the watch is over."""
        deadline = None if self._order.timeout is None else time.monotonic() + self._order.timeout
        left = self._order.limit
        delay = LOOK_SECONDS
        while not self._stop.is_set() and left != 0:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return
            report = self._flush(dataclasses.replace(self._order, timeout=remaining, limit=left))
            if left is not None:
                left = max(0, left - len(report.synced) - len(report.rejected))
            self.rejected = self.rejected or bool(report.rejected or report.damaged)
            over = self._is_in_vain(report)
            if report.refused:
                self.refused = self._known
            self._tell(report, over=over)
            if over:
                return
            delay = min(MOST_SECONDS, delay * 2) if report.pending or report.problems else LOOK_SECONDS
            # Runs that stay for reasons of their own, such as naming no application, shall not hold up later ones.
            reached = bool(report.synced or report.rejected or report.refused or report.unconfirmed)
            self._wait(delay if deadline is None else min(delay, deadline - time.monotonic()), for_new=reached)

    def waiting(self) -> set[str]:
        """Returns the runs that a flush would look at."""
        return {entry.run_id for entry in self.runs.entries("ready", "unconfirmed")}

    def _is_in_vain(self, report: FlushReport) -> bool:
        """Says whether a flush found the key at fault, rather than single runs that shall not hold up later ones.

        Those are runs that name no application, and runs that were kept while others were delivered.
        """
        if not report.refused or report.synced:
            return False
        left = plan(self.runs, self._settings, dataclasses.replace(self._order, limit=None))
        return not left.refused and any(run.id in self._known - self.refused for run in left.runs)

    def _flush(self, order: Order) -> FlushReport:
        try:
            # Nothing but names is looked at while nothing waits, so this is cheap.
            self._known = self.waiting()
            if not self._known:
                return FlushReport()
            flusher = Flusher(self.runs, self._settings, order=order)
            flusher.stopping = self._stop
            run_to_end(flusher, self.runs)
        except SpoolUnavailable as error:
            return FlushReport(problems=[str(error)])
        return flusher.report

    def _wait(self, delay: float, *, for_new: bool) -> None:
        """Waits for some seconds, or less when a new run comes and that matters."""
        until = time.monotonic() + delay
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            rest(self._stop, min(left, LOOK_SECONDS))
            with suppress(SpoolUnavailable):
                if for_new and not self.waiting() <= self._known:
                    return

    def _tell(self, report: FlushReport, *, over: bool) -> None:
        """Says what changed since it was last said."""
        now = (list(troubles(report)), report.pending)
        if not (report.synced or report.recovered or now != self._told):
            return
        was, self._told = self._told, now
        if self._as_json:
            emit(report)
            return
        say(*report.recovered)
        if report.synced:
            say(f"{plural(len(report.synced), 'run')} delivered.")
        if now[0] != was[0]:
            complain(*now[0])
        if report.pending and not over:
            say(f"{plural(report.pending, 'run')} left; trying again, at the latest after {MOST_SECONDS:g} s.")
