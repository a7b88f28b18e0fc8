"""Tries one solver in every way, each in a process of its own, and judges what was delivered of it."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.bench import DIED
from solvers import catalogue, compare, instances
from solvers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.bench import Arrived, Bench, Trial
    from solvers.catalogue import Case
    from solvers.terminal import Streams

PROGRAMS = Path(__file__).parent / "programs"
LONGEST = 120.0
"""Seconds after which a program is given up."""
BEGINS = 30.0
"""Seconds within which a solver's log has to be seen at the terminal."""
SLACK = 10.0
"""Seconds by which one process may be slower than another because of whatever else runs: twice as slow, and these."""
OWN = ("The solver is called \N{EM DASH} by Python.\n".encode(), b"This goes to stderr.\n", b"The solver returned ")
"""What the programs print by themselves."""
TRACEBACK = b"Traceback (most recent call last):"


@dataclass(frozen=True)
class Size:
    """How much is tried.

    Attributes:
        kills: Seconds after the log has begun, at each of which one run is killed.
        interrupts: Who is interrupted, in one run each: the `group` by Ctrl-C at the terminal, or the `process` alone.
        patience: Seconds that an interrupted solver is given, as some look only when their time is over.
    """

    kills: tuple[float, ...]
    interrupts: tuple[str, ...]
    patience: float


SIZES = {
    "quick": Size(kills=(0.3,), interrupts=("group",), patience=2.5),
    "full": Size(kills=(0.0, 0.3, 1.0, 3.0), interrupts=("group", "process"), patience=6),
}


@dataclass
class Column:
    """One column of the table.

    Attributes:
        says: What the cell says when nothing is wrong.
        findings: What is wrong, in words.
    """

    says: str = ""
    findings: list[str] = field(default_factory=list)

    def find(self, *findings: str) -> None:
        """Takes what comparisons found; "" is nothing."""
        self.findings += [finding for finding in findings if finding]


@dataclass
class Ended:
    """What one process did.

    Attributes:
        status: Its exit status; a signal as a negative number.
        both: All it wrote: to the terminal, or to stdout and then stderr.
        stdout: Its standard output, when that was a pipe; likewise `stderr`.
        answer: What the solver's function returned, or None when it did not return.
    """

    status: int
    both: bytes
    stdout: bytes
    stderr: bytes
    answer: dict[str, Any] | None


