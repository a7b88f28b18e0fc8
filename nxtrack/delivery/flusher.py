"""Owns a flush: it recovers, claims runs in order, has several delivered at a time, and reports what came of each."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

from nxtrack import settings as settings_module
from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.cloud.credentials import credentials
from nxtrack.cloud.retries import NEVER, Patience
from nxtrack.cloud.transport import Timeouts
from nxtrack.delivery.one import Delivery, Line, Unconfirmed, Unsettled
from nxtrack.delivery.order import Order, Silent
from nxtrack.delivery.pacing import Aborted, Pacer
from nxtrack.delivery.reconcile import Listings
from nxtrack.delivery.report import FlushReport, RejectedRun, Synced, plural, recovered
from nxtrack.delivery.workers import Done, Workers
from nxtrack.errors import (
    AccessRefused,
    CloudError,
    NotFound,
    NotReached,
    QuotaUsedUp,
    RateLimited,
    Redirected,
    Rejected,
    RunCorrupt,
    RunNewer,
    SettingsError,
    SpoolError,
    SpoolUnavailable,
)
from nxtrack.spool import claims, records, retention, room
from nxtrack.spool.recovery import recover
from nxtrack.spool.store import Spool, spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.cloud.credentials import Credentials
    from nxtrack.delivery.order import Progress
    from nxtrack.settings import Settings
    from nxtrack.spool.claims import ClaimedRun
    from nxtrack.spool.layout import State
    from nxtrack.spool.listing import Entry, Waiting

GIVE_UP_AFTER = 5
"""Runs in a row of one application whose delivery the platform answered with errors, before the rest are kept."""


@dataclass(slots=True)
class _Task:
    """A run in flight: its delivery, the uploads still to come, and the first thing that went wrong."""

    delivery: Delivery
    step: str = "prepare"
    uploads: int = 0
    error: BaseException | None = None
    looks: int = 0


@dataclass(slots=True)
class _Applications:
    """What is known of the applications of this flush: which cannot be used, and how often each failed in a row."""

    stopped: set[str] = field(default_factory=set[str])
    failures: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))


class Flusher:
    """One flush of one spool. Several may work on the same spool at once, in any processes.

    Attributes:
        report: What came of it so far.
        stopping: No further run is begun.
        hurry: A request that failed is not repeated.
    """

    def __init__(
        self,
        runs: Spool,
        settings: Settings,
        *,
        access: Credentials | None = None,
        order: Order | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Takes what to flush, where to (else as the settings say) and what is asked; see `Order`."""
        self.report = FlushReport()
        self.stopping = threading.Event()
        self.hurry = threading.Event()
        self._spool = runs
        self._settings = settings
        self._access = access
        self._order = order or Order()
        self._progress: Progress = progress or Silent()
        self._abort = threading.Event()
        self._requests = Pacer(settings.request_rate / 60, burst=settings.request_rate / 60)
        self._posts = Pacer(settings.rate)
        self._applications = _Applications()
        self._in_flight: dict[int, _Task] = {}
        self._endpoint = ""
        self._lines: dict[str, Line] = {}
        self._offline = False
        self._settled = 0

    def run(self) -> FlushReport:
        """Delivers what is ready, and looks for what is unconfirmed.

        A first Ctrl-C lets what is in flight end, a second one stops at once; nothing is lost either way.

        Raises:
            SpoolRefused: The spool is somebody else's, or others may write to it.
            SpoolUnavailable: It cannot be read.
        """
        self._recover()
        self._spool.room.prepare()
        queue = self._spool.waiting()
        self._progress.found(len(queue))
        if not queue:
            return self.report
        try:
            self._access = self._access or credentials(self._settings)
        except SettingsError as error:
            raise type(error)(f"{error} {plural(len(queue), 'run')} kept.") from None
        self._endpoint = self._access.endpoint
        jobs = self._settings.jobs
        pace = partial(self._requests.wait, self._abort)
        timeout = Timeouts.within(self._settings.answer_wait)
        # What may be sent again, and after how long, is decided for each run, and not by the client.
        with Client(
            self._access.api_key,
            self._access.endpoint,
            timeout=timeout,
            before_request=pace,
            connections=jobs,
            patience=NEVER,
        ) as self._client:
            workers: Workers[_Task] = Workers(jobs)
            try:
                self._drive(queue, workers)
            finally:
                self._abort.set()
                self.hurry.set()
                workers.close(patience=0.0 if self.stopping.is_set() else 5.0)
                for task in self._in_flight.values():
                    task.delivery.claimed.release()
        self._make_room()
        return self.report

    def stop(self) -> None:
        """Begins no further run, and lets what is in flight end. Any thread or signal handler may call this."""
        self.stopping.set()
        self.hurry.set()

    def _recover(self) -> None:
        try:
            recovery = recover(self._spool, other_hosts=self._order.other_hosts)
        except SpoolUnavailable as error:
            # What is ready can perhaps be delivered all the same.
            self.report.tell(str(error))
            self.report.pending += sum(entry.died for entry in self._spool.entries("ready"))
            return
        if recovery.recovered:
            self.report.recovered = [recovered([process.pid for _, process in recovery.recovered])]
        for sentence in recovery.problems:
            self.report.tell(sentence)
        self.report.damaged += recovery.quarantined
        self.report.pending += recovery.left
        if recovery.elsewhere:
            self.report.tell(
                f"{plural(recovery.elsewhere, 'unfinished run')} of other machines left alone; "
                "`nxtrack flush --other-hosts` takes them for dead."
            )

    def _make_room(self) -> None:
        self._spool.room.prepare()
        if self._settings.max_spool is not None:
            try:
                room.make_room(self._spool.paths, self._settings.max_spool, self._spool.room)
            except SpoolError as error:
                self.report.tell(str(error))

    def _drive(self, queue: Waiting, workers: Workers[_Task]) -> None:
        deadline = None if self._order.timeout is None else time.monotonic() + self._order.timeout
        left = self._order.limit
        position = 0
        while True:
            while position < len(queue) and len(self._in_flight) < self._settings.jobs:
                if self._is_over(deadline) or left == 0:
                    break
                task = self._claim(queue[position])
                position += 1
                if task is not None:
                    left = None if left is None else left - 1
                    self._in_flight[id(task)] = task
                    workers.submit(task, task.delivery.prepare)
            if not self._in_flight:
                self.report.pending += len(queue) - position
                return
            try:
                done = workers.done(timeout=0.5)
                if self.stopping.is_set():
                    self.hurry.set()
                if done is not None and self._advance(done, workers):
                    del self._in_flight[id(done.key)]
            except KeyboardInterrupt:
                if self.stopping.is_set():
                    raise
                self.stop()

    def _is_over(self, deadline: float | None) -> bool:
        return self.stopping.is_set() or self._offline or (deadline is not None and time.monotonic() >= deadline)

    def _claim(self, entry: Entry) -> _Task | None:
        """Claims a run that this flush is to deliver, and can."""
        try:
            claimed = claims.claim(self._spool, entry.run_id, entry.state)
            if claimed is None:
                self._count(0)  # Another flush has it, or had it.
                return None
        except RunNewer as error:
            self.report.tell(str(error))
            self._count(1)
            return None
        except RunCorrupt as error:
            self._quarantine(entry.run_id, entry.state, error)
            return None
        except SpoolError as error:
            self.report.tell(str(error))
            self._count(1)
            return None
        app_id = claimed.run.start.app_id or self._order.app_id or self._settings.app_id
        if self._order.app_id not in {None, app_id}:
            claimed.release()
            self._count(0)
            return None
        if app_id is None:
            self.report.refused = True
            self._keep(claimed, "Some runs name no application: set NEXTMV_APP_ID, or give `--app-id`.")
            return None
        if app_id in self._applications.stopped:
            self._keep(claimed, None)
            return None
        try:
            return _Task(Delivery(claimed, self._line(app_id)))
        except SettingsError as error:
            self.report.refused = True
            self._keep(claimed, str(error))
            return None

    def _keep(self, claimed: ClaimedRun, sentence: str | None) -> None:
        claimed.release()
        if sentence:
            self.report.tell(sentence)
        self._count(1)

    def _quarantine(self, run_id: str, state: State, error: RunCorrupt) -> None:
        try:
            claims.quarantine(self._spool, run_id, state)
            self.report.damaged += 1
            self.report.tell(f"{error} It was set aside in {self._spool.paths.quarantine}; the other runs go on.")
        except SpoolError as fault:
            self.report.tell(str(fault))
        self._count(0)

    def _line(self, app_id: str) -> Line:
        if app_id not in self._lines:
            self._lines[app_id] = Line(
                application=Application(app_id, self._client),
                place=f"{self._endpoint}/v1/applications/{app_id}",
                settle=self._settings.settle,
                patience=Patience(
                    backoff=self._settings.backoff, sleep=self.hurry.wait, limited=self._requests.refused
                ),
                durable=self._settings.durability == "power",
                posts=self._posts,
                abort=self._abort,
                listings=Listings(),
            )
        return self._lines[app_id]

    def _advance(self, done: Done[_Task], workers: Workers[_Task]) -> bool:
        """Takes a run one step further; returns whether it is dealt with."""
        task = done.key
        task.error = task.error or done.error
        if task.step == "upload":
            task.uploads -= 1
            if task.uploads:
                return False
        if isinstance(task.error, Unconfirmed) and not task.looks and task.step == "post":
            # Perhaps the platform has it already: looking once more now often spares the next flush.
            task.looks, task.error, task.step = 1, None, "prepare"
            workers.submit(task, lambda: self._look_again(task.delivery))
            return False
        if task.error is not None:
            self._failed(task)
            return True
        uploads = cast("list[Callable[[], object]]", done.result) if task.step == "prepare" else []
        if uploads:
            task.step, task.uploads = "upload", len(uploads)
            for upload in uploads:
                workers.submit(task, upload)
            return False
        if task.step != "post":
            task.step = "post"
            workers.submit(task, task.delivery.post)
            return False
        self._synced(task, cast("records.Posted", done.result))
        return True

    def _look_again(self, delivery: Delivery) -> object:
        if self._abort.wait(self._settings.backoff):
            raise Aborted
        return delivery.prepare()

    def _synced(self, task: _Task, result: records.Posted) -> None:
        claimed, app_id = task.delivery.claimed, task.delivery.line.application.id
        self._applications.failures.pop(app_id, None)
        try:
            claimed.settle("synced")
        except SpoolError as error:
            self.report.tell(str(error))  # Its journal says that it is posted, so the next flush only renames it.
        else:
            if self._spool.room.is_short():
                retention.drop(self._spool, claimed.run_id)  # The disk is full: the next run needs its room.
        self.report.synced.append(Synced(id=claimed.run_id, run_id=result.run_id, app_id=result.app_id))
        self._count(0)

    def _failed(self, task: _Task) -> None:
        """Gives a run that was not delivered the state it now has."""
        claimed, error = task.delivery.claimed, task.error
        if isinstance(error, RunCorrupt):
            claimed.release()
            self._quarantine(claimed.run_id, claimed.state, error)
            return
        # While a post is unconfirmed, a refusal is of the list that it is looked for in, and not of the run.
        if isinstance(error, Rejected) and claimed.run.posting is None:
            self._reject(claimed, str(error))
            return
        self._learn(task.delivery.line.application.id, error)
        unconfirmed = claimed.run.posting is not None
        try:
            claimed.settle("unconfirmed" if unconfirmed else "ready")
        except SpoolError as fault:
            self.report.tell(str(fault))
        self.report.unconfirmed += unconfirmed
        self._count(1)

    def _learn(self, app_id: str, error: BaseException | None) -> None:
        """Draws from one run's failure what it means for the others, and tells it."""
        if isinstance(error, AccessRefused | NotFound | Redirected):
            # The key, the application or the address is at fault, and will be for the next run as well.
            self._applications.stopped.add(app_id)
            self.report.refused = True
        elif isinstance(error, NotReached):
            self._offline = True
        elif isinstance(error, RateLimited | QuotaUsedUp):
            self._applications.stopped.add(app_id)  # It was waited for already, or takes longer than a flush waits.
        elif isinstance(error, CloudError | Unconfirmed) and not isinstance(error, Unsettled):
            self._applications.failures[app_id] += 1
            if self._applications.failures[app_id] >= GIVE_UP_AFTER:
                self._applications.stopped.add(app_id)
        known = isinstance(error, CloudError | SpoolError | Unconfirmed | Aborted)
        self.report.tell(str(error) if known else f"A run was kept, as nxtrack failed: {type(error).__name__}: {error}")

    def _reject(self, claimed: ClaimedRun, error: str) -> None:
        try:
            claimed.settle("rejected", records.Rejected(error=error, at=records.now()))
        except SpoolError as fault:
            self.report.tell(str(fault))
        self.report.rejected.append(RejectedRun(id=claimed.run_id, error=error))
        self._count(0)

    def _count(self, pending: int) -> None:
        self.report.pending += pending
        self._settled += 1
        self._progress.settled(self._settled)


def flush_spool(order: Order) -> FlushReport:
    """Delivers the runs that wait in the spool of the settings in force; see `nxtrack.flush`.

    Raises:
        SettingsError: No API key, or a setting that cannot be used; all runs are kept.
        SpoolError: The spool cannot be used.
    """
    chosen = settings_module.current()
    return Flusher(spool_of(chosen), chosen, order=order).run()


def spool_of(settings: Settings) -> Spool:
    """Returns the spool that the settings name."""
    return spool(settings_module.spool_dir(settings))
