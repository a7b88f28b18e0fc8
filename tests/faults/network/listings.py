"""Lists that lag behind, come in odd orders and go round, and other oddities of a platform that is sound else."""

from __future__ import annotations

import json
import random
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from faults.bench import Solve
from faults.network.attempts import Attempt, attempt, delivered, wrong
from faults.network.babble import answer
from faults.network.breaker import POST_RUN, Breaker, Cut, Edit, Fault, Reply, Request
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.bench import Bench, Trial

    from nxtrack.delivery.report import FlushReport

LAG = 1.0
"""Seconds for which a list does not show a run."""

SETTLE = 3.0
"""Seconds that a run is given to show up: more than the list lags behind."""

Page = dict[str, Any]


def _lost_post() -> Cut:
    return Cut(method="POST", path=POST_RUN, side="answer", at=0, how="reset")


def _lags(bench: Bench, size: int) -> None:
    """The list shows a run only after a while, and the answers to the POSTs are lost: none is sent again too early."""
    hidden: set[str] = set()

    def hide(request: Request, body: bytes) -> bytes:
        page = json.loads(body)
        now = datetime.now(UTC).timestamp()
        shown = [run for run in page["runs"] if now - datetime.fromisoformat(run["created_at"]).timestamp() > LAG]
        hidden.update(run["id"] for run in page["runs"] if run not in shown)
        return json.dumps(page | {"runs": shown}).encode()

    solves = [Solve(number) for number in range(size)]
    with closing(Breaker(bench.url)) as breaker, bench.trial() as trial:
        lost = _lost_post()
        lost.times = size
        breaker.add(lost, Edit(method="GET", path=POST_RUN, times=-1, change=hide))
        trial.record(*solves)
        report = trial.drain(breaker.url, seconds=90, settle=SETTLE, jobs=4)
        arrived = trial.judge(*solves)
        bench.tally.injections += sum(run.run_id in hidden for run in arrived)
        delivered(trial, report, arrived, size)


def _foreign(number: int, **more: Any) -> dict[str, Any]:
    created = datetime.fromtimestamp(time.time() + 60, UTC).isoformat()
    return {"id": f"foreign-{number}", "name": "x", "description": "somebody else's", "created_at": created} | more


def _reversed(pages: list[Page]) -> list[Page]:
    return [{"runs": page["runs"][::-1]} for page in pages]


def _shuffled(pages: list[Page]) -> list[Page]:
    runs = [run for page in pages for run in page["runs"]] + [_foreign(number) for number in range(200)]
    random.Random(len(runs)).shuffle(runs)
    return [{"runs": runs[start : start + 17]} for start in range(0, len(runs), 17)]


def _behind(number: int, size: int) -> Callable[[list[Page]], list[Page]]:
    """Puts so many runs of others before the platform's own, in pages of a size."""

    def change(pages: list[Page]) -> list[Page]:
        before = [_foreign(index) for index in range(number)]
        return [{"runs": before[start : start + size]} for start in range(0, number, size)] + pages

    return change


def _beside(**more: Any) -> Callable[[list[Page]], list[Page]]:
    """Puts a run of somebody else's with odd fields on the first page."""
    return lambda pages: [{"runs": [_foreign(0, **more), *pages[0]["runs"]]}, *pages[1:]]


def _bare(pages: list[Page]) -> list[Page]:
    bare = [{"id": "foreign-bare"}, _foreign(1)]
    del bare[1]["description"], bare[1]["created_at"]
    return [{"runs": [*bare, *pages[0]["runs"]]}, *pages[1:]]


def _twice(pages: list[Page]) -> list[Page]:
    return [*pages, *pages]


def _empty_before(pages: list[Page]) -> list[Page]:
    return [{"runs": []}, {"runs": []}, *pages, {"runs": []}]


def _unmarked(pages: list[Page]) -> list[Page]:
    """Has others' runs speak of markers that are not ours."""
    texts = ("nxtrack:", "nxtrack:0", "nxtrack:" + "0" * 26, "nxtrack:" + "Z" * 27, "NXTRACK:" + "0" * 26)
    others = [_foreign(number, description=text) for number, text in enumerate(texts)]
    return [{"runs": [*others, *pages[0]["runs"]]}, *pages[1:]]


ORDERS: dict[str, Callable[[list[Page]], list[Page]]] = {
    "oldest first": _reversed,
    "in no order": _shuffled,
    "behind 3,000 runs of others": _behind(3000, 50),
    "behind 3,000 runs in pages of 7": _behind(3000, 7),
    "all pages twice": _twice,
    "empty pages between": _empty_before,
    "markers of others": _unmarked,
    "others without description and date": _bare,
    "description null": _beside(description=None),
    "created_at null": _beside(created_at=None),
    "created_at odd": _beside(created_at="yesterday"),
    "created_at without a zone": _beside(created_at="2026-11-22T08:00:00"),
    "name and status null": _beside(name=None, status=None, status_v2=None),
    "run_type null": _beside(run_type=None),
    "run_type a text": _beside(run_type="standard"),
    "options with numbers": _beside(options={"duration": 5, "nested": {"a": None}}),
    "metrics a list": _beside(metrics=[1, 2]),
    "fields unknown": _beside(queue={"position": 1}, tags=["a"], runtime=None),
    "user_email null": _beside(user_email=None),
}


