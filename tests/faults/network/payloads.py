"""Large payloads whose transfers break off, with URLs that expire in between: what arrives has equal checksums."""

from __future__ import annotations

import hashlib
import json
import os
import random
from contextlib import closing, contextmanager
from itertools import product
from typing import TYPE_CHECKING

from faults.bench import KEY
from faults.network.attempts import wrong
from faults.network.breaker import PUT_UPLOAD, Breaker, Cut, Fault, Reply
from faults.tally import Kind, spread

from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.cloud.limits import Limits
from nxtrack.cloud.retries import Patience
from nxtrack.cloud.transport import Timeouts
from nxtrack.errors import NxtrackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.bench import Bench, Trial

PLACES = 20
SIZE = 1_000_000
DOWNLOAD = r"/downloads/"
EXPIRED = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 82\r\n\r\n"
    b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>    "
)
# An inline payload would not be transferred at all.
LIMITS = Limits(inline=0)


def _content(number: int) -> bytes:
    return json.dumps({"number": number, "pad": random.Random(number).randbytes(SIZE // 2).hex()}).encode()


@contextmanager
def _application(trial: Trial, url: str, faults: int = 0) -> Iterator[Application]:
    """Gives a client that bears so many faults, and that a connection which was just closed is used once more."""
    patience = Patience(attempts=2 * faults + 2, sleep=lambda seconds: False)
    timeout = Timeouts(connect=5, read=0.3, answer=20)
    with Client(api_key=KEY, endpoint=url, patience=patience, timeout=timeout) as client:
        yield Application(trial.application, client, limits=LIMITS)


def _plans(size: int, hows: str, fault: Callable[..., Fault], expired: Callable[[int], Fault]) -> list[list[Fault]]:
    """Returns what happens to each of so many transfers: one break, with or without an expired URL after it, or all."""
    places = [round(number * (SIZE + 300) / PLACES) for number in range(PLACES)]
    ones = [
        [fault(at=at, how=how), *([expired(number)] if late else [])]
        for number, (at, how, late) in enumerate(product(places, hows.split(), (False, True)))
    ]
    many = [
        [step for at in places for step in (fault(at=at if fault is _put else SIZE // PLACES, how=how), expired(at))]
        for how in hows.split()
    ]
    long = many if size > PLACES else many[:1]
    return spread(ones, size - len(long)) + long


def _put(*, at: int, how: str) -> Fault:
    return Cut(method="PUT", path=PUT_UPLOAD, side="request", at=at, how=how)


def _get(*, at: int, how: str) -> Fault:
    return Cut(method="GET", path=DOWNLOAD, side="answer", at=at, how=how)


def _late_put(number: int) -> Fault:
    """The store finds the URL expired: when it has all of the bytes, or while they are still coming."""
    after, then = ((None, "close"), (SIZE // 2, "close"), (SIZE // 2, "reset"))[number % 3]
    return Reply(method="PUT", path=PUT_UPLOAD, content=EXPIRED, after=after, then=then)


def _late_get(_number: int) -> Fault:
    return Reply(method="GET", path=DOWNLOAD, content=EXPIRED)


def _uploads(bench: Bench, size: int) -> None:
    """The upload of an input breaks off: the run has the very bytes."""
    plans = _plans(size, "reset close half stall", _put, _late_put)
    with closing(Breaker(bench.url)) as breaker:
        for number, plan in enumerate(plans):
            with bench.trial() as trial, _application(trial, breaker.url, len(plan)) as application:
                content = _content(number)
                file = trial.folder / "input.json"
                file.write_bytes(content)
                breaker.add(*plan)
                try:
                    run_id = application.track_run(file, execution_duration=1)
                except (NxtrackError, OSError, ValueError) as error:
                    wrong(trial, f"{_told(plan)}: {type(error).__name__}: {error}")
                else:
                    came = bench.reader.get(f"/v1/applications/{trial.application}/runs/{run_id}/input")
                    _compare(trial, plan, content, came)
                _count(bench, breaker, plan)


def _downloads(bench: Bench, size: int) -> None:
    """The download of an output breaks off: the file has the very bytes, and stands alone in its folder."""
    content = _content(0)
    with bench.trial() as trial, closing(Breaker(bench.url)) as breaker:
        with _application(trial, bench.url) as application:
            run_id = application.track_run({}, content, execution_duration=1)
        for number, plan in enumerate(_plans(size, "reset close stall", _get, _late_get)):
            with _application(trial, breaker.url, len(plan)) as application:
                folder = trial.folder / str(number)
                folder.mkdir()
                breaker.add(*plan)
                try:
                    application.run_output(run_id, folder / "out")
                except (NxtrackError, OSError) as error:
                    wrong(trial, f"{_told(plan)}: {type(error).__name__}: {error}")
                else:
                    _compare(trial, plan, content, (folder / "out").read_bytes())
                if set(os.listdir(folder)) - {"out"}:
                    wrong(trial, f"{_told(plan)}: it left {os.listdir(folder)}")
                _count(bench, breaker, plan)


def _compare(trial: Trial, plan: list[Fault], gave: bytes, came: bytes) -> None:
    before, after = (hashlib.sha256(content).hexdigest() for content in (gave, came))
    if before != after:
        wrong(trial, f"{_told(plan)}: {len(gave)} bytes of {before} became {len(came)} of {after}")


def _told(plan: list[Fault]) -> str:
    steps = [f"{step.how} at {step.at}" if isinstance(step, Cut) else "expired" for step in plan]
    return ", ".join(steps[:4]) + (f" and {len(steps) - 4} more" if len(steps) > 4 else "")


def _count(bench: Bench, breaker: Breaker, plan: list[Fault]) -> None:
    bench.tally.runs += 1
    bench.tally.injections += sum(fault.happened for fault in plan)
    breaker.faults.clear()


KINDS: tuple[Kind, ...] = (
    Kind("a large upload broken off at 20 places, its URL expired in between", _uploads, 8, 164),
    Kind("a large download broken off at 20 places, its URL expired in between", _downloads, 8, 123),
)
