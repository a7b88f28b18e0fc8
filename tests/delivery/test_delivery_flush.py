"""Whole flushes over real HTTP: what arrives, once, whatever happens to the answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from support.proxy import POST_RUN, UPLOAD_URL

import nxtrack
from nxtrack.cli.flush import exit_status
from nxtrack.errors import CredentialsMissing, SettingsError
from nxtrack.spool import claims


@nxtrack.track(app_id="routing", options=["limit"])
def solve(problem, limit=10):
    print(f"solving {problem}")
    if problem.get("bad"):
        raise ValueError("no route")
    return {"routes": problem["stops"], "metrics": {"cost": 3}}


def solved(number: int, **more: object) -> None:
    for index in range(number):
        solve({"stops": [index], **more})


def states(runs) -> list[str]:
    return [entry.state for entry in runs.entries()]


def arrived(application) -> list:
    return list(application.list_runs())


def test_everything_of_a_run_arrives(runs, proxy, application):
    solve({"stops": [1, 2]}, limit=3)
    with pytest.raises(ValueError, match="no route"):
        solve({"stops": [], "bad": True})
    report = nxtrack.flush()
    assert (len(report.synced), report.rejected, report.pending) == (2, [], 0)
    assert states(runs) == ["synced", "synced"]
    by_id = {synced.id: synced.run_id for synced in report.synced}
    good, bad = (application.run_result(by_id[entry.run_id]) for entry in runs.entries())
    assert good.output == {"routes": [1, 2], "metrics": {"cost": 3}}
    assert good.metadata.status_v2 == "succeeded"
    assert good.metadata.options.request_options == {"limit": "3"}
    assert application.run_input(good.id) == b'{"stops":[1,2]}'
    assert application.run_logs(good.id) == "solving {'stops': [1, 2]}\n"
    assert bad.metadata.status_v2 == "failed"
    assert bad.metadata.error == "ValueError: no route"
    logs = application.run_logs(bad.id)
    assert logs.startswith("solving {'stops': [], 'bad': True}\nTraceback (most recent call last):\n")
    assert logs.endswith("ValueError: no route\n")


def test_the_marker_stands_in_the_description(runs, proxy, application):
    with nxtrack.track(app_id="routing", input=1, description="nightly", name="what-if"):
        pass
    report = nxtrack.flush()
    item = arrived(application)[0]
    assert item.description == f"nightly\n\nnxtrack:{report.synced[0].id}"
    assert application.run_metadata(item.id).name == "what-if"


def test_a_run_without_input_or_output_arrives_with_an_empty_input(runs, proxy, application):
    with nxtrack.track(app_id="routing"):
        pass
    report = nxtrack.flush()
    assert application.run_input(report.synced[0].run_id) == b"{}"


def test_payloads_larger_than_a_frame_arrive_byte_for_byte(runs, proxy, application):
    big = {"stops": list(range(50_000))}
    solve(big)
    report = nxtrack.flush()
    assert json.loads(application.run_input(report.synced[0].run_id)) == big


def test_an_answer_lost_after_the_platform_took_the_run_is_found_again(runs, proxy, application):
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True)
    report = nxtrack.flush()
    assert len(report.synced) == 1
    assert len(arrived(application)) == 1
    assert proxy.count("POST", POST_RUN) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("forward", [True, False])
def test_a_server_error_is_ambiguous_whether_or_not_the_run_was_taken(runs, proxy, application, status, forward):
    nxtrack.configure(settle=0)
    solved(1)
    proxy.fail("POST", POST_RUN, forward=forward, status=status, body=b"oops")
    report = nxtrack.flush()
    assert len(report.synced) == 1
    assert len(arrived(application)) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"run_id": 3}', b"[]"])
def test_a_success_that_makes_no_sense_is_ambiguous_too(runs, proxy, application, body):
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True, status=200, body=body)
    assert len(nxtrack.flush().synced) == 1
    assert len(arrived(application)) == 1


def test_a_run_the_platform_never_saw_is_posted_again_only_after_the_settling_time(runs, proxy, application):
    nxtrack.configure(settle=2.5)
    solved(1)
    proxy.fail("POST", POST_RUN)
    report = nxtrack.flush()
    assert (report.synced, report.pending, report.unconfirmed) == ([], 1, 1)
    assert states(runs) == ["unconfirmed"]
    assert nxtrack.flush().unconfirmed == 1
    assert proxy.count("POST", POST_RUN) == 1
    time.sleep(2.5)
    assert len(nxtrack.flush().synced) == 1
    assert len(arrived(application)) == 1


def test_an_unconfirmed_run_waits_while_the_list_cannot_be_read(runs, proxy, application):
    nxtrack.configure(settle=0)
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True)
    proxy.fail("GET", POST_RUN, times=2, status=500)
    assert nxtrack.flush().unconfirmed == 1
    assert nxtrack.flush().unconfirmed == 1
    assert len(nxtrack.flush().synced) == 1
    assert len(arrived(application)) == 1


def test_a_lagging_list_is_survived_within_the_settling_time(runs, proxy, application):
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True)
    proxy.fail("GET", POST_RUN, times=2, status=200, body=b'{"runs": []}')
    assert nxtrack.flush().unconfirmed == 1
    assert nxtrack.flush().unconfirmed == 1
    assert len(nxtrack.flush().synced) == 1
    assert len(arrived(application)) == 1


def test_broken_uploads_are_made_again(runs, proxy, application):
    solved(1)
    proxy.fail("POST", UPLOAD_URL)
    proxy.fail("PUT", "", status=503)
    proxy.fail("PUT", "", forward=True)
    proxy.fail("PUT", "", status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    assert len(nxtrack.flush().synced) == 1
    run = arrived(application)[0]
    assert application.run_input(run.id) == b'{"stops":[0]}'


def test_too_many_requests_are_waited_for(runs, proxy, application):
    solved(2)
    proxy.fail("POST", POST_RUN, status=429, headers={"Retry-After": "1"})
    start = time.monotonic()
    assert len(nxtrack.flush().synced) == 2
    assert time.monotonic() - start >= 1
    assert len(arrived(application)) == 2


@pytest.mark.parametrize(("status", "word"), [(400, "400"), (413, "413"), (422, "422")])
def test_a_refused_run_is_kept_as_rejected_and_the_others_go_on(runs, proxy, application, status, word):
    solved(3)
    proxy.fail("POST", POST_RUN, status=status, body=b'{"error": "not like this"}')
    report = nxtrack.flush()
    assert (len(report.synced), len(report.rejected), report.pending) == (2, 1, 0)
    assert word in report.rejected[0].error
    assert "not like this" in report.rejected[0].error
    assert sorted(states(runs)) == ["rejected", "synced", "synced"]
    from nxtrack.spool.retention import retry

    assert retry(runs, report.rejected[0].id)
    assert len(nxtrack.flush().synced) == 1
    assert len(arrived(application)) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_application_that_may_not_be_used_stops_alone_and_keeps_its_runs(runs, proxy, application, status):
    solved(4)
    with nxtrack.track(app_id="other", input=1):
        pass
    proxy.fail("POST", "/routing/", times=99, status=status, body=b'{"error": "no"}')
    report = nxtrack.flush()
    assert [synced.app_id for synced in report.synced] == ["other"]
    assert (report.pending, report.refused) == (4, True)
    assert states(runs).count("ready") == 4
    proxy.faults.clear()
    assert len(nxtrack.flush().synced) == 4
    assert len(arrived(application)) == 4


def test_a_platform_out_of_reach_keeps_everything(runs, proxy):
    solved(5)
    nxtrack.configure(endpoint="http://127.0.0.1:9")
    report = nxtrack.flush()
    assert (report.synced, report.pending) == ([], 5)
    assert any("127.0.0.1:9" in problem for problem in report.problems)
    assert states(runs) == ["ready"] * 5


def test_a_missing_key_says_what_to_do_and_what_was_kept(runs, proxy):
    solved(2)
    nxtrack.configure(api_key=None)
    with pytest.raises(CredentialsMissing, match=r"NEXTMV_API_KEY.* 2 runs kept\."):
        nxtrack.flush()
    assert states(runs) == ["ready"] * 2


def test_an_empty_spool_needs_no_key(runs):
    assert nxtrack.flush().pending == 0


def test_runs_without_an_application_wait_for_one(runs, proxy):
    with nxtrack.track(input=1):
        pass
    report = nxtrack.flush()
    assert (report.pending, report.refused) == (1, True)
    assert "NEXTMV_APP_ID" in report.problems[0]
    assert nxtrack.flush(app_id="late").synced[0].app_id == "late"


def test_an_application_that_cannot_be_named_in_a_url_is_told(runs, proxy):
    with nxtrack.track(app_id="no/such app", input=1):
        pass
    report = nxtrack.flush()
    assert (report.pending, report.refused) == (1, True)


def test_only_the_runs_of_one_application(runs, proxy):
    solved(2)
    with nxtrack.track(app_id="other", input=1):
        pass
    report = nxtrack.flush(app_id="other")
    assert ([synced.app_id for synced in report.synced], report.pending) == (["other"], 0)
    assert states(runs).count("ready") == 2


def test_limit_and_timeout_leave_the_rest_pending(runs, proxy):
    solved(4)
    report = nxtrack.flush(limit=1)
    assert (len(report.synced), report.pending) == (1, 3)
    report = nxtrack.flush(timeout=0)
    assert (len(report.synced), report.pending) == (0, 3)


def test_a_damaged_payload_is_set_aside_and_the_others_go_on(runs, proxy, application):
    solve({"stops": list(range(50_000))})
    solved(1)
    entry = next(runs.entries())
    path = runs.paths.payload(f"{entry.run_id}.0.json")
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"X")
    report = nxtrack.flush()
    assert len(report.synced) == 1
    assert "does not match its checksum" in report.problems[0]
    assert runs.summary().quarantined == 1
    assert len(arrived(application)) == 1


def test_what_was_uploaded_before_a_crash_is_not_uploaded_again(runs, proxy, application):
    solved(1)
    proxy.fail("POST", POST_RUN, status=404)
    assert nxtrack.flush().pending == 1
    puts = proxy.count("PUT", "")
    assert puts == 3
    assert len(nxtrack.flush().synced) == 1
    assert proxy.count("PUT", "") == puts


def test_a_run_already_posted_is_only_marked(runs, proxy, application):
    """A flusher that dies between the platform's answer and the new name leaves a journal that says it all."""
    from nxtrack.spool.records import Posted, now

    solved(1)
    entry = next(runs.entries())
    claimed = claims.claim(runs, entry.run_id, "ready")
    claimed.checkpoint(Posted(run_id="x-1", app_id="routing", place="p", at=now()))
    claimed.release()
    report = nxtrack.flush()
    assert report.synced[0].run_id == "x-1"
    assert states(runs) == ["synced"]
    assert proxy.count("POST", POST_RUN) == 0


