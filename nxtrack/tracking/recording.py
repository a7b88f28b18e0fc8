"""Owns the way of one run through the user's process: begin, run, end; nothing here raises into a solver."""

from __future__ import annotations

import random
import time
import traceback
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack import settings
from nxtrack.errors import SpoolError
from nxtrack.spool import ids, owner, system
from nxtrack.spool.records import End, Output, Start, now
from nxtrack.spool.store import spool
from nxtrack.tracking import ready, state, streams, values
from nxtrack.tracking.faults import absorbed, describe, warn_once
from nxtrack.tracking.run import Run, content_of, option_texts
from nxtrack.tracking.state import UNSET, RunState

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from nxtrack.settings import Settings
    from nxtrack.spool.store import Spool
    from nxtrack.spool.writer import Content
    from nxtrack.tracking.plan import Plan

MAX_ERROR = 4096
"""Characters of an error message that are kept."""


class Recording:
    """One run being recorded: a context manager around the solver's code.

    Entering records the input and begins the capture of logs; leaving records how it ended. In between, code that
    gives control away without ending, as a generator does, is framed by `resume` and `suspend`.
    """

    __slots__ = ("_outer", "_plan", "_settings", "_spool", "_start_ns", "_state", "source")

    def __init__(self, plan: Plan, source: str, key: object = None) -> None:
        """Prepares a run; `source` names it in messages, `key` tells whose calls are part of it."""
        self.source = source
        self._plan = plan
        self._settings: Settings
        self._spool: Spool | None = None
        self._start_ns = 0
        self._outer = state.current()
        self._state = RunState(ids.new_id(), plan.redaction, self._outer, key)
        self._state.name = plan.name
        self._state.description = plan.description
        self._state.public = Run(self._state)

    @property
    def run(self) -> Run:
        """The run as users see it."""
        return self._state.public

    def begin(self, bind: Callable[[], tuple[Any, dict[str, Any]]]) -> Run:
        """Records that the run begins, with its input and options, and makes it the current one.

        Args:
            bind: Gives the input and the options; not called when the run is not recorded.
        """
        try:
            self._begin(bind)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is ours and not the solver's)
            self._lost(error)
        self._start_ns = time.monotonic_ns()
        self.resume()
        return self.run

    def _begin(self, bind: Callable[[], tuple[Any, dict[str, Any]]]) -> None:
        plan, run = self._plan, self._state
        self._settings, problems = settings.lenient()
        if problems:
            warn_once("settings", f"nxtrack goes on with defaults: {problems[0]}; the solver is not affected.")
        if self._settings.mode == "disabled" or not plan.enabled:
            return
        if plan.sample_rate < 1 and random.random() >= plan.sample_rate:  # noqa: S311  (no secret)
            return
        _prepare_process()
        for listener in ready.listeners:
            listener.begun(self._settings)
        self._spool = spool(settings.spool_dir(self._settings))
        run_input, run.options = bind()
        run.input = run_input
        content = None
        if run_input is not UNSET:
            content = content_of(
                run_input if plan.process_input is None else plan.process_input(run_input), plan.redaction
            )
        start = Start(
            id=run.run_id,
            at=now(),
            owner=owner.this_process(),
            source=self.source,
            app_id=plan.app_id or self._settings.app_id,
            instance_id=plan.instance_id or self._settings.instance_id,
            name=plan.name,
            description=plan.description,
            options=self._options(run.options),
            batch_experiment_id=plan.batch_experiment_id,
        )
        run.writer = self._spool.begin(start, content, self._settings.durability)
        capture = plan.capture or self._settings.capture
        if capture != "off":
            run.sink = streams.Sink(self._settings.streams if plan.streams is None else plan.streams, self._log)
            streams.start(run.sink)

    def resume(self) -> None:
        """Makes the run the current one, as its code is about to go on."""
        self._outer = state.become(self._state)

    def suspend(self) -> None:
        """Makes the run that was current before the current one again, unless another already is."""
        before = state.become(self._outer)
        if before is not self._state:
            state.become(before)

    def __enter__(self) -> Run:
        """Returns the run that `begin` began."""
        return self.run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the run by the exception that leaves the code, if there is one."""
        self.end(error)

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        """Records how the run ended.

        Args:
            error: The exception that ended it, or None.
            result: What the code returned; an output assigned to the run wins over it.
        """
        elapsed = time.monotonic_ns() - self._start_ns
        self.suspend()
        run = self._state
        if run.status != "running":
            return
        message = run.error if run.error is not None else failure(error)
        if message is not None and self._plan.redaction:
            message = self._plan.redaction.text(message)
        run.status = "succeeded" if message is None else "failed"
        run.error = message
        if run.writer is None:
            return
        try:
            self._end(error, message, result, (elapsed + 500_000) // 1_000_000)
        except Exception as fault:  # noqa: BLE001  (whatever it is, it is ours and not the solver's)
            self._lost(fault)

    def _end(self, error: BaseException | None, message: str | None, result: Any, duration_ms: int) -> None:
        run = self._state
        writer, sink = run.writer, run.sink
        assert writer is not None
        if sink is not None:
            streams.stop(sink)
        if writer.detached:
            return
        if error is not None and message is not None:
            self._log_traceback(error)
        end = End(
            status="succeeded" if message is None else "failed",
            at=now(),
            duration_ms=duration_ms,
            error=None if message is None else message[:MAX_ERROR],
            notes=(streams.SHARED_NOTE,) if sink is not None and sink.shared else (),
        )
        try:
            output = self._output(result if run.output is UNSET else run.output)
            records = () if output is None else (writer.payload(Output, output),)
            writer.finish(*records, end)
        except OSError as fault:
            # The output may be too large for what is left of the disk; that the run ended, and how, is not.
            note = f"The output could not be kept: {describe(fault)}."
            writer.finish(msgspec.structs.replace(end, notes=(*end.notes, note)))
            warn_once("output", f"output of {self.source} not recorded: {describe(fault)}; the solver is not affected")
        for listener in ready.listeners:
            listener.ready(self._settings)

    def _output(self, result: Any) -> Content | None:
        plan, run = self._plan, self._state
        if plan.process_output is not None and result is not None:
            result = plan.process_output(result)
        value: Any = values.as_output(result)
        if run.metrics or run.assets:
            value = with_pieces(value, run.metrics, run.assets)
        return None if value is None else content_of(value, plan.redaction)

    def _options(self, options: dict[str, Any]) -> dict[str, str]:
        if not options:
            return {}
        if self._plan.redaction:
            options = msgspec.json.decode(content_of(options, self._plan.redaction).data)
        return option_texts(options)

    @absorbed
    def _log(self, data: bytes) -> None:
        self._state.log(data)

    @absorbed
    def _log_traceback(self, error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
            trace = trace.tb_next
        lines = traceback.format_exception(type(error), error, trace)
        self._state.log("".join(lines).encode("utf-8", "backslashreplace"))

    def _lost(self, error: Exception) -> None:
        """Tells, once, that a run is not recorded as it should be, and counts it."""
        try:
            if self._state.sink is not None:
                streams.stop(self._state.sink)
            if self._state.writer is not None:
                self._state.writer.close()
            self._state.writer = None
            counted = ""
            if self._spool is not None and isinstance(error, SpoolError):
                counted = f" ({self._spool.count_lost()} lost so far)"
            place = f" in {self._spool.root}" if self._spool is not None and isinstance(error, SpoolError) else ""
            warn_once(
                f"lost {type(error).__name__} {describe(error)}",
                f"run of {self.source} not recorded: {describe(error)}{place}{counted}; the solver is not affected",
            )
        except Exception:  # noqa: BLE001, S110  (there is nobody left to tell)
            pass


def failure(error: BaseException | None) -> str | None:
    """Returns the error message of what an exception makes of a run, or None when the run succeeded with it.

    `SystemExit` with 0 or None is a program's way to say that all went well; `GeneratorExit` is a consumer that has
    seen enough.
    """
    if error is None or isinstance(error, GeneratorExit):
        return None
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return None
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (an exception whose text cannot be made is still an exception)
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def with_pieces(output: Any, metrics: dict[str, Any], assets: list[msgspec.Raw]) -> dict[str, Any]:
    """Returns an output with logged metrics and assets in it, where the platform looks for them; its own win."""
    whole: dict[str, Any] = dict(output or {})
    own_metrics, own_assets = whole.get("metrics"), whole.get("assets")
    if metrics and (own_metrics is None or isinstance(own_metrics, dict)):
        whole["metrics"] = {**metrics, **(own_metrics or {})}
    if assets and (own_assets is None or isinstance(own_assets, list)):
        whole["assets"] = [*(own_assets or []), *assets]
    return whole


_NO_SINK = streams.Sink((), lambda _: None)


def _current_sink() -> streams.Sink | None:
    """Returns where the calling code's text goes: to its run's log, or the log of the run around that."""
    run = state.current()
    if run is None:
        return None
    while run is not None and run.sink is None:
        run = state.running(run.parent)
    return _NO_SINK if run is None else run.sink


@cache
def _prepare_process() -> None:
    # Not at import: a program that tracks nothing shall not carry our handlers.
    streams.attribute_by(_current_sink)
    system.at_fork(_forked)


def _forked() -> None:
    """Lets a forked child start outside of any run: those it was forked in are its parent's."""
    state.become(None)
    streams.forget()