class Tried:
    """One case on the bench.

    Attributes:
        columns: What came of it, by column.
    """

    def __init__(self, bench: Bench, case: Case, size: Size, **environment: str) -> None:
        """Takes what is tried, how much, and what the environment of its processes holds besides."""
        self.bench, self.case, self.size = bench, case, size
        self._more = environment
        self.columns = {name: Column() for name in ("result", "log", "metrics", "killed", "ctrl_c")}
        self._problem = instances.problem(case.instance) | case.options | case.enough
        self._hard = instances.problem(case.hard) | case.options

    def run(self) -> None:
        """Tries everything."""
        self.complete("pipes", "block")
        self.complete("pty", "decorator")
        for seconds in self.size.kills:
            self.killed(seconds)
        for whom in self.size.interrupts:
            self.interrupted(whom)

    @contextmanager
    def _started(self, trial: Trial, how: str, streams: Streams, limit: float, *, hard: bool) -> Iterator[Terminal]:
        order = {"problem": self._hard if hard else self._problem, "limit": limit, "how": how}
        file = trial.folder / "order.json"
        file.write_text(json.dumps(order | {"answer": str(trial.folder / "answer.json")}), encoding="utf-8")
        command = [sys.executable, str(PROGRAMS / f"with_{self.case.program}.py"), str(file)]
        temporary = trial.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        with Terminal(
            command, trial.environment(TMPDIR=str(temporary), **self._more), trial.folder, streams
        ) as terminal:
            yield terminal

    def _ended(self, trial: Trial, terminal: Terminal, seconds: float) -> Ended | None:
        if not terminal.ended(seconds):
            return None
        file = trial.folder / "answer.json"
        answer = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        return Ended(
            terminal.process.returncode, terminal.text(), terminal.text("stdout"), terminal.text("stderr"), answer
        )

    def _begins(self, trial: Trial, terminal: Terminal) -> bool:
        """Waits until the log shows that the solver is at work: at the terminal, or only on the disk."""
        if not self.case.holds_gil:
            return terminal.shows(self.case.begun, BEGINS)
        until = time.monotonic() + BEGINS
        while not terminal.shows(self.case.begun, 0.05):
            if any(self.case.begun in file.read_bytes() for file in (trial.spool / "captures").glob("*")):
                return True
            if time.monotonic() > until or terminal.process.poll() is not None:
                return self.case.begun in terminal.text()
        return True

    def complete(self, streams: Streams, how: str) -> None:
        """Solves without nxtrack and with it, to the end, and compares the two and what was delivered."""
        result, log = self.columns["result"], self.columns["log"]
        runs = []
        for way in ("plain", how):
            with self.bench.trial() as trial:
                with self._started(trial, way, streams, LONGEST, hard=False) as terminal:
                    ended = self._ended(trial, terminal, LONGEST)
                    if ended is None or ended.status or ended.answer is None:
                        last = terminal.text()[-300:].decode(errors="replace")
                        result.find(f"{way}, {streams}: {'ran on' if ended is None else ended.status}: {last}")
                        return
                runs.append(ended)
                arrived = self._delivered(trial, result) if way != "plain" else None
        control, tracked = runs
        for ended, way in ((control, "plain"), (tracked, how)):
            result.find(*self._wrong(ended, way))
        for stream in ("both",) if streams == "pty" else ("stdout", "stderr"):
            log.find(compare.alike(getattr(control, stream), getattr(tracked, stream), OWN, f"{streams}, {stream}"))
        if arrived is None:
            return
        assert tracked.answer is not None
        if (arrived.status, arrived.error) != ("succeeded", ""):
            result.find(f"{streams}: delivered as {arrived.status} {arrived.error}")
        if arrived.input != self._problem:
            result.find(f"{streams}: the input is {str(arrived.input)[:100]}")
        if compare.plain(arrived.output) != tracked.answer:
            result.find(f"{streams}: the output is {str(arrived.output)[:200]}")
        captured = arrived.logs.encode()
        if streams == "pty":
            log.find(compare.same(tracked.both, captured, "pty, log"))
        else:
            log.find(compare.woven(captured, tracked.stdout, tracked.stderr))
        self._metrics(arrived, tracked.answer["api"], streams)

    def _wrong(self, ended: Ended, way: str) -> Iterator[str]:
        """Yields what is wrong with an answer: that it is not the optimum, or not made as the table says."""
        assert ended.answer is not None
        best, found = instances.optimum(self.case.instance), ended.answer["objective"]
        if not compare.near(best, found, relative=1e-6, absolute=1e-6):
            yield f"{way}: the objective is {found}, the optimum {best}"
        turns = ended.answer["api"].get("turns_of_another_thread")
        if turns is not None and (turns < 10) != self.case.holds_gil:
            yield f"{way}: another thread had {turns} turns while it solved"

    def _metrics(self, arrived: Arrived, api: dict[str, Any], streams: Streams) -> None:
        column, case = self.columns["metrics"], self.case
        found = arrived.output.get("metrics") if isinstance(arrived.output, dict) else None
        found = found if isinstance(found, dict) else {}
        right = 0
        for name in case.metrics:
            finding = self._metric(name, found.get(name), api, arrived.duration / 1000)
            column.find(finding and f"{streams}: {finding}")
            right += not finding
        column.says = f"{right} of {len(case.metrics)}" if case.metrics else "none read"

    def _metric(self, name: str, got: object, api: dict[str, Any], lasted: float) -> str:
        """Compares a metric with what the solver's API says; logs are less precise than that."""
        best = instances.optimum(self.case.instance)
        known: dict[str, object] = {catalogue.OBJECTIVE: best, catalogue.BOUND: best, catalogue.GAP: 0.0}
        wanted = {**known, catalogue.STATUS: "optimal"}.get(name) if api.get(name) is None else api[name]
        if got is None:
            return f"{name} is missing"
        if name == catalogue.STATUS:
            return "" if got == wanted else f"{name} is {got!r}, not {wanted!r}"
        if wanted is None:
            # The API has no word for it: then all that can be said is what it can't be.
            most = lasted if name == catalogue.SECONDS else float("inf")
            fits = isinstance(got, int | float) and 0 <= got <= most
            return "" if fits else f"{name} is {got!r}"
        relative, absolute = {
            catalogue.NODES: (0.0, 0.0),
            catalogue.ITERATIONS: (0.0, 0.0),
            catalogue.GAP: (0.0, 1e-4),
            catalogue.SECONDS: (0.05, 0.1),
        }.get(name, (1e-4, 1e-4))
        return (
            ""
            if compare.near(wanted, got, relative=relative, absolute=absolute)
            else f"{name} is {got!r}, not {wanted}"
        )

    def killed(self, seconds: float) -> None:
        """Kills a run in the middle, and looks at what is delivered of it."""
        column = self.columns["killed"]
        with self.bench.trial() as trial:
            with self._started(trial, "block", "pty", LONGEST, hard=True) as terminal:
                if not self._begins(trial, terminal):
                    column.find(f"{self.case.begun!r} did not show")
                time.sleep(seconds)
                terminal.kill()
                ended = self._ended(trial, terminal, 10)
                # While a child that outlived the program may write on.
                arrived = self._delivered(trial, column)
            if ended is None or ended.status != -signal.SIGKILL:
                column.find(f"it was not there to be killed: {ended and ended.status}")
        if arrived is None or ended is None:
            return
        if (arrived.status, arrived.error) != ("failed", DIED):
            column.find(f"delivered as {arrived.status} {arrived.error}")
        if arrived.input != self._hard:
            column.find(f"the input is {str(arrived.input)[:100]}")
        captured = arrived.logs.encode()
        # The terminal may be behind, when it is shown what was written to the log; it never is ahead.
        if not captured.startswith(ended.both):
            column.find(compare.same(ended.both, captured, "log"))
        if self.case.begun not in captured:
            column.find(f"the log of {len(captured):,} bytes does not hold {self.case.begun!r}")
        # At a terminal the C library writes whole lines, and so it has to where the terminal gives way to a log.
        if not self.case.child and not captured.endswith(b"\n"):
            column.find(f"the log ends within a line: {captured[-60:]!r}")
        if b"The solver returned" in captured:
            column.find("the log tells that the solver returned")
        metrics = arrived.output.get("metrics") if isinstance(arrived.output, dict) else None
        if self.case.metrics and (metrics or {}).get(catalogue.STATUS) != "killed":
            column.find(f"its metrics are {metrics}")

    def interrupted(self, whom: str) -> None:
        """Interrupts a run without nxtrack and one with it, and compares how they end."""
        column = self.columns["ctrl_c"]
        runs = []
        for way in ("plain", "block"):
            with self.bench.trial() as trial:
                with self._started(trial, way, "pty", self.size.patience, hard=True) as terminal:
                    began = time.monotonic()
                    if not self._begins(trial, terminal):
                        column.find(f"{way}, {whom}: {self.case.begun!r} did not show")
                    shown = time.monotonic() - began
                    time.sleep(0.3)
                    began, before = time.monotonic(), terminal.text()
                    if whom == "group":
                        terminal.type_ctrl_c()
                    else:
                        terminal.process.send_signal(signal.SIGINT)
                    ended = self._ended(trial, terminal, LONGEST)  # Some count processor time.
                    waited = time.monotonic() - began
                if ended is None:
                    column.find(f"{way}, {whom}: ran on")
                    return
                runs.append((ended, _ending(ended), shown, waited))
                arrived = self._delivered(trial, column) if way != "plain" else None
        (control, how, control_shown, control_waited), (tracked, tracked_how, tracked_shown, tracked_waited) = runs
        late = ", when it is done" if control_waited > self.size.patience / 2 else ""
        column.says = (how or "returns") + late
        if (tracked.status, tracked_how) != (control.status, how):
            column.find(
                f"{whom}: ended with {tracked.status} {tracked_how!r}, without nxtrack {control.status} {how!r}"
            )
        for what, one, other in (
            ("its log showed", tracked_shown, control_shown),
            ("it ended", tracked_waited, control_waited),
        ):
            if one > 2 * other + SLACK:
                column.find(f"{whom}: {what} after {one:.1f} s, without nxtrack after {other:.1f} s")
        if arrived is not None:
            wrong = _misrecorded(self.case, arrived, tracked, tracked_how, before)
            column.find(*(f"{whom}: {finding}" for finding in wrong))
            if arrived.input != self._hard:
                column.find(f"{whom}: the input is {str(arrived.input)[:100]}")

    def _delivered(self, trial: Trial, column: Column) -> Arrived | None:
        """Flushes what a process left behind; gives the one run that has to arrive."""
        trial.drain()
        runs = self.bench.reader.runs(trial.application)
        if len(runs) == 1:
            return runs[0]
        column.find(f"{len(runs)} runs arrived; spool: {trial.states()}")
        return None