def _served(order: Callable[[list[Page]], list[Page]], *, goes_round: bool = False) -> Edit:
    """Serves the platform's list page by page in another order; the last page may lead to itself."""
    pages: list[Page] = []

    def change(request: Request, body: bytes) -> bytes:
        number = int(request.path.partition("pagetoken=x")[2] or 0)
        if not number:
            pages[:] = order([json.loads(body)])
        page = {"runs": pages[number]["runs"]}
        if number + 1 < len(pages) or goes_round:
            page["next_page_token"] = f"x{min(number + 1, len(pages) - 1)}"
        return json.dumps(page).encode()

    return Edit(method="GET", path=POST_RUN, times=-1, change=change, bare=True)


def _orders(bench: Bench, size: int) -> None:
    """The list is well-formed and odd, after a POST that was taken or not: the run is found, or sent again once.

    A list that goes round, or has more pages than anybody looks through, does not tell whether a run is in it: the run
    is not sent again before the list is sound, and that is told.
    """
    plans: list[tuple[str, Edit, bool, bool]] = []
    for (name, order), taken in product(ORDERS.items(), (True, False)):
        plans.append((name, _served(order), taken, True))
    for (pages, each), taken in product(((2001, 5), (2001, 0), (2100, 1), (2001, 50)), (True, False)):
        plans.insert(1, (f"{pages} pages of {each}", _served(_endless_pages(pages, each)), taken, False))
    for name, taken in product(("oldest first", "in no order"), (True, False)):
        plans.append((f"{name}, going round", _served(ORDERS[name], goes_round=True), taken, taken))
    with closing(Breaker(bench.url)) as breaker:
        attempts = []
        for name, listed, taken, known in spread(plans, size):
            post: Fault = _lost_post()
            if not taken:
                post = Reply(method="POST", path=POST_RUN, content=answer(502), then="keep")
            what = f"{name}, {'taken' if taken else 'not taken'}"
            check = None if known else partial(_unknown, listed=listed, what=what)
            once = partial(_once, breaker=breaker, posts=1 if taken else 2, what=what)
            attempts.append(Attempt([post, listed], check, after=once))
        attempt(bench, breaker, attempts, together=4)


def _endless_pages(number: int, each: int) -> Callable[[list[Page]], list[Page]]:
    page = {"runs": [_foreign(index) for index in range(each)]}
    return lambda pages: [page] * number + pages


def _unknown(trial: Trial, report: FlushReport, *, listed: Edit, what: str) -> None:
    if report.unconfirmed != 1 or report.pending != 1:
        wrong(trial, f"{what}: {report}")
    listed.times = 0  # From now on the list is the platform's own.


def _once(trial: Trial, *, breaker: Breaker, posts: int, what: str) -> None:
    asked = len(breaker.asked("POST", POST_RUN, trial.application))
    if asked != posts:
        wrong(trial, f"{what}: posted {asked} times")


NAMES = (
    "5",
    "run with spaces",
    "run/with/slashes",
    "..",
    "run?x=1&y=2#z",
    "läuft-✓-🏃",
    "x" * 10_000,
    "line\nbreak\ttab",
    "nul\0inside",
    '"quotes" and \\backslashes\\',
    "%2e%2e%2f",
    "nxtrack:01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "\u202eturned",
    " ",
)


def _names(bench: Bench, size: int) -> None:
    """The platform calls a run by a strange id: it is kept as it is, and the run is delivered and not sent again."""
    with closing(Breaker(bench.url)) as breaker:
        for name, jobs in spread(list(product(NAMES, (1, 2))), size):
            with bench.trial() as trial:
                trial.record(Solve(1))
                renamed = Edit(
                    method="POST",
                    path=POST_RUN,
                    application=trial.application,
                    change=lambda request, body, name=name: json.dumps({"run_id": name, "more": [1]}).encode(),
                )
                breaker.add(renamed)
                report = trial.flush(breaker.url, jobs=jobs)
                bench.tally.injections += renamed.happened
                again = trial.flush(breaker.url)
                _called(trial, report, again, name)
                trial.judge(Solve(1))


def _called(trial: Trial, report: FlushReport, again: FlushReport, name: str) -> None:
    if (
        [run.run_id for run in report.synced] != [name]
        or again.synced
        or again.pending
        or trial.states()["synced"] != 1
    ):
        wrong(trial, f"a run called {name[:50]!r}: {str(report)[:500]}, then {again}")


KINDS: tuple[Kind, ...] = (
    Kind("the list lags behind, the answers are lost", _lags, 6, 80),
    Kind("lists in odd orders, with odd runs, without an end", _orders, 6, 60),
    Kind("strange run ids", _names, 4, 28),
)
