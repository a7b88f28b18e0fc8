"""Connections that break, stall and half-close at every byte, between a flush and the real platform."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from faults.bench import Solve
from faults.network.attempts import Attempt, attempt, delivered
from faults.network.breaker import POST_RUN, PUT_UPLOAD, UPLOAD_URL, Breaker, Cut, Fault, Late
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.bench import Bench

IMPATIENT = 0.15
"""Seconds that a flush waits for an answer where one is made to wait."""


@dataclass(frozen=True)
class Target:
    """The request whose stream breaks, and whether its run's POST has to be lost first for it to come at all."""

    method: str
    path: str
    after_lost_post: bool = False

    def fault(self, kind: Callable[..., Fault] = Cut, **what: object) -> Fault:
        return kind(method=self.method, path=self.path, **what)


POST = Target("POST", POST_RUN)
URL = Target("POST", UPLOAD_URL)
PUT = Target("PUT", PUT_UPLOAD)
LIST = Target("GET", POST_RUN, after_lost_post=True)


class Point(NamedTuple):
    """Where a stream breaks: of the request or the answer, after how many bytes, and how."""

    side: str
    at: int
    how: str


def _lengths(bench: Bench, target: Target) -> tuple[int, int, bytes]:
    """Returns how many bytes the request and its answer have, and the answer."""
    answers: list[bytes] = []
    with closing(Breaker(bench.url)) as breaker, bench.trial() as trial:
        breaker.watch = lambda request, answer: answers.append(answer) if aim.takes(request) else None
        aim = target.fault(Fault, times=1)
        trial.record(Solve(1))
        if target.after_lost_post:
            breaker.add(POST.fault(side="answer", at=0, how="reset"))
        trial.flush(breaker.url, jobs=1)
        asked = target.fault(Fault, times=-1)
        request = next(request for request in breaker.seen if asked.takes(request))
    return request.size, len(answers[0]), answers[0]


def _points(bench: Bench, target: Target, sides: str, hows: str, kept: Callable[[bytes, int], bool]) -> Iterator[Point]:
    asked, answered, answer = _lengths(bench, target)
    for side in sides.split():
        for at in range(asked if side == "request" else answered):
            for how in hows.split():
                if side == "request" or kept(answer, at):
                    yield Point(side, at, how)


def _breaks(
    bench: Bench,
    size: int,
    *,
    target: Target,
    sides: str,
    hows: str,
    kept: Callable[[bytes, int], bool] = lambda answer, at: True,
) -> None:
    """A stream breaks at each of its bytes: the run arrives once and whole, and each flush tells what is left."""
    points = spread(list(_points(bench, target, sides, hows, kept)), size)
    at_once = [point for point in points if point.how in {"reset", "close", "half"}]
    waiting = [point for point in points if point not in at_once]
    with closing(Breaker(bench.url)) as breaker:
        attempt(bench, breaker, [Attempt(_faults(target, point)) for point in at_once], together=1)
        patience = {"answer_wait": IMPATIENT}
        attempt(bench, breaker, [Attempt(_faults(target, point), first=patience) for point in waiting])


def _faults(target: Target, point: Point) -> list[Fault]:
    lost = [POST.fault(side="answer", at=0, how="reset")] if target.after_lost_post else []
    return [target.fault(**point._asdict()), *lost]


def _but_the_id(answer: bytes, at: int) -> bool:
    """Says whether a byte of the answer is none of the run's id: nobody can know that another id is wrong."""
    start = answer.rindex(b':"') + 2
    return not start <= at < answer.rindex(b'"')


def _late(bench: Bench, size: int) -> None:
    """The client is cut off, and the platform takes the POST half a second later: each run arrives once."""
    solves = [Solve(number) for number in range(size)]
    with closing(Breaker(bench.url)) as breaker, bench.trial() as trial:
        trial.record(*solves)
        late = POST.fault(Late, times=size, seconds=0.5)
        breaker.add(late)
        report = trial.drain(breaker.url, seconds=60, settle=4.0, jobs=4)
        patience = time.monotonic() + 10
        while late.taken < late.happened and time.monotonic() < patience:
            time.sleep(0.02)
        bench.tally.injections += late.happened
        delivered(trial, report, trial.judge(*solves), len(solves))


def _kind(name: str, target: Target, sides: str, hows: str, sizes: tuple[int, int], **more: object) -> Kind:
    return Kind(name, partial(_breaks, target=target, sides=sides, hows=hows, **more), *sizes)


KINDS: tuple[Kind, ...] = (
    _kind("reset at every byte of a run's POST", POST, "request", "reset", (12, 1200)),
    _kind("reset at every byte of the answer to it", POST, "answer", "reset", (10, 300)),
    _kind("stall at every byte of a run's POST", POST, "request", "stall", (8, 320)),
    _kind("stall at every byte of the answer to it", POST, "answer", "stall", (8, 300)),
    _kind("half-close and close at every byte of a run's POST", POST, "request", "half close", (10, 600)),
    _kind("close at every byte of the answer to it", POST, "answer", "close", (10, 300)),
    _kind(
        "a byte changed or repeated in the answer to it",
        POST,
        "answer",
        "garble repeat again",
        (10, 480),
        kept=_but_the_id,
    ),
    _kind(
        "reset, stall, close in an upload URL's request and answer",
        URL,
        "request answer",
        "reset stall close",
        (10, 480),
    ),
    _kind(
        "reset, stall, close in an upload and its answer", PUT, "request answer", "reset stall close half", (10, 480)
    ),
    _kind(
        "reset, stall, close in the list that is looked through", LIST, "request answer", "reset stall close", (10, 400)
    ),
    Kind("POST taken after its sender was cut off", _late, 10, 100),
)
