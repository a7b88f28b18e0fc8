"""Owns the way of one run through the user's process: begin, run, end; nothing here raises into a solver."""

from __future__ import annotations

import functools
import random
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec

from nxtrack.errors import SpoolUnsafe
from nxtrack.spool import ids, owner, system
from nxtrack.spool.records import Asset, End, Output, now
from nxtrack.tracking import descriptors, ready, state, streams, values
from nxtrack.tracking.faults import absorbed, describe, disk_fault, warn_once
from nxtrack.tracking.run import Run, content_of, option_texts, utf8
from nxtrack.tracking.runlog import RunLog
from nxtrack.tracking.state import UNSET, RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.settings import Settings
    from nxtrack.spool.records import Input
    from nxtrack.spool.writer import Content, RunWriter
    from nxtrack.tracking.files import Files
    from nxtrack.tracking.plan import Plan, Terms

MAX_ERROR = 4096
"""Characters of an error message that are kept."""


class Recording:
    """One run being recorded, around the solver's code.

    `begin` records the input and begins the capture of logs; `end` records how the code ended. In between, code that
    gives control away without ending, as a generator does, is framed by `resume` and `suspend`. An interrupt may come
    at any moment, so whoever calls `begin` calls `end` when that, the code, or a first `end` raises.
    """

    __slots__ = (
        "_bind",
        "_files",
        "_interleaved",
        "_log",
        "_notes",
        "_outer",
        "_plan",
        "_run",
        "_start_ns",
        "_state",
        "_stop_ns",
        "_terms",
        "source",
    )

    def __init__(
        self,
        plan: Plan,
        source: str,
        bind: Callable[[], tuple[Any, dict[str, Any]]],
        key: object = None,
        *,
        files: Files | None = None,
        interleaved: bool = False,
    ) -> None:
        """Prepares a run.

        Args:
            plan: How it is to be recorded.
            source: What it is called in messages.
            bind: Gives its input and its options.
            key: Whose calls are part of it; None for a with-block.
            files: What of it stands in files; None for nothing.
            interleaved: Its code takes turns with others, as coroutines do.
        """
        self.source = source
        self._files = files
        self._bind = bind
        self._plan = plan
        self._terms: Terms | None = None
        self._notes: list[str] = []
        self._log: RunLog | None = None
        self._interleaved = interleaved
        self._start_ns = time.monotonic_ns()
        self._stop_ns = 0
        self._outer = state.current()
        self._state = RunState(ids.new_id(), plan.redaction, self._outer, key)
        self._state.name = plan.name
        self._state.description = plan.description
        self._run = self._state.public = Run(self._state)

    @property
    def run(self) -> Run:
        """The run as users see it."""
        return self._run

    @property
    def is_recorded(self) -> bool:
        """Whether it is: tracking may be disabled, or the spool unusable."""
        return self._state.writer is not None

    def begin(self) -> Run:
        """Records that the run begins, with its input and options, and makes it the current one."""
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001  (whatever it is, it is ours and not the solver's)
            self._lost(error)
        self._start_ns = time.monotonic_ns()
        self.resume()
        return self._run

    def _begin(self) -> None:
        plan, run = self._plan, self._state
        terms = plan.terms()
        run_input, run.options = self._bind()
        run.input = None if run_input is UNSET else run_input
        if terms is None or (plan.sample_rate < 1 and random.random() >= plan.sample_rate):  # noqa: S311  (no secret)
            return
        self._terms = terms
        _prepare_process()
        if terms.settings.mode == "online":
            self._tell_begun(terms.settings)
        if not terms.spool.is_prepared:
            terms.spool.prepare()
        self._log = log = RunLog(terms, run)
        log.prepare(interleaved=self._interleaved)
        channel = log.channel
        start = msgspec.structs.replace(
            terms.start,
            id=run.run_id,
            at=now(),
            owner=owner.this_process(),
            monotonic=time.monotonic(),
            source=self.source,
            options=option_texts(run.options, plan.redaction) if run.options else {},
            capture=None if channel is None else channel.capture.name,
            errors=None if channel is None or channel.errors is None else channel.errors.name,
        )
        run.writer = terms.spool.begin(
            start,
            self._input(run_input),
            terms.settings.durability,
            max_spool=terms.settings.max_spool,
            capture=None if channel is None else channel.capture,
            patterns=() if channel is None else plan.redaction.for_recovery,
        )
        if self._files is not None:
            self._files.begin(run.writer, self._leave_out)
        log.begin(run.writer)

    def _input(self, value: Any) -> Content | None:
        if value is UNSET or (self._files is not None and self._files.has_input):
            return None
        plan = self._plan
        try:
            return content_of(value if plan.process_input is None else plan.process_input(value), plan.redaction)
        except Exception as fault:  # noqa: BLE001  (a function of the user's)
            self._leave_out("input", fault)
            return None

    def resume(self) -> None:
        """Makes the run the current one, as its code is about to go on."""
        self._outer = state.become(self._state)
        if self._log is not None:
            self._log.resume()

    def suspend(self) -> None:
        """Makes the run that was current before the current one again, unless another already is."""
        if self._log is not None:
            self._log.suspend()
        before = state.become(self._outer)
        if before is not self._state:
            state.become(before)

    def stop(self) -> None:
        """Stops the clock: what is still done before `end` is no part of the run."""
        self._stop_ns = time.monotonic_ns()

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        """Records how the run ended.

        Args:
            error: The exception that ended it, or None.
            result: What the code returned; an output assigned to the run wins over it.
        """
        elapsed = (self._stop_ns or time.monotonic_ns()) - self._start_ns
        run = self._state
        try:
            self.suspend()
            if run.status == "running":
                self._end(error, result, max(0, elapsed + 500_000) // 1_000_000)
        except Exception as fault:  # noqa: BLE001  (whatever it is, it is ours and not the solver's)
            self._lost(fault)
        except BaseException:  # Ctrl-C while the run was written down: recovery makes of it what it can.
            self.suspend()
            run.status = "running"  # It did not get to its end.
            self._let_go()
            raise
        finally:
            run.public = run.sink = None
            if self._log is not None:
                self._log.close()

    def _end(self, error: BaseException | None, result: Any, duration_ms: int) -> None:
        run = self._state
        writer, sink = run.writer, run.sink
        message = run.error
        if message is None and error is not None:
            message = failure(error)
        if message is not None and self._plan.redaction.is_set:
            message = self._plan.redaction.text(message)
        run.status = "succeeded" if message is None else "failed"
        run.error = message
        if sink is not None:
            streams.stop(sink)
        log = self._log
        if writer is None or writer.detached or log is None:
            return
        self._notes += log.settle(writer, error if message is not None else None)
        records = self._payloads(writer, result if run.output is UNSET else run.output)
        end = End(
            status=run.status,
            at=now(),
            duration_ms=duration_ms,
            error=None if message is None else message[:MAX_ERROR],
            notes=tuple(self._notes),
        )
        self._finish(writer, records, end)
        if self._terms is not None and self._terms.settings.mode == "online":
            self._tell_ready(self._terms.settings)

    def _payloads(self, writer: RunWriter, result: Any) -> tuple[Input | Output, ...]:
        records: tuple[Input | Output, ...] = ()
        try:
            if self._files is not None:
                records = tuple(self._files.end(writer))
            if self._files is not None and self._files.has_output:
                self._log_pieces(writer, values.as_output(result))
            elif (output := self._output(result)) is not None:
                records = (*records, writer.payload(Output, output))
        except Exception as fault:  # noqa: BLE001  (a function of the user's, or a full disk)
            self._leave_out("output", fault)
        return records

    def _finish(self, writer: RunWriter, records: tuple[Input | Output, ...], end: End) -> None:
        try:
            try:
                writer.finish(*records, end)
            except OSError as fault:
                # The output may be too large for what is left of the disk; that the run ended, and how, is not.
                self._leave_out("output", fault)
                writer.finish(msgspec.structs.replace(end, notes=tuple(self._notes)))
        except SpoolUnsafe as fault:
            # It is written down whole; only a power cut could still take it.
            warn_once(
                disk_fault(fault),
                f"run of {self.source} recorded, but not yet safe from a power cut: {describe(fault)}; "
                "the solver is not affected",
            )

    @absorbed
    def _tell_begun(self, chosen: Settings) -> None:
        for listener in ready.listeners:
            listener.begun(chosen)

    @absorbed
    def _tell_ready(self, chosen: Settings) -> None:
        for listener in ready.listeners:
            listener.ready(chosen)

    def _leave_out(self, what: str, fault: Exception) -> None:
        """Tells, in the run and once in the process, that the input or output is not recorded."""
        why = describe(fault).rstrip(".")
        self._notes.append(f"The {what} could not be kept: {why}.")
        warn_once(
            disk_fault(fault),
            f"{what} of {self.source} not recorded: {why}; the solver is not affected",
        )

    def _output(self, result: Any) -> Content | None:
        plan, run = self._plan, self._state
        if plan.process_output is not None and result is not None:
            result = plan.process_output(result)
        value: Any = values.as_output(result)
        if run.pieces:
            value = run.pieces.joined(value)
        return None if value is None else content_of(value, plan.redaction)

    def _log_pieces(self, writer: RunWriter, result: Any) -> None:
        """Logs the metrics and assets of what was returned beside an output that stands in files."""
        parts: dict[str, Any] = dict(result or {})
        metrics: Any = parts.pop("metrics", None)
        assets: Any = parts.pop("assets", ())
        if isinstance(metrics, dict):
            self._run.log_metrics(cast("dict[str, Any]", metrics))
        for asset in cast("list[object]", assets) if isinstance(assets, list) else ():
            writer.append(Asset(data=msgspec.Raw(content_of(asset, self._plan.redaction).data)))
        if parts:
            self._notes.append("The output is what stands in the files; what was returned beside them is not kept.")

    def _lost(self, error: Exception) -> None:
        """Tells, once, that a run is not recorded as it should be, and counts it if nothing of it will be delivered."""
        try:
            if self._let_go():
                warn_once(
                    f"end, {disk_fault(error)}",
                    f"end of {self.source} not recorded: {describe(error).rstrip('.')}; what there is of the run is "
                    "kept, and the solver is not affected",
                )
                return
            where = ""
            if self._terms is not None:
                spool = self._terms.spool
                where = f"{'' if spool.root in str(error) else f' in {spool.root}'} ({spool.count_lost()} lost so far)"
            why = describe(error).rstrip(".")
            warn_once(
                f"lost, {disk_fault(error)}",
                f"run of {self.source} not recorded: {why}{where}; the solver is not affected",
            )
        except Exception:  # noqa: BLE001, S110  (there is nobody left to tell)
            pass

    def _let_go(self) -> bool:
        """Records no more of the run; what there is of it is left to recovery. Returns whether that knows its end."""
        run = self._state
        if run.sink is not None:
            streams.stop(run.sink)
        writer, run.writer = run.writer, None
        if writer is None:
            return False
        if run.status != "running":
            return writer.abandon(run.status)
        writer.close()
        return False


def failure(error: BaseException | None) -> str | None:
    """Returns the error message of what an exception makes of a run, or None when the run succeeded with it.

    `SystemExit` with 0 or None is a program's way to say that all went well.
    """
    if error is None:
        return None
    if isinstance(error, SystemExit):
        code: object = error.code
        if code is None or (isinstance(code, int) and not int(code)):
            return None
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (an exception whose text cannot be made is still an exception)
        text = ""
    name = type(error).__name__
    return utf8(f"{name}: {text}" if text else name)


_NO_SINK = streams.Sink((), lambda _: None)


def _current_sink() -> streams.Sink | None:
    """Returns where the calling code's text goes: to its run's log, or the log of the run around that."""
    run = state.current()
    if run is None:
        return None
    while run is not None and run.sink is None:
        run = state.running(run.parent)
    return _NO_SINK if run is None else run.sink


@functools.cache
def _prepare_process() -> None:
    # Not at import: a program that tracks nothing shall not carry our handlers.
    streams.attribute_by(_current_sink)
    descriptors.prepare()
    system.at_fork(_forked)


def _forked() -> None:
    """Lets a forked child start outside of any run: those it was forked in are its parent's."""
    state.become(None)
    streams.forget()