def test_a_run_posted_to_another_platform_is_not_posted_here(runs, proxy, platform, application):
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True)
    proxy.fail("GET", POST_RUN, status=500)
    assert nxtrack.flush().unconfirmed == 1
    nxtrack.configure(endpoint=platform.url, settle=0)
    report = nxtrack.flush()
    assert (report.unconfirmed, len(arrived(application))) == (1, 1)
    assert any(proxy.url in problem for problem in report.problems)


def test_several_flushes_at_once_deliver_each_run_once(runs, proxy, application):
    solved(30)
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(nxtrack.flush())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(report.synced) for report in reports) == 30
    assert len({synced.id for report in reports for synced in report.synced}) == 30
    assert len(arrived(application)) == 30


def test_connections_are_kept_and_no_more_than_the_jobs(runs, proxy):
    solved(40)
    nxtrack.configure(jobs=4)
    assert len(nxtrack.flush().synced) == 40
    assert proxy.connections <= 4


def test_the_pace_of_run_posts_holds(runs, proxy):
    solved(6)
    nxtrack.configure(rate=10)
    start = time.monotonic()
    assert len(nxtrack.flush().synced) == 6
    assert time.monotonic() - start >= 0.5


def test_an_application_that_only_fails_is_left_after_some_tries(runs, proxy):
    nxtrack.configure(jobs=1)
    solved(8)
    proxy.fail("POST", POST_RUN, times=99, status=500)
    proxy.fail("GET", POST_RUN, times=99, status=500)
    report = nxtrack.flush()
    assert (report.synced, report.pending) == ([], 8)
    assert proxy.count("POST", POST_RUN) == 5
    assert states(runs).count("unconfirmed") == 5


