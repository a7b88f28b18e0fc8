"""Spools with damaged runs beside sound ones: how they are made, flushed and looked at, and what must hold then."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faults.bench import Bench, Solve, Trial
from faults.files.apart import Child, commands
from support.proxy import POST_RUN, Proxy

import nxtrack
from nxtrack.delivery.report import FlushReport
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 10
"""Damaged runs in one spool; one sound run stands before them, one behind them."""

FLUSHES = 5
"""Flushes after which a spool of which nobody else takes anything must be at rest."""

Change = Callable[[bytes], bytes]


@dataclass
class Damage:
    """What is done to one file, and what must come of its run.

    Attributes:
        where: What findings call it.
        change: Makes the damaged content of the sound one.
        aside: The damage must be told and the run's file set aside; else it may also arrive as it was.
        solve: The solve whose run is hit; set when the run is recorded.
        path: The run's file.
        target: The file that is hit: the run's own, unless it is a sidecar.
        found: The content of the run's file when the flush finds it.
    """

    where: str
    change: Change
    aside: bool = True
    solve: Solve = field(default_factory=lambda: Solve(0))
    path: str = ""
    target: str = ""
    found: bytes = b""


Begin = Callable[[Trial, Sequence[Solve]], None]
Target = Callable[[Trial, Damage], str]


def flip(position: int, bit: int) -> Change:
    """Another bit at a place, or at the last place there is."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[min(position, len(changed) - 1)] ^= 1 << bit
        return bytes(changed)

    return change


def files(trial: Trial) -> list[str]:
    """Returns the paths of the runs' files, in the order in which their runs began."""
    folder = os.path.join(trial.spool, "runs")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def frame_ends(content: bytes) -> list[int]:
    """Returns where each line of a file ends, its newline included."""
    return [position + 1 for position, byte in enumerate(content) if byte == 10]


def end_of_run(content: bytes) -> int:
    """Returns where the frame ends that tells how the run ended; delivery's journal follows it."""
    return content.index(b"\n", content.index(b'{"t":"end"')) + 1