def _ending(ended: Ended) -> str:
    """Returns by which exception, if any, a program ended."""
    said = ended.stderr or ended.both
    found = re.findall(
        rb"^([\w.]*(?:Error|Interrupt|Exit|Exception))(?::.*)?$", said[said.rfind(TRACEBACK) :], re.MULTILINE
    )
    if ended.status and TRACEBACK in said and found:
        return found[-1].decode()  # Python ends by SIGINT after a KeyboardInterrupt, so it comes first.
    return signal.Signals(-ended.status).name if ended.status < 0 else ""


def _misrecorded(case: Case, arrived: Arrived, ended: Ended, how: str, before: bytes) -> Iterator[str]:
    """Yields what is wrong with the run of an interrupted program, of which the terminal had shown `before` by then."""
    captured = arrived.logs.encode()
    if ended.answer is not None:
        if (arrived.status, compare.plain(arrived.output)) != ("succeeded", ended.answer):
            yield f"delivered as {arrived.status} {arrived.error} with {str(arrived.output)[:100]}"
        if captured != ended.both:
            yield compare.same(ended.both, captured, "log")
        status = (arrived.output.get("metrics") or {}).get(catalogue.STATUS)
        if case.metrics and status in {None, "optimal"}:
            yield f"its status is {status}"
        return
    if arrived.status != "failed" or not arrived.error.startswith(how):
        yield f"delivered as {arrived.status} {arrived.error}"
    # Python prints the traceback when all is over, where nxtrack puts one at the end of the log.
    log, shown = (text.partition(TRACEBACK)[0] for text in (captured, ended.both))
    goes_on = case.child and log.startswith(before) and shown.startswith(log)
    if log != shown and not goes_on:
        yield compare.same(shown, log, "log")
