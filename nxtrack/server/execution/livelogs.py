"""The logs of a run as far as they came, while it runs and afterwards: as bytes, and as lines with their times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nxtrack.cloud.messages import FINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.server.data.files import Payloads
    from nxtrack.server.data.records import Run
    from nxtrack.server.execution.runner import Runner

_AT_ONCE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLogs:
    """A part of a run's logs.

    Attributes:
        items: Lines with their ends, so that together they are the logs, each with when it came, in microseconds since
            1970. The times of a run that has ended are not known any more: they are those of its end.
        next: Where the next part begins, in bytes.
        complete: Whether the run is final and nothing comes after this.
    """

    items: list[tuple[int, str]]
    next: int
    complete: bool


def read_logs(runner: Runner, run: Run, *, last: int | None = None) -> bytes:
    """A run's logs so far, or only their `last` bytes."""
    name = _payload(runner, run)
    if name is None:
        return b""
    try:
        return _read(runner.payloads, name, last=last)
    except FileNotFoundError:  # it ended, with nothing said
        return b""


def read_part(runner: Runner, run: Run, since: int) -> LiveLogs:
    """About a megabyte of a run's logs from an offset in bytes on: whole lines, except at their very end."""
    final = run.status in FINAL_STATUSES
    name = _payload(runner, run)
    since = max(0, since)
    data, rest = b"", 0
    if name is not None:
        try:
            with runner.payloads.open(name) as file:
                size = os.fstat(file.fileno()).st_size
                since = min(since, size)
                file.seek(since)
                data = file.read(_AT_ONCE)
                rest = size - since - len(data)
        except FileNotFoundError:
            pass
    at_end = final and rest <= 0
    if not at_end:
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) == _AT_ONCE:
            # A line that fills a whole part is given in pieces.
            cut = _last_character(data)
        data = data[:cut]
    when = _clock_of(runner, run)
    items: list[tuple[int, str]] = []
    offset = since
    for line in _lines(data):
        items.append((when(offset), line.decode(errors="replace")))
        offset += len(line)
    return LiveLogs(items=items, next=offset, complete=at_end)


def _lines(data: bytes) -> list[bytes]:
    """Lines with their ends; a carriage return alone ends none, as on a terminal."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _last_character(data: bytes) -> int:
    """Where the last character begins, which may not be whole; in what is no UTF-8, the end."""
    starts = [place for place in range(len(data) - 4, len(data)) if data[place] & 0xC0 != 0x80]  # noqa: PLR2004
    return starts[-1] if starts else len(data)


def _payload(runner: Runner, run: Run) -> str | None:
    if "logs" in run.artefacts:
        return run.artefacts["logs"].payload
    return None if run.status in FINAL_STATUSES else runner.queue.logs(run)


def _read(payloads: Payloads, name: str, *, last: int | None) -> bytes:
    with payloads.open(name) as file:
        if last is not None:
            file.seek(max(0, os.fstat(file.fileno()).st_size - last))
        return file.read() if last is None else file.read(last)


def _clock_of(runner: Runner, run: Run) -> Callable[[int], int]:
    job = runner.job(run)
    if job is None or job.execution is None:
        return lambda _: run.ended_at or run.created_at
    started, moments = job.run.started_at or run.created_at, job.execution.moments
    return lambda offset: started + int(moments.at(offset) * 1_000_000)
