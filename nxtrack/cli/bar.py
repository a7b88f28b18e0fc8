"""Owns how the progress of a flush is shown: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from nxtrack.cli.output import complain
from nxtrack.delivery.report import plural

if TYPE_CHECKING:
    import threading

    from rich.progress import Progress, TaskID

LINE_SECONDS = 10.0
"""How often a flush without a terminal tells where it is."""

_FINISHING = "Finishing what is in flight; Ctrl-C again stops now"


class Silent:
    """Shows nothing; also what the others have in common. A context manager, as a bar must be taken down."""

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes it down."""

    def found(self, number: int) -> None:
        """Told how many runs wait."""

    def settled(self, number: int) -> None:
        """Told how many of them are dealt with."""

    def stopping(self) -> None:
        """Told, perhaps in a signal handler, that the flush was asked to stop."""


class Lines(Silent):
    """Prints a line on stderr every `LINE_SECONDS`."""

    def __init__(self, *, limit: int | None = None) -> None:
        """Takes how many runs the flush delivers at most."""
        self._limit = limit
        self._number = 0
        self._next = time.monotonic() + LINE_SECONDS

    def found(self, number: int) -> None:
        """Told how many runs wait."""
        self._number = _at_most(self._limit, number)

    def settled(self, number: int) -> None:
        """Told how many of them are dealt with."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            complain(f"{_at_most(self._limit, number)} of {plural(self._number, 'run')} dealt with.")

    def stopping(self) -> None:
        """Told, perhaps in a signal handler, that the flush was asked to stop."""
        # Past the stream's buffer, in whose midst the signal may have come.
        with suppress(OSError):
            os.write(sys.stderr.fileno(), f"{_FINISHING}.\n".encode())


class Bar(Silent):
    """A bar on the terminal that stderr is."""

    def __init__(self, stop: threading.Event, *, limit: int | None = None) -> None:
        """Takes what is set when the flush was asked to stop, and how many runs it delivers at most."""
        self._stop = stop
        self._limit = limit
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __exit__(self, *_: object) -> None:
        """Takes the bar down; where it got to stays on the terminal."""
        if self._progress is not None:
            self._progress.stop()

    def found(self, number: int) -> None:
        """Told how many runs wait."""
        if not number:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        stop = self._stop

        class Doing(TextColumn):
            """Says what is being done, looked at anew with each refresh: a signal handler shall not draw."""

            def render(self, task: Any) -> Any:
                task.description = _FINISHING if stop.is_set() else "Flushing"
                return super().render(task)

        columns = (Doing("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("Flushing", total=_at_most(self._limit, number))
        self._progress.start()

    def settled(self, number: int) -> None:
        """Told how many of them are dealt with."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=_at_most(self._limit, number))


def _at_most(limit: int | None, number: int) -> int:
    """Returns the number, or the limit of the flush if that is less: runs that stay count as dealt with as well."""
    return number if limit is None else min(limit, number)
