"""The search for a run whose answer was lost: what could not be read is never taken for what is not there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.proxy import POST_RUN

import nxtrack
from nxtrack.cloud.markers import marked
from nxtrack.cloud.messages import RunListItem
from nxtrack.delivery.reconcile import Listing, Listings
from nxtrack.errors import AnswerLost
from nxtrack.spool import ids, owner

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_listing_that_broke_off_stays_broken_for_all_who_share_it(proxy, application):
    """Threads share one reading: the second must not take the first one's failure for the end of the list."""
    from nxtrack.cloud.application import Application
    from nxtrack.cloud.client import Client
    from nxtrack.cloud.retries import NEVER

    posted = owner.moment()
    proxy.fail("GET", POST_RUN, status=500)
    with Client(api_key="key", endpoint=proxy.url, patience=NEVER) as client:
        broken = Listing(Application("routing", client))
        for _ in range(3):
            with pytest.raises(AnswerLost):
                broken.find(ids.new_id(), posted)
    assert proxy.count("GET", POST_RUN) == 1


def test_a_run_that_was_posted_later_needs_a_new_listing(application):
    listings = Listings()
    before = owner.moment()
    first = listings.since(application, before)
    assert listings.since(application, before) is first
    assert listings.since(application, owner.moment()) is not first
    last = listings.since(application, before)
    listings.forget(first)
    assert listings.since(application, before) is last
    listings.forget(last)
    assert listings.since(application, before) is not last


def test_the_marker_stands_behind_the_description():
    assert marked(None, "X") == "nxtrack:X"
    assert marked("nightly", "X") == "nightly\n\nnxtrack:X"


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4096, b'12345678 {"t":"pos\0\0\0'])
def test_a_journal_that_a_power_cut_zeroed_may_have_told_of_a_post(runs, proxy, application, tail):
    nxtrack.configure(settle=0)
    with nxtrack.track(app_id="routing", input=1):
        pass
    proxy.fail("POST", POST_RUN, forward=True, times=9)
    proxy.fail("GET", r"/runs", times=99, status=500)
    assert nxtrack.flush().unconfirmed == 1
    proxy.faults.clear()
    (entry,) = runs.entries("unconfirmed")
    path = Path(runs.paths.run(entry.run_id, "unconfirmed"))
    lines = path.read_bytes().splitlines(keepends=True)
    sound = next(number for number, line in enumerate(lines) if b'"posting"' in line)
    path.unlink()
    Path(runs.paths.found(entry.run_id, "ready")).write_bytes(b"".join(lines[:sound]) + tail)
    assert len(nxtrack.flush().synced) == 1
    assert len(list(application.list_runs())) == 1


class Listed:
    """An application with so many runs, each a second older than the one before, by a clock of its own."""

    id = "routing"

    def __init__(self, newest: datetime, number: int, sought: dict[int, str]) -> None:
        self.read = 0
        self._newest, self._number, self._sought = newest, number, sought

    def list_runs(self, *, pages: int) -> Iterator[RunListItem]:
        for number in range(min(self._number, 50 * pages)):
            self.read += 1
            created = self._newest - timedelta(seconds=number)
            yield RunListItem(
                id=str(number), description=marked(None, self._sought.get(number, "")), created_at=created.isoformat()
            )


@pytest.mark.parametrize("year", [1970, 2020, 2026, 2100])
def test_a_run_is_looked_for_by_the_platforms_clock_whatever_ours_says(year):
    run_id = ids.new_id()
    listed = Listed(datetime(year, 5, 6, tzinfo=UTC), 10_000, {1800: run_id})
    posted = owner.moment()
    half_an_hour_ago = msgspec.structs.replace(posted, monotonic=posted.monotonic - 1800)
    assert Listing(listed).find(run_id, half_an_hour_ago) == "1800"


def test_the_search_ends_where_the_run_would_have_been():
    listed = Listed(datetime(2026, 5, 6, tzinfo=UTC), 10_000, {})
    assert Listing(listed).find(ids.new_id(), owner.moment()) is None
    assert 1000 <= listed.read < 1200


def test_after_a_restart_of_the_machine_it_is_looked_for_farther_back():
    listed = Listed(datetime(2026, 5, 6, tzinfo=UTC), 100_000, {})
    before = msgspec.structs.replace(owner.moment(), boot="another boot")
    assert Listing(listed).find(ids.new_id(), before) is None
    assert 86_400 < listed.read < 90_000