def test_wrong_settings_are_told_before_anything_is_done(runs, proxy, monkeypatch):
    solved(1)
    monkeypatch.setenv("NXTRACK_SETTLE", "soon")
    nxtrack.configure(settle=None)
    with pytest.raises(SettingsError, match="NXTRACK_SETTLE"):
        nxtrack.flush()


def test_a_log_that_is_no_utf8_arrives_escaped(runs, proxy, application):
    with nxtrack.track(app_id="routing", input=1) as run:
        pass
    with open(runs.paths.log(run.id), "wb") as log:
        log.write(b"caf\xe9 \xc3\xa9 " * 30_000 + "é".encode()[:1])
    report = nxtrack.flush()
    assert len(report.synced) == 1, report
    assert application.run_logs(report.synced[0].run_id) == (
        "caf\\xe9 é " * 30_000 + "\\xc3\n[nxtrack: bytes that are no UTF-8, shown as \\xNN: 30,001]\n"
    )


def test_the_local_platform_is_reached_past_a_proxy(runs, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    solved(1)
    assert len(nxtrack.flush().synced) == 1


def test_a_spool_that_is_too_large_loses_its_delivered_runs(runs, proxy):
    solved(2)
    nxtrack.configure(max_spool=1)
    report = nxtrack.flush(limit=1)
    assert (len(report.synced), report.pending) == (1, 1)
    assert states(runs) == ["ready"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 302])
