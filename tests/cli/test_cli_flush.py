"""`nxtrack flush`: what is delivered, said, and what the exit status is."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from nxtrack.cli import bar
from nxtrack.cloud.client import Client
from nxtrack.spool import claims, owner
from nxtrack.spool.records import Posting

REPORT = {"synced", "rejected", "pending", "recovered", "problems", "unconfirmed", "damaged", "refused"}


def states(spool):
    return [entry.state for entry in spool.entries()]


def unconfirmed(spool, run_id, url):
    """Makes a run whose POST went unanswered just now."""
    claimed = claims.claim(spool, run_id, "ready")
    claimed.checkpoint(Posting(place=f"{url}/v1/applications/routing", moment=owner.moment()))
    claimed.settle("unconfirmed")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_all_is_delivered(process, solved, platform, spool):
    served = platform()
    ids = solved(4)
    done = process("flush")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"4 of 4 delivered in \d+(\.\d)? m?s\.\n", done.stdout)
    assert len(served.runs()) == 4
    assert states(spool) == ["synced"] * len(ids)
    done = process("flush")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Nothing to deliver.\n", "")


def test_the_report_in_json(process, solved, platform):
    served = platform()
    ids = solved(2)
    done = process("flush", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert set(found) == REPORT
    assert sorted(run["id"] for run in found["synced"]) == ids
    assert {run["run_id"] for run in found["synced"]} == {run.id for run in served.runs()}
    assert {run["app_id"] for run in found["synced"]} == {"routing"}
    assert (found["rejected"], found["pending"], found["problems"]) == ([], 0, [])


def test_the_pace_is_told_where_it_took_the_time(call, solved, platform):
    platform()
    solved(8)
    status, out, _ = call("flush", "--rate", "6", "--jobs", "2")
    assert status == 0
    assert re.fullmatch(r"8 of 8 delivered in .* \(platform limit 6 runs/s\)\.\n", out)


def test_rejected_runs_are_kept_and_told(call, solved, platform, spool):
    platform(upload=2000)
    solved(7, data={"text": "x" * 3000})
    solved(2)
    status, out, err = call("flush")
    assert status == 1
    assert out.startswith("2 of 9 delivered in ")
    lines = err.splitlines()
    assert len(lines) == 6
    assert re.match(r"Run \w{26} was rejected and is kept: .*413.* `nxtrack show \w{26}`$", lines[0])
    assert lines[5] == "2 more runs rejected and kept: `nxtrack list --state rejected`"
    assert states(spool).count("rejected") == 7
    assert call("flush")[:2] == (
        0,
        "Nothing to deliver. 7 rejected runs kept: `nxtrack list --state rejected`.\n",
    )
    call("retry", "--all")
    status, out, _ = call("flush", "--json")
    assert status == 1
    assert len(json.loads(out)["rejected"]) == 7
    assert json.loads(out)["rejected"][0].keys() == {"id", "error"}


def test_limit_timeout_and_application(call, solved, platform):
    served = platform()
    solved(3)
    solved(2, app_id="packing")
    status, out, err = call("flush", "--limit", "1")
    assert status == 75
    assert out.startswith("1 of 5 delivered")
    assert err == "4 runs left for the next flush.\n"
    status, out, err = call("flush", "--timeout", "0")
    assert (status, out, err) == (75, "", "4 runs left for the next flush.\n")
    status, out, err = call("flush", "--app-id", "packing")
    assert (status, err) == (0, "")
    assert out.startswith("2 of 2 delivered")
    assert (len(served.runs()), len(served.runs("packing"))) == (1, 2)


def test_without_a_key_all_is_kept(call, solved, monkeypatch):
    assert call("flush") == (0, "Nothing to deliver.\n", "")
    solved(3)
    status, out, err = call("flush")
    assert (status, out) == (2, "")
    assert err == "No API key: set NEXTMV_API_KEY, or a profile in ~/.nextmv/config.yaml. 3 runs kept.\n"
    assert call("flush", "--json") == (2, "", err)


def test_a_wrong_key_is_2(call, solved, platform, spool):
    platform(key="the-right-one")
    solved(3)
    status, out, err = call("flush")
    assert (status, out) == (2, "")
    assert "refused the API key" in err
    assert err.endswith("\n3 runs kept.\n")
    assert states(spool) == ["ready"] * 3


def test_runs_without_an_application_are_2(call, solved, platform):
    platform()
    solved(1, app_id=None)
    status, out, err = call("flush")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "Some runs name no application: set NEXTMV_APP_ID, or give `--app-id`.",
        "1 run kept.",
    ]
    assert call("flush", "--app-id", "routing")[0] == 0


def test_an_unreachable_platform_is_for_later(process, solved, spool):
    solved(2)
    url = f"http://127.0.0.1:{free_port()}"
    done = process("flush", NEXTMV_ENDPOINT=url, NEXTMV_API_KEY="any", NXTRACK_BACKOFF="0.01")
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == f"Could not reach {url} (connection refused).\n2 runs kept; try again later.\n"
    assert states(spool) == ["ready"] * 2


def test_an_unconfirmed_run_is_looked_for_before_it_is_sent_again(call, solved, platform, spool, monkeypatch):
    served = platform()
    solved()
    assert call("flush")[0] == 0
    (run_id,) = solved()
    unconfirmed(spool, run_id, served.url)
    assert " 1 unconfirmed  the platform may have taken it;" in call("status")[1]
    monkeypatch.setenv("NXTRACK_BACKOFF", "0.01")
    status, out, err = call("flush")
    assert (status, out) == (75, "")
    assert (
        "1 run unconfirmed: the platform may have taken it; the next flush looks before sending again.\n"
        "1 run kept; try again later.\n"
    ) in err
    monkeypatch.setenv("NXTRACK_SETTLE", "0")
    assert call("flush")[0] == 0
    assert len(served.runs()) == 2


def test_a_recovered_run_is_told(call, python, platform):
    python("import os, nxtrack\nwith nxtrack.track(app_id='routing', input=1): os._exit(9)", status=9)
    served = platform()
    status, out, _ = call("flush")
    assert status == 0
    assert re.match(r"1 run recovered from a process that died \(pid \d+\)\.\n1 of 1 delivered in ", out)
    (run,) = served.runs()
    assert served.application().run_metadata(run.id).metadata.status_v2 == "failed"


def test_a_preview_sends_nothing(call, solved, platform, spool):
    served = platform()
    assert call("flush", "--dry-run") == (0, "Nothing to deliver.\n", "")
    ids = solved(20, name="first\x1b[31m")
    ids += solved(2, app_id="packing")
    status, out, err = call("flush", "--dry-run")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["id", "state", "app", "name"]
    assert lines[1] == f"{ids[0]}  ready  routing  first\\x1b[31m"
    assert lines[21:] == [
        "and 2 more runs",
        f"22 runs would be delivered to {served.url}: 20 to routing, 2 to packing. Nothing was sent.",
    ]
    found = json.loads(call("flush", "--dry-run", "--json", "--limit", "3")[1])
    assert found.keys() == REPORT | {"endpoint", "runs"}
    assert [run["id"] for run in found["runs"]] == ids[:3]
    assert found["endpoint"] == served.url
    assert len(json.loads(call("flush", "--dry-run", "--json", "--app-id", "packing")[1])["runs"]) == 2
    assert served.runs() == []
    assert states(spool) == ["ready"] * 22


NAMELESS = "Some runs name no application: set NEXTMV_APP_ID, or give `--app-id`."
NO_KEY = "No API key: set NEXTMV_API_KEY, or a profile in ~/.nextmv/config.yaml."


def preview(call, *args):
    """Runs a preview in both its forms; returns what both mean, and the text."""
    status, out, err = call("flush", "--dry-run", "--json", *args)
    assert err == ""
    found = json.loads(out)
    text_status, text, told = call("flush", "--dry-run", *args)
    assert status == text_status == (2 if found["refused"] else 0)
    assert told.splitlines()[: len(found["problems"])] == found["problems"]
    assert all(run["id"] in text for run in found["runs"])
    return found, text, told


def test_a_preview_of_nothing_needs_no_key(call):
    found, text, _ = preview(call)
    assert (found["endpoint"], found["runs"], found["problems"], text) == (None, [], [], "Nothing to deliver.\n")


def test_a_preview_without_a_key_is_2(call, solved):
    solved(2)
    found, text, told = preview(call)
    assert (found["refused"], found["pending"], found["problems"], found["endpoint"]) == (True, 2, [NO_KEY], None)
    assert "would be delivered" not in text
    assert told == f"{NO_KEY}\n2 runs kept.\n"


def test_a_preview_leaves_out_runs_without_an_application(call, solved, monkeypatch):
    monkeypatch.setenv("NEXTMV_API_KEY", "any")
    named, nameless = solved(1), solved(1, app_id=None)
    found, text, told = preview(call)
    assert (found["refused"], found["pending"], found["problems"]) == (True, 2, [NAMELESS])
    assert [run["id"] for run in found["runs"]] == named
    assert nameless[0] not in text
    assert "1 run would be delivered to https://api.cloud.nextmv.io: 1 to routing. Nothing was sent." in text
    assert told == f"{NAMELESS}\n1 run kept.\n"
    found, text, told = preview(call, "--limit", "1")  # a flush of one would not come to the other
    assert (found["refused"], told) == (False, "")
    found, text, told = preview(call, "--app-id", "routing")
    assert (len(found["runs"]), found["refused"], told) == (2, False, "")


def test_a_preview_tells_of_damaged_runs_and_does_nothing(call, solved, damaged, spool, monkeypatch):
    monkeypatch.setenv("NEXTMV_API_KEY", "any")
    damaged()
    solved(1)
    found, _, told = preview(call)
    assert (found["refused"], found["pending"], found["damaged"], len(found["runs"])) == (False, 1, 0, 1)
    assert "damaged" in told
    assert states(spool) == ["ready"] * 2


def test_a_damaged_run_is_set_aside_and_is_1(process, solved, damaged, platform, spool):
    platform()
    damaged()
    solved(1)
    done = process("flush")
    assert done.returncode == 1
    assert done.stdout.startswith("1 of 1 delivered in ")
    assert "It was set aside in " in done.stderr
    assert states(spool) == ["synced"]
    damaged()
    done = process("flush", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["damaged"], found["pending"]) == (1, 1, 0)


def test_one_ctrl_c_lets_what_is_in_flight_end(start, solved, platform, until, spool):
    served = platform()
    solved(40)
    started = start("flush", "--rate", "4", "--jobs", "1")
    until(served.runs)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=20)
    left = states(spool).count("ready")
    assert started.returncode == 75
    assert 0 < left < 40
    assert out.startswith(f"{40 - left} of 40 delivered in ")
    assert err.splitlines() == [
        "Finishing what is in flight; Ctrl-C again stops now.",
        f"Stopped: {left} runs left for the next flush.",
    ]
    assert len(served.runs()) == 40 - left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once_and_loses_nothing(*, number, start, solved, platform, until, spool, call):
    served = platform()
    solved(10)
    started = start("flush", "--rate", "0.1", "--jobs", "2")
    until(served.runs)
    started.send_signal(number)
    time.sleep(0.3)
    assert started.poll() is None
    started.send_signal(number)
    began = time.monotonic()
    _, err = started.communicate(timeout=20)
    assert time.monotonic() - began < 4
    assert started.returncode == 75
    assert re.search(r"^Stopped at once: \d+ runs left, nothing lost; the next flush goes on\.$", err, re.MULTILINE)
    assert "Traceback" not in err
    assert call("flush")[0] == 0
    assert len(served.runs()) == 10


def test_in_json_a_stopped_flush_still_reports(start, solved, platform, until):
    served = platform()
    solved(10)
    started = start("flush", "--rate", "0.1", "--jobs", "2", "--json")
    until(served.runs)
    started.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    started.send_signal(signal.SIGTERM)
    out, _ = started.communicate(timeout=20)
    assert started.returncode == 75
    assert json.loads(out)["pending"] + len(json.loads(out)["synced"]) == 10


def test_a_bar_on_a_terminal(terminal, solved, platform):
    served = platform()
    solved(3)
    status, shown = terminal("flush")
    assert status == 0
    assert "Flushing" in shown
    assert "3/3" in shown
    assert "\x1b[" in shown
    assert "3 of 3 delivered in " in shown
    assert shown.endswith("\r\n")
    assert "\x1b[?25h" in shown.rpartition("3/3")[2]  # the cursor is back
    assert len(served.runs()) == 3
    status, shown = terminal("flush")
    assert (status, shown) == (0, "Nothing to deliver.\r\n")


def test_no_colour_when_none_is_wanted(terminal, solved, platform):
    platform()
    solved(2)
    status, shown = terminal("flush", "--limit", "1", NO_COLOR="1")
    assert status == 75
    assert "1/1" in shown
    assert not re.search(r"\x1b\[[0-9;]*m", shown)
    _, shown = terminal("list", NO_COLOR="1")
    assert "\x1b" not in shown


def test_no_bar_with_json(terminal, solved, platform):
    platform()
    solved(2)
    status, shown = terminal("flush", "--json")
    assert status == 0
    assert len(json.loads(shown)["synced"]) == 2
    assert "\x1b" not in shown


def test_ctrl_c_at_a_terminal(terminal, solved, platform):
    platform()
    solved(30)

    def press(shown, screen):
        if "2/30" in shown:
            os.write(screen, b"\x03")
            return True
        return False

    status, shown = terminal("flush", "--rate", "5", "--jobs", "1", while_running=press)
    assert status == 75
    assert "Finishing what is in flight" in shown
    assert re.search(r"Stopped: \d+ runs left for the next flush\.\r\n$", shown)


def test_a_line_now_and_then_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(bar, "LINE_SECONDS", 0.0)
    with bar.Lines() as lines:
        lines.found(12)
        lines.settled(3)
    assert capsys.readouterr().err == "3 of 12 runs dealt with.\n"
    with bar.Lines(limit=5) as lines:
        lines.found(12)
        lines.settled(3)
        lines.settled(7)  # runs that stay are dealt with as well
        lines.found(2)
        lines.settled(2)
    told = capsys.readouterr().err
    assert told == "3 of 5 runs dealt with.\n5 of 5 runs dealt with.\n2 of 2 runs dealt with.\n"
    with bar.Silent() as silent:
        silent.found(3)
        silent.settled(1)
        silent.stopping()
    assert capsys.readouterr() == ("", "")


def test_the_lines_know_the_limit(call, solved, platform, monkeypatch):
    monkeypatch.setattr(bar, "LINE_SECONDS", 0.0)
    platform()
    solved(3)
    status, _, err = call("flush", "--limit", "2")
    assert status == 75
    assert err.splitlines() == [
        "1 of 2 runs dealt with.",
        "2 of 2 runs dealt with.",
        "1 run left for the next flush.",
    ]


def test_a_bar_before_there_is_anything_to_show():
    with bar.Bar(threading.Event()) as shown:
        shown.found(0)
        shown.settled(0)


def test_work_in_another_thread_leaves_signals_alone(solved, platform):
    """A program may call what the command calls, from anywhere."""
    from nxtrack import settings
    from nxtrack.cli.flush import deliver
    from nxtrack.delivery.order import Order

    served = platform()
    solved(1)
    found = []
    thread = threading.Thread(target=lambda: found.append(deliver(settings.current(), Order(), as_json=True)))
    thread.start()
    thread.join(20)
    assert found == [0]
    assert len(served.runs()) == 1
    assert isinstance(served.client, Client)
