"""The bench that faults are tried on: a real platform, a spool for each trial, and the judge of what arrived."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from faults.tally import Tally

from nxtrack.cloud.credentials import Credentials
from nxtrack.delivery.flusher import Flusher
from nxtrack.errors import NxtrackError
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running
from nxtrack.settings import Settings
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.delivery.report import FlushReport

ROOT = Path(__file__).parents[2]
KEY = "key-of-the-bench"
DIED = "process died: killed while solving"
LAST_WORDS = "Fatal Python error: "
"""What CPython writes to descriptor 2 as it gives up, and so to the log of the run that it captures."""
MARKER = re.compile(r"nxtrack:([0-9A-HJKMNP-TV-Z]{26})")


@dataclasses.dataclass
class Solve:
    """What a user's process is known to have done with one run; see `problem`, `answer` and `log` for its content.

    Attributes:
        number: Which solve it is; its input holds it.
        begun: The solver's code was reached, so the run must not be lost.
        ended: The call returned to the user's program, so the run is whole.
        error: The text of the ValueError that the solver raises, or "" when it returns.
        size: Bytes that pad its input and its output.
        spared: Why the run may be missing from the platform: "set aside", "rejected", "refused" (counted as lost by the
            spool itself), or "" when it must be there.
        forks: What its children print is in its log as well.
        deep: It also writes to its descriptors, past Python's streams; only for a process's main thread.
        wrote: How many lines it is known to have written, whatever became of it then.
    """

    number: int
    begun: bool = True
    ended: bool = True
    error: str = ""
    size: int = 0
    spared: str = ""
    forks: bool = False
    deep: bool = False
    wrote: int = 0

    @property
    def problem(self) -> dict[str, Any]:
        return {"number": self.number, "pad": "i" * self.size} | ({"deep": True} if self.deep else {})

    @property
    def answer(self) -> dict[str, Any]:
        return {"twice": 2 * self.number, "pad": "o" * self.size}

    @property
    def log(self) -> str:
        deep = f"deep {self.number}\ndeeper {self.number}\n" if self.deep else ""
        return f"solving {self.number}\n{deep}solved {self.number}\n"

    @property
    def printed(self) -> str:
        """What its program prints to its stdout."""
        return self.log.replace(f"deeper {self.number}\n", "")


SOLVER = """
import os

def wrote():
    pass

def solve(problem):
    number, size = problem["number"], len(problem["pad"])
    print(f"solving {number}", flush=True)
    wrote()
    if problem.get("deep"):
        os.write(1, f"deep {number}\\n".encode())
        wrote()
        os.write(2, f"deeper {number}\\n".encode())
        wrote()
    problem["number"] = "the solver changes its input"
    if problem.get("fail"):
        raise ValueError(problem["fail"])
    print(f"solved {number}", flush=True)
    return {"twice": 2 * number, "pad": "o" * size}
"""
"""The solver of all trials, as the text of a user's program; decorate it with `track`."""


@dataclasses.dataclass
class Arrived:
    """One run as the platform has it."""

    run_id: str
    marker: str
    status: str
    error: str
    duration: int
    input: Any
    output: Any
    logs: str


