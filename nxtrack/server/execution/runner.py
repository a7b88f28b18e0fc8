"""Executes queued runs: in their order, so many at once, and stops them when they are canceled or the platform ends."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import sqlite3
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nxtrack.server.data import contents
from nxtrack.server.data.gathering import Gathering
from nxtrack.server.data.records import Artefact
from nxtrack.server.execution import processes
from nxtrack.server.execution.program import Ending, Execution, Program
from nxtrack.server.ids import new_payload_id

if TYPE_CHECKING:
    from nxtrack.server.data.files import Draft, Payloads
    from nxtrack.server.data.queue import RunQueue
    from nxtrack.server.data.records import Run
    from nxtrack.server.execution.instances import Instances
    from nxtrack.server.options import Clock, Limits

_LOG = logging.getLogger("nxtrack.server")
_FOLDER = "nxtrack-run-"
_STOPPED = "The platform was stopped while it ran."
_CANCELED = "The run was canceled."
_STOP_GRACE = 0.5
_CANCEL_SECONDS = 15.0
_JOIN_SECONDS = 15.0
_RETRY_SECONDS = 1.0
_SAID_BYTES = 4096
_SAID_CHARACTERS = 300


@dataclass(kw_only=True)
class Job:
    """A run that is being executed: `ended` is set when it is stored how it ended, and its processes are gone."""

    run: Run
    mark: str
    folder: Path
    logs: str
    execution: Execution | None = None
    stopped: Ending | None = None
    status: str = "running"
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(kw_only=True)
class Runner:
    """The threads that execute the runs of one platform; they start when there is something to do."""

    queue: RunQueue
    payloads: Payloads
    instances: Instances
    limits: Limits
    clock: Clock
    jobs: int
    time_limit: float
    _active: dict[int, Job] = field(default_factory=dict[int, Job])
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])
    _closing: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def recover(self) -> None:
        """Ends what a platform that died left running, and fails its runs with what they had logged until then."""
        left = {execution.run: execution for execution in self.queue.executions()}
        for execution in left.values():
            processes.end_left_over(execution.pid, execution.born, execution.mark)
            _remove_folder(Path(execution.folder))
        now = int(self.clock() * 1_000_000)
        for run in self.queue.active():
            if run.status == "queued":
                continue
            started, artefacts = run.started_at or run.created_at, dict[str, Artefact]()
            last_sign = started
            if run.number in left and (size := self.payloads.rescue(left[run.number].logs)):
                logs = left[run.number].logs
                artefacts["logs"] = Artefact(payload=logs, size=size)
                last_sign = int(self.payloads.path(logs).stat().st_mtime * 1_000_000)
            # How long it is known to have run: until the last it said.
            ended = max(started, min(last_sign, now))
            self.queue.finish(
                dataclasses.replace(
                    run, status="failed", error=_STOPPED, ended_at=ended, duration=(ended - started) // 1000
                ),
                artefacts,
            )

    def resume(self) -> None:
        """Goes on with what was queued before the platform was started."""
        for _ in range(min(self.jobs, self.queue.waiting())):
            self.wake()

    def wake(self) -> None:
        """Says that a run was queued."""
        with self._changed:
            if len(self._threads) < self.jobs and not self._closing:
                name = f"nxtrack-platform-job-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def cancel(self, run: Run) -> bool:
        """Cancels a run, and waits until it is final and its processes are gone.

        Returns:
            Whether it was queued or running until now, and is canceled.
        """
        canceled, job = self._begin_cancel(run)
        if job is not None:
            job.ended.wait(_CANCEL_SECONDS)
            return job.status == "canceled"
        return canceled

    def cancel_all(self, application: str) -> None:
        """Cancels all runs of an application: the queued ones first, then those that run, all at once."""
        runs = sorted(self.queue.active(application), key=lambda run: run.status)
        begun = [self._begin_cancel(run) for run in runs]
        for _, job in begun:
            if job is not None:
                job.ended.wait(_CANCEL_SECONDS)

    def job(self, run: Run) -> Job | None:
        """What executes a run at the moment."""
        return self._active.get(run.number)

    def close(self) -> None:
        """Stops the programs that run, and stores that they were stopped; queued runs wait for the next start."""
        with self._changed:
            self._closing = True
            jobs = list(self._active.values())
            self._changed.notify_all()
        for job in jobs:
            self._stop(job, Ending(status="failed", reason=_STOPPED), grace=_STOP_GRACE)
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _begin_cancel(self, run: Run) -> tuple[bool, Job | None]:
        """Whether a run was queued, and is canceled; otherwise what executes it, if anything, which is to stop."""
        with self._changed:
            if self.queue.cancel(run, reason=_CANCELED, now=int(self.clock() * 1_000_000)):
                return True, None
            job = self._active.get(run.number)
        if job is not None:
            self._stop(job, Ending(status="canceled", reason=_CANCELED))
        return False, job

    def _stop(self, job: Job, ending: Ending, *, grace: float | None = None) -> None:
        with self._changed:
            job.stopped = job.stopped or ending
            execution = job.execution
        if execution is not None:
            more = {} if grace is None else {"grace": grace}
            execution.stop(status=ending.status, reason=ending.reason, **more)

    # The threads

    def _work(self) -> None:
        while True:
            try:
                job = self._next()
                if job is None:
                    return
                self._perform(job)
            except (OSError, sqlite3.Error) as error:
                _LOG.warning("The platform cannot execute runs at the moment: %s.", error)
                with self._changed:
                    self._changed.wait(_RETRY_SECONDS)

    def _next(self) -> Job | None:
        """The next run to execute, as soon as there is one; None when the platform stops."""
        with self._changed:
            while not self._closing:
                mark, logs = processes.new_mark(), new_payload_id()
                folder = Path(tempfile.gettempdir()).absolute() / f"{_FOLDER}{mark}"
                now = int(self.clock() * 1_000_000)
                if run := self.queue.take(mark=mark, folder=str(folder), logs=logs, now=now):
                    job = self._active[run.number] = Job(run=run, mark=mark, folder=folder, logs=logs)
                    return job
                self._changed.wait()
        return None

    def _perform(self, job: Job) -> None:
        try:
            job.folder.mkdir(mode=0o700)
            with self.payloads.draft() as output, self.payloads.draft(job.logs) as logs:
                ending = self._execute(job, output, logs)
                self._store(job, ending, output, logs)
        except Exception as error:  # noqa: BLE001  # whatever it was, the run must not stay as it is
            if not isinstance(error, (OSError, sqlite3.Error)):
                _LOG.exception("The platform failed while it executed run %s.", job.run.id)
            reason = f"The platform failed while it executed the run: {str(error) or type(error).__name__}."
            self._insist(job, Ending(status="failed", reason=reason))
        finally:
            _remove_folder(job.folder)
            with self._changed:
                del self._active[job.run.number]
            job.ended.set()

    def _insist(self, job: Job, ending: Ending) -> None:
        """Stores how a run ended as soon as that can be done: nothing else could be executed meanwhile, either."""
        while True:
            try:
                return self._store(job, ending)
            except (OSError, sqlite3.Error) as error:
                _LOG.warning("The end of run %s cannot be stored at the moment: %s.", job.run.id, error)
                with self._changed:
                    # The next start finds it unfinished, and says so.
                    if self._closing:
                        return None
                    self._changed.wait(_RETRY_SECONDS)

    def _execute(self, job: Job, output: Draft, logs: Draft) -> Ending:
        run = job.run
        instance = self.instances.get(run.instance)
        if instance is None:
            reason = f"No instance {run.instance} is registered any more: start the platform with it, and run again."
            return Ending(status="failed", reason=reason)
        given = run.artefacts.get("input")
        program = Program(
            command=(*instance.command, *option_words(run.options)),
            stdin=self.payloads.path(given.payload) if given else None,
            folder=job.folder,
            mark=job.mark,
            seconds=self.time_limit,
            output_bytes=self.limits.download,
            log_bytes=self.limits.download,
        )
        execution = Execution(program)
        with self._changed:
            job.execution = execution
            stopped = job.stopped
        if stopped is not None:
            return stopped
        return execution.perform(
            output, logs, on_start=lambda pid: self.queue.begun(run, pid=pid, born=processes.born(pid))
        )

    def _store(self, job: Job, ending: Ending, output: Draft | None = None, logs: Draft | None = None) -> None:
        """Stores how a run ended, with what it printed."""
        gathering = Gathering(payloads=self.payloads)
        try:
            if logs is not None and logs.size:
                ending = self._explained(ending, gathering.keep("logs", logs))
            if output is not None:
                ending = self._take_output(job.run, ending, output, gathering)
            milliseconds = round(ending.seconds * 1000)
            ended = dataclasses.replace(
                job.run,
                status=ending.status,
                error=ending.reason,
                ended_at=(job.run.started_at or job.run.created_at) + milliseconds * 1000,
                duration=milliseconds,
                metrics=gathering.metrics,
            )
            if not self.queue.finish(ended, gathering.artefacts, gathering.assets):
                gathering.forget()
        except BaseException:
            gathering.forget()
            raise
        job.status = ending.status

    def _explained(self, ending: Ending, logs: Artefact) -> Ending:
        """Adds to an exit status what the program said last, which for a Python program is its exception."""
        if not ending.exit_status:
            return ending
        end = self.payloads.read(logs.payload, last=_SAID_BYTES).decode(errors="replace")
        last = next((line.strip() for line in reversed(end.splitlines()) if line.strip()), "")
        if not last or not last.isprintable():
            return ending
        return dataclasses.replace(ending, reason=f"{ending.reason[:-1]}: {last[:_SAID_CHARACTERS]}")

    def _take_output(self, run: Run, ending: Ending, output: Draft, gathering: Gathering) -> Ending:
        """Makes what was printed the output, if it may be one; how the run ended in the light of that."""
        printed = gathering.keep("stdout", output)
        if ending.status == "succeeded":
            path = self.payloads.path(printed.payload)
            if run.output_format == "text":
                good = contents.is_text(path)
            elif printed.size <= self.limits.inspected:
                data = path.read_bytes()
                if good := contents.is_json(data):
                    gathering.adopt(contents.in_output(data))
            else:
                good = True
            if good:
                gathering.artefacts["output"] = gathering.artefacts.pop("stdout")
                return ending
            kind = "JSON" if run.output_format == "json" else "text"
            said = f"what it printed on stdout is not valid {kind} in UTF-8" if printed.size else "it printed nothing"
            reason = (
                f"The program ended with exit status 0, but {said}; the run's output format is {run.output_format}."
            )
            ending = dataclasses.replace(ending, status="failed", reason=reason)
        if not printed.size:
            gathering.drop("stdout")
        return ending


def option_words(options: dict[str, str]) -> list[str]:
    """Options as a program gets them: `-key value`, and as one word `-key=value` where that begins with a dash.

    Written apart, such a value would be taken for an option of its own, or stand for a missing one.
    """
    words: list[str] = []
    for name, value in options.items():
        words += [f"-{name}={value}"] if value.startswith("-") else [f"-{name}", value]
    return words


def _remove_folder(folder: Path) -> None:
    # The name comes back from a database: nothing but such a folder is ever removed.
    if folder.name.startswith(_FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
