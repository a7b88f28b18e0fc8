"""Platforms that answer with failures, babble and "too many requests", whether they took the run or not."""

from __future__ import annotations

import email.utils
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from faults.network import listings, objectstore, outages, refusals
from faults.network.attempts import Attempt, attempt, wrong
from faults.network.babble import answer, failing, redirects, unusable
from faults.network.breaker import POST_RUN, PUT_UPLOAD, UPLOAD_URL, Breaker, Cut, Fault, Reply
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from faults.bench import Bench, Trial

    from nxtrack.delivery.report import FlushReport

ONCE_EACH = {"POST": 1, "URL": 3, "PUT": 3, "LIST": 1}
"""Requests of a run of which none is repeated: it has an input, an output and logs."""

SETTLE = 0.4
"""Seconds that a run is given to show up where it was not taken."""

SLACK = 0.15
"""Seconds that a request may take from the flush, which counts from before, to where it is counted here."""


def _babble(bench: Bench, size: int, *, taken: bool) -> None:
    """The platform took a run, or did not, and its answer tells neither: the run is found by its marker and not sent
    again, or sent again after the settling time and no sooner."""
    useless = unusable()
    plans = [
        (name, content, then)
        for name, content in {**failing(), **useless, **redirects()}.items()
        for then in (("close", "stall") if name in useless else ("close", "keep"))
    ]
    plans.append(("200", answer(200, b" " * 1000), "trickle"))
    with closing(Breaker(bench.url)) as breaker:
        attempts = []
        for name, content, then in spread(plans, size):
            pause = 0.004 if then == "trickle" else 0.0
            reply = Reply(method="POST", path=POST_RUN, content=content, forward=taken, pause=pause)
            reply.then = "close" if pause else then
            check = partial(_sent_again, breaker=breaker, taken=taken, name=f"{name}, {then}")
            patience = {"answer_wait": 0.2} if then in {"stall", "trickle"} else {}
            # That a redirect is never followed is a matter of the endpoint, and may be told as such.
            left = (2, 75) if name[0] == "3" else (75,)
            attempts.append(Attempt([reply], settle=SETTLE, left=left, first=patience, after=check))
        attempt(bench, breaker, attempts, together=16)


def _sent_again(trial: Trial, *, breaker: Breaker, taken: bool, name: str) -> None:
    """Counts as wrong a run that was sent again although it was taken, or too soon when it was not."""
    posts = [request.at for request in breaker.asked("POST", POST_RUN, trial.application)]
    if len(posts) != (1 if taken else 2):
        wrong(trial, f"{name}: sent {len(posts)} times")
    elif not taken and posts[1] - posts[0] < SETTLE - SLACK:
        wrong(trial, f"{name}: sent again after {posts[1] - posts[0]:.3f} s")


@dataclass(frozen=True)
class Wait:
    """A `Retry-After`, and the seconds that it asks for; None for one that says nothing.

    Attributes:
        until: The time that it names, in seconds since the epoch, if it is a date to be waited for.
    """

    header: str
    seconds: float | None
    until: float = 0.0


def _waits() -> list[Wait]:
    until = int(time.time()) + 2
    soon, past = (email.utils.formatdate(moment, usegmt=True) for moment in (until, until - 600))
    said = [
        Wait("0", 0),
        Wait("1", 1),
        Wait("0.3", 0.3),
        Wait(soon, 0, until),
        Wait("120", 120),
        Wait("999999999", 1e9),
    ]
    said += [Wait("Sun, 22 Nov 2122 08:00:00 GMT", 1e9), Wait("7200", 7200)]
    nonsense = ("", past, "-5", "soon", "1e3", "0x10", "1000000000", "Sun, 99 Nov 2026", "NaN", "1,5", "٣", "1 2")
    return said + [Wait(header, None) for header in nonsense]


def _limited(bench: Bench, size: int) -> None:
    """Too many requests, with a wait of any spelling: the wait is kept to, or the run is left for later and told."""
    places = {
        "POST": ("POST", POST_RUN),
        "URL": ("POST", UPLOAD_URL),
        "PUT": ("PUT", PUT_UPLOAD),
        "LIST": ("GET", POST_RUN),
    }
    plans = list(product(places, range(len(_waits())), (1, 4)))
    with closing(Breaker(bench.url)) as breaker:
        chosen = spread(plans, size)
        for start in range(0, len(chosen), 16):
            waits = _waits()  # anew, as some are dates
            attempts = []
            for place, number, times in chosen[start : start + 16]:
                wait = waits[number]
                reply = answer(429, b'{"error": "slow down"}', Retry_After=wait.header.encode().decode("latin-1"))
                method, path = places[place]
                faults: list[Fault] = [Reply(method=method, path=path, content=reply, times=times, then="keep")]
                if place == "LIST":
                    faults.append(Cut(method="POST", path=POST_RUN, side="answer", at=0, how="reset"))
                check = partial(_waited, breaker=breaker, place=(place, method, path), wait=wait, times=times)
                attempts.append(Attempt(faults, check))
            attempt(bench, breaker, attempts, together=16)


def _waited(
    trial: Trial, report: FlushReport, *, breaker: Breaker, place: tuple[str, str, str], wait: Wait, times: int
) -> None:
    """Checks a first flush by what a refusal asks for: it goes on after the wait, or leaves the run for later."""
    name, method, path = place
    asked = [request.at for request in breaker.asked(method, path, trial.application)]
    seconds = wait.seconds or 0.0
    later = times == 4 or seconds > 60 or name == "LIST"
    if later != bool(report.pending):
        wrong(trial, f"429 to {name}, Retry-After {wait.header!r}, {times} times: {report}")
    if seconds > 60 and len(asked) > ONCE_EACH[name]:
        wrong(trial, f"429 to {name}, Retry-After {wait.header!r}: asked again in the same flush")
    if 0 < seconds < 60 and name != "LIST" and asked[1] - asked[0] < seconds - 0.01:
        wrong(trial, f"429 to {name}, Retry-After {wait.header!r}: asked after {asked[1] - asked[0]:.3f} s")
    if wait.until and name != "LIST":
        early = wait.until - (time.time() - (time.monotonic() - asked[1]))
        if early > 0.01:
            wrong(trial, f"429 to {name}, Retry-After {wait.header!r}: asked again {early:.3f} s before")
    for fault in [fault for fault in breaker.faults if fault.application == trial.application]:
        fault.times = 0  # The platform takes everything again.


KINDS: tuple[Kind, ...] = (
    Kind("run taken, the answer fails or babbles", partial(_babble, taken=True), 12, 400),
    Kind("run not taken, the answer fails or babbles", partial(_babble, taken=False), 10, 400),
    Kind("429 at every request, Retry-After in all spellings", _limited, 8, 160),
    *refusals.KINDS,
    *outages.KINDS,
    *listings.KINDS,
    *objectstore.KINDS,
)