def test_whatever_the_list_answers_an_unconfirmed_run_stays_so(runs, proxy, application, status):
    """A refusal of the list says nothing about the run, which the platform may have."""
    nxtrack.configure(settle=0)
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True)
    fault = proxy.fail("GET", POST_RUN, times=99, status=status, body=b'{"error": "no"}')
    for _ in range(2):
        assert nxtrack.flush().unconfirmed == 1
        assert states(runs) == ["unconfirmed"]
    fault.times = 0
    assert len(nxtrack.flush().synced) == 1
    assert len(arrived(application)) == 1


def test_runs_that_are_not_settled_keep_nobody_waiting(runs, proxy, application):
    solved(8)
    proxy.fail("POST", POST_RUN, times=8)
    nxtrack.flush(limit=4)
    nxtrack.flush(limit=4)
    proxy.faults.clear()
    solved(6)
    report = nxtrack.flush()
    waiting = states(runs).count("unconfirmed")
    assert waiting >= 4
    assert (len(report.synced), report.unconfirmed) == (14 - waiting, waiting)


def test_runs_that_always_fail_end_behind_the_others(runs, proxy, application):
    nxtrack.configure(settle=0, jobs=1)
    for number in range(7):
        with nxtrack.track(app_id="routing", input=number, instance_id="poison"):
            pass
    solved(3)
    proxy.fail("POST", "instance_id=poison", times=999, status=500)
    for _ in range(3):
        nxtrack.flush()
    assert states(runs).count("synced") == 3