def content_of(path: str | Path) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def overwrite(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


# -- the states that runs are in when they are hit --


def ready(trial: Trial, solves: Sequence[Solve]) -> None:
    trial.record(*solves)


def synced(trial: Trial, solves: Sequence[Solve]) -> None:
    trial.record(*solves)
    trial.flush()


def refused(bench: Bench, trial: Trial, solves: Sequence[Solve]) -> None:
    """Leaves rejected runs; the proxy through which they were refused is gone."""
    trial.record(*solves)
    with proxy_of(bench) as proxy:
        proxy.fail("POST", POST_RUN, times=-1, status=400, body=b'{"error":"no"}')
        trial.flush(proxy.url)


def delivering(proxy: Proxy, *, taken: bool, unconfirmed: bool = False, posted: bool = False) -> Begin:
    """Leaves each run as a flusher leaves it that is killed right after its POST; `taken` says whether that arrived.

    The journals are those of a real flush, without the frame that the killed flusher did not come to write; with
    `posted` it came to write that too, but not to rename the file.
    """

    def begin(trial: Trial, solves: Sequence[Solve]) -> None:
        trial.record(*solves)
        if not taken:
            proxy.fail("POST", POST_RUN, times=-1, status=400, body=b'{"error":"no"}')
        trial.flush(proxy.url)
        proxy.faults.clear()
        for path in files(trial):
            content = content_of(path)
            assert path.endswith(".synced" if taken else ".rejected")
            os.truncate(path, frame_ends(content)[-1 if posted else -2])
            os.rename(path, path.rpartition(".")[0] + (".unconfirmed" if unconfirmed else ".ready"))

    return begin


def killed(trial: Trial, solves: Sequence[Solve]) -> None:
    """Leaves runs of a process that was killed while all of them were being solved."""

    def work() -> None:
        nxtrack.configure(dir=str(trial.spool), app_id=trial.application, durability="process", capture="sys")
        inside = threading.Semaphore(0)

        @nxtrack.track
        def solve(problem: dict[str, Any]) -> None:
            print(f"solving {problem['number']}", flush=True)
            inside.release()
            threading.Event().wait()

        for one in solves:  # One after the other, so that their ids stand in this order.
            threading.Thread(target=solve, args=(one.problem,), daemon=True).start()
            inside.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    assert Child(work).wait() is None


@contextmanager
def proxy_of(bench: Bench) -> Iterator[Proxy]:
    proxy = Proxy(bench.url)
    try:
        yield proxy
    finally:
        proxy.close()


# -- what becomes of them --


def own_file(_: Trial, damage: Damage) -> str:
    return damage.path


def hit(
    bench: Bench,
    damages: Sequence[Damage],
    begin: Begin,
    *,
    target: Target = own_file,
    make: Callable[[int], Solve] = Solve,
    url: str | None = None,
) -> None:
    """Damages runs, a batch in each spool beside sound ones, flushes, and looks what came of each.

    Of ten spools one is looked into with the command line too, before the flush, and another one behind it.

    Args:
        bench: The bench.
        damages: What to do.
        begin: Brings the runs of a trial into the state in which they are hit.
        target: Which file of a run is hit.
        make: Makes the solve of a number.
        url: Where the flush goes, if not right to the platform.
    """
    for number in range(0, len(damages), BATCH):
        batch, turn = damages[number : number + BATCH], bench.tally.injections // BATCH % 10
        with bench.trial() as trial:
            solves = [make(index) for index in range(len(batch) + 2)]
            begin(trial, solves)
            paths = files(trial)
            assert len(paths) == len(solves), paths
            for damage, solve, path in zip(batch, solves[1:-1], paths[1:-1], strict=True):
                damage.solve, damage.path, damage.target = solve, path, path
                damage.target = target(trial, damage)
                sound = content_of(damage.target)
                overwrite(damage.target, damage.change(sound))
                damage.found = content_of(path)
                bench.tally.injections += content_of(damage.target) != sound
            if turn == 0:
                look_into(trial, *(os.path.basename(damage.path).partition(".")[0] for damage in batch[:2]))
            report = flush_out(trial, url)
            aside = [damage for damage in batch if _outcome(trial, damage, report)]
            if report.damaged != len(aside):
                bench.tally.found("wrong", f"{trial.application}: {len(aside)} set aside, {report.damaged} told")
            trial.judge(*solves)
            if turn == 5:
                look_into(trial)


def set_aside(trial: Trial, name: str) -> str | None:
    """Returns where a run was set aside to, under the name that it had or got when it was claimed; None if not."""
    folder = os.path.join(trial.spool, "quarantine")
    found = [path for path in os.listdir(folder) if path.partition(".")[0] == name.partition(".")[0]]
    return os.path.join(folder, *found) if found else None


def _outcome(trial: Trial, damage: Damage, report: FlushReport) -> bool:
    """Returns whether a damaged run was set aside, as it was found and told; else it has to arrive as it was."""
    name = os.path.basename(damage.path)
    kept = set_aside(trial, name)
    label = f"{trial.application}: {damage.where}"
    if kept is None:
        if damage.aside:
            trial.bench.tally.found("wrong", f"{label}: was not set aside: {report.problems}")
        return False
    damage.solve.spared = "set aside"
    if content_of(kept) != damage.found:
        trial.bench.tally.found("wrong", f"{label}: was not set aside as it was found")
    if os.path.lexists(damage.path):
        trial.bench.tally.found("wrong", f"{label}: was set aside and is still there")
    if not any(name.partition(".")[0] in sentence for sentence in report.problems):
        trial.bench.tally.found("wrong", f"{label}: was set aside and not told: {report.problems}")
    return True


def flush_out(trial: Trial, url: str | None = None, **more: object) -> FlushReport:
    """Flushes until nothing waits, a few times at most; returns all that was told.

    A flush that raises or hangs is found.
    """
    whole = FlushReport()
    for _ in range(FLUSHES):
        try:
            with _bounded(60):
                report = trial.flush(url, **more)
        except Exception as error:
            trial.bench.tally.found("wrong", f"{trial.application}: a flush raised {type(error).__name__}: {error}")
            return whole
        whole.damaged += report.damaged
        whole.synced += report.synced
        whole.rejected += report.rejected
        whole.pending = report.pending
        for sentence in report.problems + report.recovered:
            whole.tell(sentence)
        if not report.pending and not any(Spool(str(trial.spool)).entries("ready", "unconfirmed")):
            break
    else:
        trial.bench.tally.found(
            "wrong", f"{trial.application}: {whole.pending} runs never come to rest: {whole.problems}"
        )
    return whole


@contextmanager
def _bounded(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in what takes too long; only in the main thread, where kinds are measured."""

    def hung(*_: object) -> None:
        raise TimeoutError(f"hung for {seconds} s")

    before = signal.signal(signal.SIGALRM, hung)
    timer, began = signal.setitimer(signal.ITIMER_REAL, seconds), time.monotonic()
    try:
        yield
    finally:
        # Somebody else's timer, that of the whole test say, goes on.
        left = max(0.1, timer[0] - (time.monotonic() - began)) if timer[0] else 0.0
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left, timer[1])


def look_into(trial: Trial, *run_ids: str) -> None:
    """Looks into a spool with the command line, and finds what ends with a traceback or hangs."""
    for command, status, text in commands(
        trial,
        ["list"],
        ["list", "--json"],
        ["status"],
        ["flush", "--dry-run"],
        *(["show", run_id, *option] for run_id in run_ids for option in ([], ["--json"], ["--logs"], ["--output"])),
        ["clean", "--dry-run"],
    ):
        if status not in {0, 1, 2, 75}:
            end = " ".join(text[-200:].split())
            trial.bench.tally.found("wrong", f"{trial.application}: nxtrack {' '.join(command)}: {status}: {end}")


def _last(text: str) -> str:
    return " ".join(text[-200:].split())
