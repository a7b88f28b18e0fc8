"""Owns which run the running code is part of, and what is known of it besides what users see."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from nxtrack.spool.pieces import Pieces

if TYPE_CHECKING:
    from nxtrack.spool.writer import RunWriter
    from nxtrack.tracking.logmask import LogMask
    from nxtrack.tracking.run import Run
    from nxtrack.tracking.streams import Sink
    from nxtrack.tracking.values import Redaction

_LONGEST_LINE = 1 << 16
"""Bytes of a line that are masked at once."""

_NEVER_TAKEN = threading.RLock()

UNSET: Any = object()
"""What was never given; None may be a value."""


class RunState:
    """One run in this process.

    Attributes:
        run_id: Its id in the spool.
        key: Whose calls are part of it; None for a with-block.
        parent: The run around it.
        redaction: What shall not be recorded.
        mask: What does so with its log; None when all of that may be.
        writer: Its file; None when it is not recorded.
        sink: Where its text goes; None when it is not captured.
        printed: The way of its captured text to its log.
        output: What was assigned as its output, or UNSET.
        pieces: What was logged beside its output.
        public: What users see of it, while it runs: after that it would only keep its input alive.
    """

    __slots__ = (
        "description",
        "error",
        "input",
        "key",
        "mask",
        "name",
        "options",
        "output",
        "parent",
        "pieces",
        "printed",
        "public",
        "redaction",
        "run_id",
        "sink",
        "status",
        "writer",
    )

    def __init__(self, run_id: str, redaction: Redaction, parent: RunState | None, key: object) -> None:
        """Makes the state of a run that is about to begin."""
        self.run_id = run_id
        self.redaction = redaction
        self.mask = redaction.of_log() if redaction.is_set else None
        self.parent = parent
        self.key = key
        self.status: Literal["running", "succeeded", "failed"] = "running"
        self.error: str | None = None
        self.name: str | None = None
        self.description: str | None = None
        self.options: dict[str, Any] = {}
        self.input: Any = None
        self.output: Any = UNSET
        self.pieces = Pieces()
        self.writer: RunWriter | None = None
        self.sink: Sink | None = None
        self.printed: Log | None = None
        self.public: Run | None = None

    def log(self, data: bytes, *, beyond: bool = False) -> None:
        """Appends UTF-8 text to the run's log, even if that is full when it is to go beyond.

        Raises:
            OSError: It cannot be written.
        """
        if self.writer is not None:
            Log(self.writer, self.mask).write(data, beyond=beyond, whole=True)


class Log:
    """The way of text to a run's log, without what shall not be recorded.

    With a mask, text waits for the end of its line: what is to be found may come in several writes.
    """

    __slots__ = ("_lock", "_mask", "_waiting", "_writer")

    def __init__(self, writer: RunWriter, mask: LogMask | None) -> None:
        """Takes where the text goes, and what masks what shall not get there."""
        self._writer = writer
        self._mask = mask
        self._waiting = b""
        self._lock = _NEVER_TAKEN if mask is None else threading.RLock()

    def write(self, data: bytes, *, beyond: bool = False, whole: bool = False) -> None:
        """Appends UTF-8 text; what stands after its last newline waits, unless it is whole.

        Raises:
            OSError: It cannot be written.
        """
        mask = self._mask
        if mask is None:
            self._writer.log(data, beyond=beyond)
            return
        with self._lock:
            text = self._waiting + data
            ready = len(text) if whole or len(text) > _LONGEST_LINE else text.rfind(b"\n") + 1
            self._waiting = text[ready:]
        # Without the lock: functions of the user's may wait for a thread that is about to print.
        if ready and (masked := mask.text(text[:ready].decode("utf-8", "backslashreplace"))):
            self._writer.log(masked.encode("utf-8", "backslashreplace"), beyond=beyond)

    def end(self) -> None:
        """Appends what still waits.

        Raises:
            OSError: It cannot be written.
        """
        if self._mask is not None:
            self.write(b"", whole=True)


_current: ContextVar[RunState | None] = ContextVar("nxtrack.run", default=None)


def running(state: RunState | None) -> RunState | None:
    """Returns the innermost run, of `state` and those around it, that has not ended and is this process's own."""
    while state is not None and (state.status != "running" or (state.writer is not None and state.writer.detached)):
        state = state.parent
    return state


def current() -> RunState | None:
    """Returns the run that the calling code is part of, or None outside of any."""
    state = _current.get()
    return None if state is None else running(state)


def current_run() -> Run | None:
    """Returns the run that the calling code is part of, or None outside of any.

    Each thread and each asyncio task has its own; a thread that a solver starts has none.
    """
    state = current()
    return None if state is None else state.public


def within(key: object) -> RunState | None:
    """Returns the run around the calling code that was begun with `key`, or None."""
    state = _current.get()
    if state is not None:
        state = running(state)
        while state is not None and state.key is not key:
            state = running(state.parent)
    return state


def become(state: RunState | None) -> RunState | None:
    """Makes a run the current one, or none; returns the one that was current before."""
    before = _current.get()
    _current.set(state)
    return before
