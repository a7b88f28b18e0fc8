"""`nxtrack status`."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import pytest

from nxtrack import track
from nxtrack.spool import claims

KEYS = {
    "active": int,
    "ready": int,
    "synced": int,
    "rejected": int,
    "unconfirmed": int,
    "lost": int,
    "bytes": int,
    "died": int,
    "quarantined": int,
}


def in_json(call):
    status, out, err = call("status", "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_one_is_it_and_more_are_them(call, solved, spool, platform):
    platform()
    for number, word in ((1, "it"), (2, "them")):
        solved(1)
        text = call("status")[1]
        assert "; `nxtrack flush` delivers it\n" in text
        assert call("flush")[0] == 0
        assert f" {number} synced  `nxtrack clean` removes {word}\n" in call("status")[1]
    for number, word in ((1, "it"), (2, "them")):
        claims.claim(spool, solved(1)[0], "ready").settle("unconfirmed")
        assert f" {number} unconfirmed  the platform may have taken {word}; `nxtrack flush`" in call("status")[1]


def damage(spool, run_id, state="ready"):
    with Path(spool.paths.found(run_id, state)).open("r+b") as file:
        file.seek(20)
        file.write(b"#")


def test_an_empty_spool(call, tmp_path):
    found = in_json(call)
    assert {name: type(found[name]) for name in KEYS} == KEYS
    assert set(found) - set(KEYS) == {"oldest_ready"}
    assert found["oldest_ready"] is None
    assert not any(found[name] for name in KEYS)
    assert call("status")[1].splitlines() == [
        f"spool  {tmp_path}/spool   0 B of 10 GB",
        " 0 active",
        " 0 ready",
        " 0 lost",
    ]


def test_counts_and_ages(call, solved, rejected, spool):
    rejected(1)
    solved(12)
    spool.prepare()
    spool.count_lost()
    with track(app_id="routing"):
        found = in_json(call)
        text = call("status")[1]
    assert (found["active"], found["ready"], found["rejected"], found["lost"]) == (1, 12, 1, 1)
    assert found["bytes"] > 1000
    moment = dt.datetime.fromisoformat(found["oldest_ready"])
    assert abs((dt.datetime.now(dt.UTC) - moment).total_seconds()) < 60
    assert found["oldest_ready"].endswith("Z")
    assert re.search(r"^  1 active    oldest began \S.* \(pid \d+ \S*test_cli_status\.\S+\)$", text, re.MULTILINE)
    assert re.search(r"^ 12 ready     oldest \S.*; `nxtrack flush` delivers them$", text, re.MULTILINE)
    assert "  1 rejected  The platform rejected the request (413: too large). `nxtrack show 0" in text
    assert "  1 lost      could not be recorded: no room, or no permission" in text


def test_runs_of_a_process_that_died_are_ready(call, python, solved):
    python("import os, nxtrack\nwith nxtrack.track(app_id='a'): os._exit(9)", status=9)
    found = in_json(call)
    assert (found["active"], found["ready"], found["died"]) == (0, 1, 1)
    assert "1 of a process that died" in call("status")[1]


def test_damaged_runs_do_not_stop_it(call, solved, rejected, spool, platform):
    damage(spool, rejected()[0], "rejected")
    damage(spool, solved()[0])
    platform()
    call("flush")
    found = in_json(call)
    assert (found["ready"], found["rejected"], found["quarantined"]) == (0, 1, 1)
    text = call("status")[1]
    assert " 1 rejected     `nxtrack list --state rejected`\n" in text
    assert " 1 quarantined  damaged, set aside in " in text


def test_hints_name_the_next_command(call, solved, platform, monkeypatch):
    platform()
    solved(2)
    assert call("flush")[0] == 0
    monkeypatch.setenv("NXTRACK_MAX_SPOOL", "none")
    text = call("status")[1]
    assert " 2 synced  `nxtrack clean` removes them\n" in text
    assert " of " not in text.splitlines()[0]


def test_nothing_a_solver_says_reaches_the_terminal_raw(call, rejected):
    rejected(error="no \x1b[2J\x07 room")
    assert "no \\x1b[2J\\x07 room" in call("status")[1]


@pytest.mark.parametrize("command", ["status", "list", "flush", "clean"])
def test_a_spool_that_others_may_write_to_is_refused(command, call, spool, tmp_path):
    spool.prepare()
    (tmp_path / "spool").chmod(0o777)
    status, out, err = call(command)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_a_spool_that_cannot_be_read_is_for_later(call, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NXTRACK_DIR", str(tmp_path / "file" / "spool"))
    status, out, err = call("status")
    assert (status, out) == (75, "")
    assert "cannot be read" in err


@pytest.mark.parametrize(
    ("short", "long"), [(["status"], ["--", "status"]), (["status", "--json"], ["status", "--json", "--json"])]
)
def test_what_is_answered_without_reading_options_is_what_reading_them_leads_to(call, short, long):
    assert call(*short) == call(*long)
