"""Owns how transfers and waiting are shown: live on a terminal, a line now and then elsewhere, nothing for JSON."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from nxtrack.cli.bar import LINE_SECONDS
from nxtrack.cli.output import complain, line, size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from nxtrack.cloud.messages import RunInformation

_WORTH_A_BAR = 1_000_000


class Transfer:
    """Shows how far an upload or a download is. A context manager, as a bar must be taken down."""

    def __init__(self, title: str, *, silent: bool = False) -> None:
        """Takes what is being done, such as `Uploading`."""
        self._title = title
        self._silent = silent
        self._next = time.monotonic() + LINE_SECONDS
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the bar down; where it got to stays on the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def progress(self, done: int, total: int | None) -> None:
        """Told how many bytes are through, and of how many if that is known."""
        if self._silent:
            return
        if sys.stderr.isatty():
            if self._bar is None and (total is None or total >= _WORTH_A_BAR):
                self._start(total)
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, completed=done, total=total)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            complain(f"{self._title}: {size(done)}{'' if total is None else f' of {size(total)}'} so far.")

    def _start(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(self._title, total=total)
        self._bar.start()


class Waiting:
    """Shows what a run is at while it is waited for. A context manager, as the line must be taken down.

    Attributes:
        last: What was last known of the run.
    """

    def __init__(self, run_id: str, *, silent: bool = False) -> None:
        """Takes the run."""
        self.last: RunInformation | None = None
        self._run_id = run_id
        self._silent = silent
        self._status = ""
        self._line: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Shows the line, on a terminal."""
        if not self._silent and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
            self._line = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._line.add_task(self._text("asked for"), total=None)
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Takes it down, as if it had never been there."""
        if self._line is not None:
            self._line.stop()

    def polled(self, information: RunInformation) -> None:
        """Told what is known of the run, now and then."""
        self.last = information
        status = line(information.metadata.outcome, 20)
        if self._silent or status == self._status:
            return
        self._status = status
        if self._line is not None and self._task is not None:
            self._line.update(self._task, description=self._text(status))
        elif not information.metadata.is_final:
            complain(f"{self._text(status)}.")

    def _text(self, status: str) -> str:
        return f"Run {line(self._run_id, 130)} is {status}"
