"""Platforms and stores that refuse: the key, the application, a run, an upload, and when the quota is used up."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from faults.bench import Solve
from faults.network.attempts import Attempt, attempt, wrong
from faults.network.babble import answer, refusal
from faults.network.breaker import POST_RUN, PUT_UPLOAD, UPLOAD_URL, Breaker, Cut, Edit, Fault, Reply
from faults.tally import Kind, spread

from nxtrack.spool import retention
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from faults.bench import Bench, Trial

    from nxtrack.delivery.report import FlushReport

PLACES = {
    "POST": ("POST", POST_RUN),
    "URL": ("POST", UPLOAD_URL),
    "PUT": ("PUT", PUT_UPLOAD),
    "LIST": ("GET", POST_RUN),
}
THREE = (Solve(1), Solve(2), Solve(3))
TEXT = "the reason that it gives"


def _lost_post() -> Cut:
    return Cut(method="POST", path=POST_RUN, side="answer", at=0, how="reset")


def _heal(trial: Trial, breaker: Breaker) -> None:
    for fault in breaker.faults:
        if fault.application == trial.application:
            fault.times = 0


def _stopped(bench: Bench, size: int) -> None:
    """The key or the application is refused: that application stops and keeps its runs, others are delivered."""
    with closing(Breaker(bench.url)) as breaker:
        attempts = []
        for place, status, form in spread(list(product(("POST", "URL", "LIST"), (401, 403, 404), range(6))), size):
            method, path = PLACES[place]
            content = refusal(status, TEXT, form=form) if form < 5 else answer(status)
            faults: list[Fault] = [Reply(method=method, path=path, content=content, times=-1, then="keep")]
            faults += [_lost_post()] if place == "LIST" else []
            check = partial(_kept, breaker=breaker, place=place, what=f"{status} to {place}", refused=True)
            attempts.append(Attempt(faults, check, THREE, others=4, left=(2,)))
        attempt(bench, breaker, attempts)


def _kept(trial: Trial, report: FlushReport, *, breaker: Breaker, place: str, what: str, refused: bool) -> None:
    """Checks that a flush kept an application's runs and delivered the other's; then the platform takes them again."""
    states = trial.states()
    expected = {"ready": 2, "unconfirmed": 1} if place == "LIST" else {"ready": 3, "unconfirmed": 0}
    if {state: states[state] for state in expected} != expected or states["synced"] != 4 or report.refused != refused:
        wrong(trial, f"{what}: {report}; the spool has {states}")
    posts = breaker.asked("POST", POST_RUN, trial.application)
    if place == "POST" and refused and len(posts) > 1:
        wrong(trial, f"{what}: {len(posts)} runs were posted to an application that refuses")
    _heal(trial, breaker)


def _used_up(bench: Bench, size: int) -> None:
    """The quota is used up, by 402 or by 429 without an end: the runs wait through flush after flush, others go on."""
    with closing(Breaker(bench.url)) as breaker:
        attempts = []
        for place, status, form in spread(list(product(PLACES, (402, 429), range(5))), size):
            method, path = PLACES[place]
            content = refusal(status, TEXT, form=form)
            faults: list[Fault] = [Reply(method=method, path=path, content=content, times=-1, then="keep")]
            faults += [_lost_post()] if place == "LIST" else []
            check = partial(_waits, breaker=breaker, place=place, what=f"{status} to {place}")
            attempts.append(Attempt(faults, check, THREE, others=4))
        attempt(bench, breaker, attempts)


def _waits(trial: Trial, report: FlushReport, *, breaker: Breaker, place: str, what: str) -> None:
    # While only the list is refused, what was not posted yet is delivered by the next flush.
    for _ in range(0 if place == "LIST" else 2):
        again = trial.flush(breaker.url, jobs=1)
        if (again.pending, again.rejected, again.refused) != (3, [], False):
            wrong(trial, f"{what}: the next flush reports {again}")
    _kept(trial, report, breaker=breaker, place=place, what=what, refused=False)


REJECTIONS = (400, 405, 406, 409, 410, 411, 413, 414, 415, 417, 418, 422, 428, 431, 451)


def _rejected(bench: Bench, size: int) -> None:
    """One run of three is refused for what it is: it is kept with the reason, others go on, and it can be retried."""
    places = [("POST", status) for status in REJECTIONS] + [("URL", status) for status in REJECTIONS]
    places += [("PUT", status) for status in (400, 404, 405, 409, 411, 412, 413, 416, 422)]
    with closing(Breaker(bench.url)) as breaker:
        attempts = []
        for number, ((place, status), second) in enumerate(spread(list(product(places, (0, 1, 2))), size)):
            method, path = PLACES[place]
            # Each run asks for three upload URLs, one after the other.
            skip = second if place == "POST" else 3 * second
            content = refusal(status, TEXT, form=number)
            fault = Reply(method=method, path=path, content=content, skip=skip, then="keep")
            check = partial(_retried, number=second + 1, what=f"{status} to {place}")
            attempts.append(Attempt([fault], check, THREE, others=2))
        attempt(bench, breaker, attempts)


def _retried(trial: Trial, report: FlushReport, *, number: int, what: str) -> None:
    """Checks that a flush set one run aside as rejected, and sends it back."""
    states = trial.states()
    if len(report.rejected) != 1 or states["rejected"] != 1 or states["synced"] != 4 or report.pending:
        wrong(trial, f"{what}: {report}; the spool has {states}")
    spool = Spool(str(trial.spool))
    for entry in spool.entries("rejected"):
        told = [run.error for run in report.rejected if run.id == entry.run_id]
        if len(told) != 1 or TEXT not in told[0]:
            wrong(trial, f"{what}: the reason of the run is told as {told}")
        run = spool.read(entry)
        problem = spool.artefact(run, "input")
        if problem is None or b'"number":%d,' % number not in problem.read().replace(b" ", b""):
            wrong(trial, f"{what}: another run than the refused one is rejected")
        if not retention.retry(spool, entry.run_id):
            wrong(trial, f"{what}: the rejected run was not sent back")


EXPIRED = {
    "403 AccessDenied": refusal(403, "Request has expired", form=3),
    "403 with HTML": refusal(403, "Forbidden", form=2),
    "403 with nothing": answer(403),
    "401": refusal(401, "Unauthorized", form=3),
    "400 ExpiredToken": answer(400, b"<Error><Code>ExpiredToken</Code><Message>x</Message></Error>"),
}
LARGE = (Solve(1, size=400_000),)


def _expired(bench: Bench, size: int) -> None:
    """An upload URL is refused, before or in the middle of its bytes: a new one is asked for, and the run arrives."""
    plans: list[tuple[Fault, int]] = []
    for times, skip in product((1, 2, 3, 5), (0, 1)):
        for content in EXPIRED.values():
            put = {"method": "PUT", "path": PUT_UPLOAD, "times": times, "skip": skip}
            plans.append((Reply(**put, content=content, then="keep"), times))
            plans += [
                (Reply(**put, content=content, after=after, then=then), times)
                for after, then in ((0, "close"), (100_000, "close"), (300_000, "reset"))
            ]
        for at, how in ((0, "reset"), (100_000, "reset"), (350_000, "close")):
            # Only the input and the output are so large.
            plans.append((Cut(**put | {"times": min(times, 2)}, side="request", at=at, how=how), min(times, 2)))
        forged = Edit(method="POST", path=UPLOAD_URL, times=times, skip=skip, change=_forge)
        plans.append((forged, times))
    with closing(Breaker(bench.url)) as breaker:
        attempts = []
        for fault, times in spread(plans, size):
            check = partial(_asked_anew, breaker=breaker, times=times, what=f"{fault}"[:150])
            attempts.append(Attempt([fault], check, LARGE))
        attempt(bench, breaker, attempts, together=4)


def _forge(request: object, body: bytes) -> bytes:
    """Makes the platform refuse the upload URL itself: its signature is another one."""
    return body.replace(b"signature=", b"signature=0")


def _asked_anew(trial: Trial, report: FlushReport, *, breaker: Breaker, times: int, what: str) -> None:
    puts = [request.path for request in breaker.asked("PUT", PUT_UPLOAD, trial.application)]
    if len(set(puts)) != len(puts):
        wrong(trial, f"{what}: an upload URL was used again after it was refused")
    if times < 4 and (report.pending or len(puts) != 3 + times):
        wrong(trial, f"{what}: {len(puts)} uploads, {report}")
    _heal(trial, breaker)


KINDS: tuple[Kind, ...] = (
    Kind("401, 403, 404: one application stops", _stopped, 3, 54),
    Kind("402, 429 without an end: the quota is used up", _used_up, 3, 40),
    Kind("400, 409, 413, 422, ...: one run is rejected, and retried", _rejected, 4, 117),
    Kind("upload URL refused, before or amid the bytes", _expired, 6, 200),
)