class Reader:
    """Reads what is on the platform, by plain HTTP and without any of nxtrack's own code."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._connection: HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def get(self, path: str) -> bytes:
        for last in (False, True):
            if self._connection is None:
                self._connection = HTTPConnection(str(self._address.hostname), self._address.port, timeout=30)
            try:
                self._connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}"})
                answer = self._connection.getresponse()
                content = answer.read()
            except OSError:
                self._connection.close()
                self._connection = None
                if last:
                    raise
                continue
            if answer.status != 200:
                raise AssertionError(f"GET {path}: {answer.status} {content[:200]!r}")
            return content
        raise AssertionError("unreachable")

    def runs(self, application: str) -> list[Arrived]:
        base, found, token = f"/v1/applications/{application}/runs", [], ""
        while True:
            try:
                page = json.loads(self.get(base + (f"?pagetoken={token}" if token else "")))
            except AssertionError as error:
                if ": 404 " in str(error):
                    return []  # Nothing ever came there.
                raise
            found += [self._run(base, item) for item in page["runs"]]
            token = page.get("next_page_token")
            if not token:
                return found

    def _run(self, base: str, item: dict[str, Any]) -> Arrived:
        result = json.loads(self.get(f"{base}/{item['id']}"))
        metadata = result["metadata"]
        marker = MARKER.search(result["description"])
        return Arrived(
            run_id=item["id"],
            marker=marker[1] if marker else "",
            status=metadata["status_v2"],
            error=metadata.get("error") or "",
            duration=metadata.get("execution_duration") or 0,
            input=json.loads(self.get(f"{base}/{item['id']}/input")),
            output=result.get("output"),
            logs=json.loads(self.get(f"{base}/{item['id']}/logs"))["log"],
        )


@dataclasses.dataclass
class Trial:
    """One spool, one application, and the way from the one to the other.

    Attributes:
        bench: The bench.
        folder: A folder of the trial's own; the spool is `folder/spool` unless the trial moves it.
        application: Its application's id.
        spool: The spool's folder.
    """

    bench: Bench
    folder: Path
    application: str
    spool: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Returns the environment of a user's process of this trial, with nothing of the developer's in it."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "LANG", "LC_"))}
        return kept | {
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "NXTRACK_DIR": str(self.spool),
            "NEXTMV_APP_ID": self.application,
            "NEXTMV_ENDPOINT": self.bench.url,
            "NEXTMV_API_KEY": KEY,
            "NXTRACK_RATE": "0",
            "NXTRACK_REQUEST_RATE": "0",
            "NXTRACK_BACKOFF": "0.01",
            "NXTRACK_SETTLE": "0.2",
            **more,
        }

    def settings(self, **more: Any) -> Settings:
        """Returns settings of a quick flush of this trial."""
        chosen: dict[str, Any] = {
            "dir": str(self.spool),
            "app_id": self.application,
            "rate": 0.0,
            "request_rate": 0.0,
            "backoff": 0.01,
            "settle": 0.0,
            "jobs": 2,
        }
        return Settings(**chosen | more)

    def record(self, *solves: Solve, durability: str = "process") -> None:
        """Records runs as a user's process would, in this one: by `track`, with the solver of all trials."""
        import nxtrack

        before = sys.stdout, sys.stderr
        with open(os.devnull, "w") as nowhere:
            sys.stdout = sys.stderr = nowhere
            nxtrack.configure(dir=str(self.spool), app_id=self.application, durability=durability)
            try:
                names: dict[str, Any] = {}
                exec(SOLVER, names)
                tracked = nxtrack.track(names["solve"])
                for solve in solves:
                    problem = solve.problem | ({"fail": solve.error} if solve.error else {})
                    with suppress(ValueError) if solve.error else nullcontext():
                        tracked(problem)
            finally:
                nxtrack.configure(dir=None, app_id=None, durability=None)
                sys.stdout, sys.stderr = before

    def flush(self, url: str | None = None, **more: Any) -> FlushReport:
        """Flushes once, in this process, to the platform or to what stands before it at `url`."""
        access = Credentials(endpoint=url or self.bench.url, api_key=KEY)
        return Flusher(Spool(str(self.spool)), self.settings(**more), access=access).run()

    def drain(self, url: str | None = None, seconds: float = 20.0, **more: Any) -> FlushReport | None:
        """Flushes again and again until nothing is left, as somebody's cron job would; returns the last report.

        What is left after `seconds` is found by the judge.
        """
        patience, report = time.monotonic() + seconds, None
        while time.monotonic() < patience:
            try:
                report = self.flush(url, **more)
            except NxtrackError as error:
                self.bench.tally.found("wrong", f"{self.application}: a flush raised {type(error).__name__}: {error}")
                return report
            if not report.pending and not any(Spool(str(self.spool)).entries("active")):
                return report
            time.sleep(0.05)
        return report

    def judge(self, *solves: Solve, others: int = 0) -> list[Arrived]:
        """Compares what the user's processes did with what arrived, and counts what is lost, doubled or wrong.

        Args:
            solves: What is known of each solve.
            others: How many more runs may be there, whose solves were not reached.
        """
        tally = self.bench.tally
        tally.runs += len(solves)
        arrived = self.bench.reader.runs(self.application)
        by_number: dict[Any, list[Arrived]] = {}
        for run in arrived:
            number = run.input.get("number") if isinstance(run.input, dict) else None
            by_number.setdefault(number, []).append(run)
        for marker in {run.marker for run in arrived if run.marker}:
            if sum(run.marker == marker for run in arrived) > 1:
                tally.found("doubled", f"{self.application}: {marker} is on the platform more than once")
        for solve in solves:
            runs = by_number.pop(solve.number, [])
            if not runs and solve.begun and not solve.spared:
                tally.found("lost", f"{self.application}: {solve} is not on the platform; spool: {self.states()}")
            for run in runs:
                for difference in differences(solve, run):
                    tally.found("wrong", f"{self.application}: {solve}: {difference}")
            if len({run.marker for run in runs}) > 1:
                tally.found("wrong", f"{self.application}: {solve} has {len(runs)} runs")
        strangers = sum(map(len, by_number.values()))
        if strangers > others:
            tally.found("wrong", f"{self.application}: {strangers} runs of no known solve: {list(by_number)[:5]}")
        return arrived

    def states(self) -> dict[str, int]:
        """Counts the runs of the spool by state."""
        try:
            summary = Spool(str(self.spool)).summary()
        except NxtrackError as error:
            return {str(error): 1}
        return summary.counts | {"quarantined": summary.quarantined, "lost": summary.lost}


