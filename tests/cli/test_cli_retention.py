"""`nxtrack retry` and `nxtrack clean`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from nxtrack.cli import retention
from nxtrack.errors import SettingsError
from nxtrack.spool import claims


def states(spool):
    return {entry.run_id: entry.state for entry in spool.entries()}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("45s", 45), ("30m", 1800), ("1.5h", 5400), ("7d", 604_800), (" 2W ", 1_209_600)],
)
def test_ages(text, seconds):
    assert retention.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "7 days", "1y", "1e3", "٣d"])
def test_what_is_no_age(text):
    with pytest.raises(SettingsError):
        retention.seconds(text)


def test_rejected_runs_are_sent_back_and_delivered(call, rejected, spool, platform):
    served = platform()
    one, two, three = rejected(3)
    assert call("retry", one, two) == (0, "2 runs sent back; `nxtrack flush` tries again.\n", "")
    assert states(spool) == {one: "ready", two: "ready", three: "rejected"}
    assert call("retry", "--all")[:2] == (0, "1 run sent back; `nxtrack flush` tries again.\n")
    assert call("retry", "--all") == (0, "No runs are rejected.\n", "")
    assert call("flush")[0] == 0
    assert len(served.runs()) == 3


def test_one_that_cannot_be_sent_back_does_not_stop_the_others(call, rejected, solved, spool):
    (bad,), (fine,) = rejected(1), solved(1)
    status, out, err = call("retry", fine, "01ZZ", bad)
    assert status == 2
    assert out == "1 run sent back; `nxtrack flush` tries again.\n"
    assert err.splitlines() == [
        f"Run {fine} is ready, not rejected: there is nothing to retry.",
        "No run 01ZZ is in the spool; `nxtrack list` shows those that are.",
    ]
    assert states(spool) == {bad: "ready", fine: "ready"}


def test_what_was_sent_back_in_json(process, rejected, solved):
    (bad, other), (fine,) = rejected(2), solved(1)
    done = process("retry", fine, bad, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    problem = f"Run {fine} is ready, not rejected: there is nothing to retry."
    assert json.loads(done.stdout) == {"retried": [bad], "problems": [problem]}
    done = process("retry", "--all", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"retried": [other], "problems": []})


def test_a_run_in_other_hands_is_for_later(call, rejected, spool):
    (run_id,) = rejected()
    claimed = claims.claim(spool, run_id, "rejected")
    status, out, err = call("retry", "--all")
    assert (status, out) == (75, "")
    assert err == f"Run {run_id} is in the hands of another process; try again later.\n"
    claimed.release()


def test_clean_removes_what_was_delivered_and_nothing_else(call, solved, rejected, spool, platform):
    platform()
    gone = solved(2, data={"rows": list(range(60_000))})
    call("flush")
    (bad,), (waiting,) = rejected(1), solved(1)
    status, out, _ = call("clean", "--dry-run")
    assert status == 0
    assert out.startswith("2 runs would be removed, ")
    assert set(gone) < set(states(spool))
    assert call("clean", "--older-than", "1d") == (0, "Nothing to remove.\n", "")
    status, out, _ = call("clean")
    assert status == 0
    assert out.startswith("2 runs removed, ")
    assert out.endswith(" kB freed.\n")
    assert states(spool) == {bad: "rejected", waiting: "ready"}
    assert not list(Path(spool.paths.payloads).iterdir())
    assert call("clean", "--rejected")[1].startswith("1 run removed, ")
    assert states(spool) == {waiting: "ready"}
    assert call("clean", "--rejected") == (0, "Nothing to remove.\n", "")


def test_what_was_removed_in_json(call, process, solved, platform, spool):
    platform()
    solved(2)
    call("flush")
    would = json.loads(call("clean", "--dry-run", "--json")[1])
    assert (would["runs"], len(states(spool))) == (2, 2)
    assert would["bytes"] > 0
    done = process("clean", "--json")
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", would)
    assert call("clean", "--json") == (0, '{"runs":0,"bytes":0}\n', "")


def test_clean_removes_old_files_that_no_run_names(call, spool):
    spool.prepare()
    path = Path(spool.paths.payload("01M80Y60R8BSFJDTA92FXC4DDT.log"))
    path.write_text("x" * 10)
    os.utime(path, (time.time() - 200_000,) * 2)
    assert call("clean") == (0, "0 runs removed, 10 B freed.\n", "")