def test_many_unconfirmed_runs_are_looked_for_in_one_reading_of_the_list(runs, proxy, application):
    nxtrack.configure(jobs=2)
    solved(12)
    proxy.fail("POST", POST_RUN, times=99, forward=True)
    proxy.fail("GET", POST_RUN, times=99, status=500)
    for _ in range(4):
        nxtrack.flush()
    proxy.faults.clear()
    proxy.seen.clear()
    assert len(nxtrack.flush().synced) == 12
    assert len(arrived(application)) == 12
    assert proxy.count("GET", POST_RUN) <= 2


def test_a_redirect_is_a_matter_of_settings(runs, proxy):
    solved(1)
    proxy.fail("POST", UPLOAD_URL, status=302, headers={"Location": "http://127.0.0.1:9/"})
    report = nxtrack.flush()
    assert (report.refused, report.pending) == (True, 1)


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"timeout": -0.5}, {"timeout": "x"}, {"limit": []}])
def test_what_makes_no_sense_is_told(runs, wrong):
    with pytest.raises(SettingsError, match="from 0 up"):
        nxtrack.flush(**wrong)


def test_a_journal_whose_last_newline_changed_is_not_posted_again(runs, proxy, application):
    """It says that the run is being posted, and the platform has it."""
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True)
    proxy.fail("GET", POST_RUN, status=500)
    assert nxtrack.flush().unconfirmed == 1
    (entry,) = runs.entries()
    with open(runs.paths.run(entry.run_id, "unconfirmed"), "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x0b")
    report = nxtrack.flush()
    assert (report.synced, report.damaged) == ([], 1)
    assert len(arrived(application)) == 1


def test_a_wait_longer_than_a_flush_waits_is_left_to_a_later_one(runs, proxy, application):
    """In an hour the uploads would have expired, and the run would be rejected for it."""
    nxtrack.configure(jobs=1)
    solved(3)
    proxy.fail("POST", POST_RUN, status=429, headers={"Retry-After": "3600"})
    start = time.monotonic()
    report = nxtrack.flush()
    assert time.monotonic() - start < 30
    assert (report.synced, report.rejected, report.pending) == ([], [], 3)
    assert states(runs) == ["ready"] * 3
    assert len(nxtrack.flush().synced) == 3
    assert len(arrived(application)) == 3


def test_what_stands_in_recoverys_way_keeps_no_ready_run(runs, proxy, application):
    solved(2)
    python_that_dies = "import nxtrack\nwith nxtrack.track(app_id='routing', input=1):\n import os\n os._exit(1)"
    subprocess.run([sys.executable, "-c", python_that_dies], check=False)
    os.unlink(runs.paths.recovery_lock)
    os.mkdir(runs.paths.recovery_lock)
    report = nxtrack.flush()
    assert (len(report.synced), report.pending) == (2, 1)
    assert "cannot be recovered" in report.problems[0]
    os.rmdir(runs.paths.recovery_lock)
    assert len(nxtrack.flush().synced) == 1


def test_a_quota_that_is_used_up_keeps_all_runs_for_later(runs, proxy, application):
    solved(4)
    with nxtrack.track(app_id="other", input=1):
        pass
    proxy.fail("POST", "/routing/", times=99, status=402, body=b'{"error": "50 runs are the plan\'s"}')
    report = nxtrack.flush()
    assert [synced.app_id for synced in report.synced] == ["other"]
    assert (report.rejected, report.pending, report.refused) == ([], 4, False)
    assert exit_status(report) == 75
    assert "the quota is used up (402: 50 runs are the plan's)" in report.problems[0]
    proxy.faults.clear()
    assert len(nxtrack.flush().synced) == 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_post_that_is_redirected_may_have_been_taken_before(runs, proxy, application, status):
    nxtrack.configure(settle=0)
    solved(1)
    proxy.fail("POST", POST_RUN, forward=True, times=9, status=status, headers={"Location": "http://127.0.0.1:9/"})
    nxtrack.flush()
    proxy.faults.clear()
    nxtrack.flush()
    assert states(runs) == ["synced"]
    assert len(arrived(application)) == 1
