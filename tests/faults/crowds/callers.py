"""What the processes of a crowd do: solve tracked problems, fork in the middle, flush; each tells it in a file."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nxtrack import track

if TYPE_CHECKING:
    from collections.abc import Callable

HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that a forked process does not get before it is what it is to be."""

_diary = -1


def shape(number: int) -> tuple[str, int]:
    """Returns how a solve ends, as the text of its error or "", and how many bytes pad its input and output."""
    return (f"no solution of {number}" if number % 7 == 3 else ""), (300_000 if number % 37 == 5 else number % 50)


def problem_of(number: int) -> dict[str, Any]:
    """Returns the input of a solve."""
    error, size = shape(number)
    return {"number": number, "pad": "i" * size} | ({"fail": error} if error else {})


def open_diary(path: str) -> None:
    """Has this process tell in a file what it does; what was told survives its death."""
    global _diary  # noqa: PLW0603
    _diary = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def hush() -> None:
    """Has this process tell nothing more."""
    global _diary  # noqa: PLW0603
    _diary = -1


def tell(*words: object) -> None:
    """Tells, in one write, that something happened."""
    if _diary < 0:
        return
    os.write(_diary, (" ".join(map(str, words)) + "\n").encode())


@track(input="problem")
def solve(problem: dict[str, Any], middle: Callable[[], object] | None = None) -> dict[str, Any]:
    """The solver of the trials; `middle` is what else happens while it solves."""
    number, size = problem["number"], len(problem["pad"])
    tell("begun", number)
    print(f"solving {number}", flush=True)
    problem["number"] = "the solver changes its input"
    if middle is not None:
        middle()
    if problem.get("fail"):
        raise ValueError(problem["fail"])
    print(f"solved {number}", flush=True)
    return {"twice": 2 * number, "pad": "o" * size}


def call(number: int, middle: Callable[[], object] | None = None) -> None:
    """Solves one problem as a user's program does, and tells what it saw of it."""
    error, size = shape(number)
    problem = problem_of(number)
    tell("called", number)
    began = time.monotonic()
    try:
        seen: Any = solve(problem, middle)
    except ValueError as raised:
        seen = str(raised)
    tell("ended", number, f"{time.monotonic() - began:.4f}")
    if seen != (error or {"twice": 2 * number, "pad": "o" * size}):
        tell("noticed", number, str(seen)[:100])


def rest(seconds: float) -> None:
    """Sleeps; not by `time.sleep`, which libfaketime breaks where it leaves the monotonic clock alone."""
    threading.Event().wait(seconds)


def write(diary: str, first: int, number: int, threads: int, longest: float) -> None:
    """Solves `number` problems, by some threads, each taking up to `longest` seconds."""
    open_diary(diary)
    chance = random.Random(first)
    waits = {first + place: chance.random() * longest for place in range(number)}
    if threads == 1:
        for one, wait in waits.items():
            call(one, lambda wait=wait: rest(wait))
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(call, one, lambda wait=wait: rest(wait)) for one, wait in waits.items()]:
            done.result()


def flush(settle: float, jobs: int, rounds: int = 1000, gate: str = "", diary: str = "") -> None:
    """Flushes again and again, as the environment says, and from when on a file is there."""
    from nxtrack.delivery.flusher import Flusher
    from nxtrack.settings import Settings, current
    from nxtrack.spool.store import Spool

    if diary:
        open_diary(diary)
    patience = time.monotonic() + 60
    while gate and not os.path.exists(gate) and time.monotonic() < patience:
        rest(0.001)
    given = current()
    chosen = Settings(
        dir=given.dir,
        app_id=given.app_id,
        endpoint=given.endpoint,
        api_key=given.api_key,
        rate=0.0,
        request_rate=0.0,
        backoff=0.01,
        settle=settle,
        jobs=jobs,
        durability="process",
    )
    for _ in range(rounds):
        report = Flusher(Spool(chosen.dir), chosen).run()
        if diary:
            tell("flushed", len(report.synced), report.pending, len(report.problems), *report.problems)
        if not report.synced:
            rest(0.01)


def online(diary: str, first: int, number: int, longest: float, leave: str) -> None:
    """Solves problems one after the other, and leaves as it is told; half of them by a forked child if that is told."""
    open_diary(diary)
    chance = random.Random(first)
    numbers = range(first, first + number)
    pid = -1
    for one in numbers:
        if leave == "fork" and one == first + number // 2 and (pid := os.fork()) == 0:
            break
        wait = chance.random() * longest
        call(one, lambda wait=wait: rest(wait))
    if pid == 0:
        for one in numbers:
            call(500 + one)
        return
    if pid > 0:
        tell("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    tell("leaving", time.monotonic())
    if leave == "_exit":
        os._exit(3)
    if leave == "raise":
        raise RuntimeError("the user's own error")
    if leave == "stay":
        rest(60)


def others(url: str, key: str, application: str, number: int) -> None:
    """Delivers runs to the platform as another tool than ours would, with no marker."""
    address = urlsplit(url)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=30)

    def ask(path: str, body: object, method: str = "POST", **headers: str) -> Any:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 300, content
        return json.loads(content or b"null")

    bearer = {"Authorization": f"Bearer {key}"}
    base = f"/v1/applications/{application}/runs"
    upload = ask(f"{base}/uploadurl", {}, **bearer)
    ask(upload["upload_url"].partition(address.netloc)[2], {}, "PUT")
    form = {"input": {"type": "json"}, "output": {"type": "json"}}
    for one in range(number):
        run = {
            "upload_id": upload["upload_id"],
            "description": f"other {one}",
            "configuration": {"format": form},
            "result": {"status": "succeeded", "execution_duration": 1},
        }
        ask(base, run, **bearer)


def command(*arguments: str) -> None:
    """Is `nxtrack` with some arguments, from its entry point to its exit status; signals were held back until here."""
    from nxtrack.cli.main import INTERRUPTED, main

    status, entered = INTERRUPTED, False
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        entered = True
        status = main(arguments)
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    except KeyboardInterrupt:
        if entered:
            raise
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
