"""Owns the log of one run while it is recorded: where its text comes from, and what is done to it at the end."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING

from nxtrack import solverlogs
from nxtrack.spool.records import Metric
from nxtrack.tracking import channels, descriptors, state, streams
from nxtrack.tracking.faults import absorbed
from nxtrack.tracking.run import recordable

if TYPE_CHECKING:
    from nxtrack.spool.writer import RunWriter
    from nxtrack.tracking.channels import Channel
    from nxtrack.tracking.logmask import LogMask
    from nxtrack.tracking.plan import Terms
    from nxtrack.tracking.state import RunState


class RunLog:
    """The log of one run that is about to begin.

    Attributes:
        channel: The way of what is written past Python's streams; None when that is not captured.
    """

    __slots__ = ("_run", "_terms", "channel")

    def __init__(self, terms: Terms, run: RunState) -> None:
        """Captures nothing yet."""
        self.channel: Channel | None = None
        self._terms = terms
        self._run = run

    def prepare(self, *, interleaved: bool) -> None:
        """Tells that the run begins, and sees what is to be captured; a Ctrl-C amid this is `suspend`'s to mend.

        Args:
            interleaved: The run's code takes turns with others, as coroutines do.
        """
        terms = self._terms
        if channels.goes_on(self._run):  # Of two that begin at once, one at least sees the other.
            descriptors.announce(self._run)
        if terms.capture == "fd" or (terms.capture == "auto" and not interleaved):
            self._open_channel()

    @absorbed
    def _open_channel(self) -> None:
        terms = self._terms
        self.channel = channels.open_channel(terms.spool, self._run, terms.streams, insisted=terms.capture == "fd")

    def begin(self, writer: RunWriter) -> None:
        """Begins to capture, now that the run's file is there."""
        if self.channel is not None:
            self.channel.writer = writer
            if self._run.mask is not None:
                self._run.mask.remember()  # As the log is masked once more when it ends.
        if self._terms.capture != "off":
            self._capture_streams(writer)

    @absorbed
    def _capture_streams(self, writer: RunWriter) -> None:
        # The sink is known to the whole process, and so must not know the run: it would keep its input alive.
        self._run.printed = log = state.Log(writer, self._run.mask)
        self._run.sink = sink = streams.Sink(self._terms.streams, functools.partial(_write_log, log))
        streams.start(sink)

    def resume(self) -> None:
        """Goes on with what belongs to the process, as the run's code is about to go on."""
        channels.goes_on(self._run)
        if self.channel is not None and self.channel.writer is not None:
            descriptors.capture_descriptors(self.channel)

    def suspend(self) -> None:
        """Lets go of what belongs to the process, as the run's code has ended or gives control away."""
        channels.pauses(self._run)
        if self.channel is not None:
            descriptors.restore_descriptors(self.channel)

    def settle(self, writer: RunWriter, error: BaseException | None) -> list[str]:
        """Ends the log, and reads what a solver says of itself there.

        Args:
            writer: The run's file.
            error: What made the run fail.

        Returns:
            What should be known of the log.
        """
        if self._run.mask is not None:
            self._write_last_line()
            self._mask_log(self._run.mask)
        if error is not None:
            self._log_traceback(error)
        if not writer.log_is_empty and self._terms.settings.solver_metrics != "off":
            self._read_solver_metrics(writer)
        return self._notes(writer)

    @absorbed
    def _write_last_line(self) -> None:
        """Writes what still waits for the end of its line."""
        if self._run.printed is not None:
            self._run.printed.end()

    @absorbed
    def _mask_log(self, mask: LogMask) -> None:
        """Masks what came by descriptors, which could not be done before."""
        channel = self.channel
        if channel is not None and channel.writer is not None:
            channel.writer.rewrite_log(mask.again)

    @absorbed
    def _log_traceback(self, error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
            trace = trace.tb_next
        lines = traceback.format_exception(type(error), error, trace)
        self._run.log("".join(lines).encode("utf-8", "backslashreplace"), beyond=True)

    @absorbed
    def _read_solver_metrics(self, writer: RunWriter) -> None:
        """Adds to what the run logged what a solver says of itself in the run's log."""
        reading = solverlogs.read(writer.log_ends(solverlogs.MOST_READ))
        if reading is not None:
            mask = functools.partial(recordable, redaction=self._run.redaction)
            metrics = self._run.pieces.add_reading(reading, mask)
            writer.append(*(Metric(name=name, value=value) for name, value in metrics.items()))

    def _notes(self, writer: RunWriter) -> list[str]:
        notes: list[str] = []
        if writer.log_cut:
            notes.append(f"The log is not whole: {writer.log_cut}.")
        if self._run.mask is not None and (failed := self._run.mask.failed):
            lines = "1 line of the log was" if failed == 1 else f"{failed:,} lines of the log were"
            notes.append(f"{lines} masked, as a redacting function failed or left no text.")
        sink, channel = self._run.sink, self.channel
        shared = sink is not None and sink.shared
        if channel is not None:
            notes += channel.notes
            shared = shared or channel.shared
        if shared:
            notes.append(streams.SHARED_NOTE)
        return notes

    def close(self) -> None:
        """Lets go of the files that took the text."""
        channel, self.channel = self.channel, None
        if channel is not None:
            descriptors.let_go_of_captures(self._terms.spool, channel)


@absorbed
def _write_log(log: state.Log, data: bytes) -> None:
    log.write(data)