def differences(solve: Solve, run: Arrived) -> Iterator[str]:
    """Yields what of a run is not as its solve was."""
    if solve.deep:
        # stderr goes to a file of its own first, so that its line may come anywhere.
        lines = run.logs.splitlines(keepends=True)
        if len(lines) < solve.wrote or not set(lines) >= set(solve.log.splitlines(keepends=True)[: solve.wrote]):
            yield f"wrote {solve.wrote} lines, and logs are {run.logs[:300]!r}"
        order = solve.log.splitlines(keepends=True)
        lines.sort(key=lambda line: order.index(line) if line in order else len(order))
        run = dataclasses.replace(run, logs="".join(lines))
    if solve.forks:
        lines = [line for line in run.logs.splitlines(keepends=True) if line.split() not in _lines_of_others(solve)]
        run = dataclasses.replace(run, logs="".join(lines))
    if run.input != solve.problem | ({"fail": solve.error} if solve.error else {}):
        yield f"input is {str(run.input)[:200]}"
    if solve.ended or run.status == "succeeded":
        # A run that is killed after its end was written and before its call returned has ended too.
        if solve.error:
            expected: tuple[Any, ...] = ("failed", f"ValueError: {solve.error}", None)
            whole = run.logs.startswith(f"solving {solve.number}\n") and run.logs.endswith(
                f"ValueError: {solve.error}\n"
            )
        else:
            expected = ("succeeded", "", solve.answer)
            whole = run.logs == solve.log
        if (run.status, run.error, run.output or None) != expected:
            yield f"ended as {str((run.status, run.error, run.output))[:300]}"
        if not whole:
            yield f"logs are {run.logs[:300]!r}"
    elif solve.error and run.error == f"ValueError: {solve.error}":
        pass  # As above: it had ended.
    elif (run.status, run.error) != ("failed", DIED):
        yield f"died as {(run.status, run.error)}"
    elif not (solve.log.startswith(run.logs.partition(LAST_WORDS)[0]) or solve.error):
        yield f"logs of the dead are {run.logs[:300]!r}"


def _lines_of_others(solve: Solve) -> list[list[str]]:
    return [line.split() for number in (solve.number + 1, solve.number + 2) for line in Solve(number).log.splitlines()]


class Bench:
    """What all kinds share: one platform, and a folder with room.

    Attributes:
        url: The platform's address.
        reader: Reads what arrived.
        folder: The bench's folder.
        tally: Where the kind that runs now counts.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.reader = Reader(url)
        self.folder = folder
        self.tally = Tally()
        self._trials = 0

    @contextmanager
    def trial(self, *, keep: bool = False) -> Iterator[Trial]:
        """Gives a trial of its own application and spool; its folder goes with it unless it is to be kept."""
        self._trials += 1
        folder = self.folder / f"trial-{self._trials}"
        folder.mkdir()
        try:
            yield Trial(self, folder, f"app-{self._trials}", folder / "spool")
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Gives a bench with a platform that runs in a thread of this process."""
    with running(ServeOptions(port=0, data=folder / "platform")) as platform:
        made = Bench(platform.url, folder)
        try:
            yield made
        finally:
            made.reader.close()
