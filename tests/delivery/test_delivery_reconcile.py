"""The search for a run whose answer was lost: what could not be read is never taken for what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.proxy import POST_RUN

import nxtrack
from nxtrack.delivery.reconcile import Listing, Listings, marked
from nxtrack.errors import AnswerLost
from nxtrack.spool import ids, owner


def test_a_listing_that_broke_off_stays_broken_for_all_who_share_it(proxy, application):
    """Threads share one reading: the second must not take the first one's failure for the end of the list."""
    from nxtrack.cloud.application import Application
    from nxtrack.cloud.client import Client
    from nxtrack.cloud.credentials import Credentials

    posted = owner.moment()
    proxy.fail("GET", POST_RUN, status=500)
    with Client(Credentials(endpoint=proxy.url, api_key="key")) as client:
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
    Path(runs.paths.run(entry.run_id, "ready")).write_bytes(b"".join(lines[:sound]) + tail)
    assert len(nxtrack.flush().synced) == 1
    assert len(list(application.list_runs())) == 1
