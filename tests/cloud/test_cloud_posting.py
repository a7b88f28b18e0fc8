"""A new run is on the platform once, whatever becomes of the answer to its POST."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading

import pytest
from support.proxy import POST_RUN, UPLOAD_URL

import nxtrack
from nxtrack.cloud import Application, Client, PollingOptions, retries
from nxtrack.cloud.markers import Listing, marked, new_id
from nxtrack.errors import (
    AccessRefused,
    NotReached,
    RateLimited,
    Redirected,
    Rejected,
    RunUnconfirmed,
    UploadExpired,
)

QUICK = PollingOptions(initial_delay=0.05, delay=0.05, backoff=0.0, jitter=0.05)
LIST = r"/runs(\?pagetoken.*)?$"


@pytest.fixture
def name(request):
    """A name of its own for the runs of a test, as all tests share a platform."""
    return request.node.name


@pytest.fixture
def taken(routing, name):
    """Gives the ids of the runs of this test that the platform has."""

    def look():
        return [run.id for run in routing.list_runs() if run.name == name]

    return look


def test_a_lost_answer_is_found_in_the_list(flaky, astray, taken, name, caplog):
    flaky.fail("POST", POST_RUN, forward=True)
    run_id = astray.new_run({}, name=name)
    assert taken() == [run_id]
    assert flaky.count("POST", POST_RUN) == 1
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("nxtrack", logging.WARNING)
    assert "Looking for the run" in record.message


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_server_error_may_have_taken_the_run(flaky, astray, taken, name, status):
    flaky.fail("POST", POST_RUN, forward=True, status=status)
    assert [astray.new_run({}, name=name)] == taken()
    assert flaky.count("POST", POST_RUN) == 1


@pytest.mark.parametrize("status", [302, 303])
def test_a_redirect_may_have_taken_the_run(flaky, astray, taken, name, status):
    """As 303 it even says so; delivery looks for the run as well."""
    flaky.fail("POST", POST_RUN, forward=True, status=status)
    assert [astray.new_run({}, name=name)] == taken()
    assert flaky.count("POST", POST_RUN) == 1


def test_after_a_redirect_a_run_is_not_sent_again(flaky, astray, taken, name):
    flaky.fail("POST", POST_RUN, status=302)
    with pytest.raises(Redirected, match="check the endpoint"):
        astray.new_run({}, name=name)
    assert flaky.count("POST", POST_RUN) == 1
    assert taken() == []


def test_who_redirects_everything_is_not_the_platform(flaky, astray, name):
    nxtrack.configure(settle=300)
    for method, path in (("POST", POST_RUN), ("GET", LIST)):
        flaky.fail(method, path, status=302, times=-1)
    with pytest.raises(Redirected, match="check the endpoint"):
        astray.new_run({}, name=name)
    assert (flaky.count("POST", POST_RUN), flaky.count("GET", LIST)) == (1, 1)


def test_what_was_not_taken_is_sent_again_after_the_settle_time(flaky, astray, taken, name):
    flaky.fail("POST", POST_RUN)
    run_id = astray.new_run({}, name=name)
    assert taken() == [run_id]
    assert flaky.count("POST", POST_RUN) == 2
    assert flaky.count("GET", LIST) >= 2  # at once, and when the time was over


def test_a_run_that_shows_up_late_is_not_sent_again(flaky, astray, taken, name):
    """The list does not have it at first."""
    nxtrack.configure(settle=30)
    flaky.fail("POST", POST_RUN, forward=True)
    flaky.fail("GET", LIST, status=200, body=b'{"runs": []}', times=2)
    run_id = astray.new_run({}, name=name)
    assert taken() == [run_id]
    assert flaky.count("GET", LIST) == 3


def test_a_list_that_cannot_be_read_leaves_it_open(flaky, astray, taken, name):
    flaky.fail("POST", POST_RUN, forward=True)
    flaky.fail("GET", LIST, times=999, status=500)
    with pytest.raises(RunUnconfirmed, match="look for nxtrack:") as caught:
        astray.new_run({}, name=name)
    assert flaky.count("POST", POST_RUN) == 1
    flaky.faults.clear()
    (run_id,) = taken()
    assert astray.run_metadata(run_id).description == caught.value.marker
    assert caught.value.marker in str(caught.value)


def test_a_list_that_breaks_off_for_a_while_is_looked_at_again(flaky, astray, taken, name):
    nxtrack.configure(settle=30)
    flaky.fail("POST", POST_RUN, forward=True)
    flaky.fail("GET", LIST, times=3, status=404)
    assert [astray.new_run({}, name=name)] == taken()


def test_it_is_not_sent_for_ever(flaky, astray, taken, name):
    flaky.fail("POST", POST_RUN, times=99)
    with pytest.raises(RunUnconfirmed, match="No answer came to any of 3 tries"):
        astray.new_run({}, name=name)
    assert flaky.count("POST", POST_RUN) == 3
    assert taken() == []


def test_a_ctrl_c_tells_what_to_look_for(flaky, astray, taken, name):
    nxtrack.configure(settle=60)
    flaky.fail("POST", POST_RUN, forward=True)
    flaky.fail("GET", LIST, times=999, status=200, body=b'{"runs": []}')
    stopper = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    stopper.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        astray.new_run({}, name=name)
    flaky.faults.clear()
    (run_id,) = taken()
    assert astray.run_metadata(run_id).description in caught.value.__notes__[0]


def test_every_try_carries_the_same_marker(flaky, astray, taken, name):
    """A platform that shows a run only after the settle time: then there are two, and both can be told."""
    flaky.fail("POST", POST_RUN, forward=True)
    flaky.fail("GET", LIST, times=999, status=200, body=b'{"runs": []}')
    astray.new_run({}, name=name, description="why")
    flaky.faults.clear()
    first, second = (astray.run_metadata(run_id).description for run_id in taken())
    assert first == second
    assert re.fullmatch(r"why\n\nnxtrack:[0-9A-Z]{26}", first)


def test_too_many_requests_are_waited_out(flaky, astray, taken, name):
    flaky.fail("POST", POST_RUN, status=429, headers={"Retry-After": "0"}, times=3)
    assert [astray.new_run({}, name=name)] == taken()
    assert flaky.count("GET", LIST) == 0


def test_a_longer_wait_than_is_waited_is_told(flaky, astray, taken, name):
    flaky.fail("POST", POST_RUN, status=429, headers={"Retry-After": "3000"})
    with pytest.raises(RateLimited, match="asks to wait 3000 s"):
        astray.new_run({}, name=name)
    assert flaky.count("POST", POST_RUN) == 1
    assert taken() == []


@pytest.mark.parametrize(("status", "error"), [(400, Rejected), (403, AccessRefused)])
def test_a_refusal_is_told_at_once(*, flaky, astray, taken, name, status, error):
    flaky.fail("POST", POST_RUN, status=status)
    with pytest.raises(error):
        astray.new_run({}, name=name)
    assert flaky.count("POST", POST_RUN) == 1
    assert flaky.count("GET", LIST) == 0
    assert taken() == []


def test_a_platform_out_of_reach(name):
    with Client("key", "http://127.0.0.1:9", patience=retries.Patience(backoff=0.01)) as client:
        with pytest.raises(NotReached):
            Application("routing", client).new_run({}, name=name)
        assert client.connections_opened == 3
        assert client.requests_sent == 0


def test_uploads_and_what_asks_for_them_are_repeated(flaky, astray, taken, name):
    flaky.fail("POST", UPLOAD_URL, times=2)
    flaky.fail("PUT", "/uploads/", times=1)
    flaky.fail("PUT", "/uploads/", times=1, forward=True)
    run_id = astray.new_run("x" * 5_200_000, name=name)
    assert [run_id] == taken()
    assert astray.run_input(run_id) == b"x" * 5_200_000


def test_an_url_that_expires_is_asked_for_again(flaky, astray):
    flaky.fail("PUT", "/uploads/", status=403, times=2)
    assert astray.track_run(b"{}")
    assert flaky.count("POST", UPLOAD_URL) == 3


def test_a_given_url_that_has_expired_is_the_callers_to_replace(flaky, astray):
    place = astray.upload_url()
    flaky.fail("PUT", "/uploads/", status=403, times=99)
    with pytest.raises(UploadExpired) as caught:
        astray.upload({}, place)
    assert place.upload_url.partition("?")[2] not in str(caught.value)
    assert flaky.count("POST", UPLOAD_URL) == 1


def test_a_tracked_run_is_posted_as_surely(flaky, astray, taken, name):
    flaky.fail("POST", POST_RUN, forward=True)
    assert [astray.track_run({}, {"a": 1}, name=name)] == taken()
    assert flaky.count("POST", POST_RUN) == 1


@pytest.mark.parametrize("step", ["/metadata$", "/runs/[^/]*$", "/output", "/downloads/", "/logs$"])
@pytest.mark.parametrize(
    "how", [{}, {"status": 503}, {"status": 429, "headers": {"Retry-After": "0"}}, {"forward": True}]
)
def test_reading_is_repeated(*, flaky, astray, routing, tmp_path, step, how):
    run_id = routing.track_run({"a": 1}, {"b": "y" * 100}, "log\n")
    flaky.fail("GET", step, times=2, **how)
    assert astray.run_result(run_id).output == {"b": "y" * 100}
    assert astray.run_output(run_id, tmp_path / "o").read_bytes() == astray.run_output(run_id)
    assert astray.run_logs(run_id) == "log\n"
    assert not flaky.faults[0].times


def test_canceling_is_repeated_and_deleting_is_not(flaky, astray):
    run_id = astray.new_run({"sleep": 60})
    flaky.fail("PATCH", "/cancel$", forward=False)
    astray.cancel_run(run_id)
    assert astray.wait_for_run(run_id, QUICK).metadata.outcome == "canceled"
    flaky.fail("DELETE", run_id, forward=True)
    with pytest.raises(Exception, match="may have done"):
        astray.delete_run(run_id)


def test_many_at_once_are_each_there_once(flaky, astray, taken, name):
    """Threads share a client; every third answer is lost, before or after the platform took the run."""
    for number in range(8):
        flaky.fail("POST", POST_RUN, skip=number % 3, forward=bool(number % 2))
    ids = []
    threads = [threading.Thread(target=lambda: ids.append(astray.new_run({}, name=name))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ids) == sorted(taken())
    assert len(ids) == 16


def test_markers_are_told_apart(routing, name):
    """Only whole ones count, and of several in a description each."""
    from datetime import timedelta

    first, second = new_id(), new_id()
    run_id = routing.track_run({}, name=name, description=f"again nxtrack:{first} and nxtrack:{second}x nxtrack:abc")
    listing = Listing(routing)
    assert listing.find(first, timedelta(hours=1)) == run_id
    assert listing.find(second, timedelta(hours=1)) is None
    assert marked("a", first) == f"a\n\nnxtrack:{first}"
