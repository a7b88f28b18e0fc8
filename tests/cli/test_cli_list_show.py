"""`nxtrack list` and `nxtrack show`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from nxtrack import track
from nxtrack.cli import runs as runs_module
from nxtrack.spool import claims

KEYS = {"id", "app_id", "name", "status", "state", "created_at", "duration_ms", "run_id", "error"}


def listed(call, *args):
    status, out, err = call("list", "--json", *args)
    assert (status, err) == (0, "")
    return json.loads(out)


def damage(path):
    with Path(path).open("r+b") as file:
        file.seek(20)
        file.write(b"#")


def test_an_empty_spool(call):
    assert listed(call) == []
    assert call("list") == (0, "No runs.\n", "")
    assert call("list", "--state", "rejected") == (0, "No rejected runs.\n", "")


def test_newest_first_by_state_and_limit(call, solved, rejected):
    bad = rejected(1)
    ready = solved(3)
    assert [run["id"] for run in listed(call)] == [*reversed(ready), *bad]
    assert [run["id"] for run in listed(call, "--limit", "2")] == ready[:0:-1]
    assert [run["id"] for run in listed(call, "--state", "rejected")] == bad
    assert {frozenset(run) for run in listed(call)} == {frozenset(KEYS)}


def test_a_limit_means_the_same_however_it_is_written(call, solved):
    newest = solved(3)[:0:-1]
    for args in (
        ("--limit", "2", "--json"),
        ("--json", "--limit", "2"),
        ("--limit=2", "--json"),
        ("--limit", "02", "--json"),
    ):
        status, out, err = call("list", *args)
        assert (status, [run["id"] for run in json.loads(out)], err) == (0, newest, ""), args
    assert call("list", "--limit", "2")[:2] == call("list", "--limit=2")[:2]


@pytest.mark.parametrize("number", ["0", "-1", "two", "2.5", "", "²"])
def test_a_limit_that_is_none_is_an_error_of_usage(call, number):
    status, out, err = call("list", "--limit", number)
    assert (status, out) == (2, "")
    assert "--limit" in err


def test_what_is_told_of_each(call, solved, rejected, platform):
    served = platform()
    solved(name="first")
    call("flush")
    solved(error="no way", app_id="other")
    rejected()
    with track(name="now"):
        active, refused, failed, synced = listed(call)
        text = call("list")[1]
    assert (active["state"], active["status"], active["duration_ms"], active["app_id"]) == ("active", None, None, None)
    assert (refused["state"], refused["status"]) == ("rejected", "succeeded")
    assert refused["error"] == "The platform rejected the request (413: too large)."
    assert (failed["status"], failed["error"], failed["app_id"]) == ("failed", "ValueError: no way", "other")
    assert (synced["state"], synced["name"], synced["error"]) == ("synced", "first", None)
    assert synced["run_id"] == served.runs()[0].id
    assert synced["created_at"].endswith("Z")
    assert isinstance(synced["duration_ms"], int)
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["id", "state", "status", "app"]
    assert lines[1].split()[1:3] == ["active", "running"]
    assert "ValueError: no way" in lines[3]


def test_a_damaged_run_is_listed_with_what_is_wrong(call, solved, spool):
    first, second = solved(2)
    damage(spool.paths.found(first, "ready"))
    whole, broken = listed(call)
    assert (whole["id"], whole["error"]) == (second, None)
    assert (broken["id"], broken["state"], broken["status"], broken["app_id"]) == (first, "ready", None, None)
    assert "damaged" in broken["error"]
    assert broken["created_at"][:13] == whole["created_at"][:13]
    assert "damaged" in call("list")[1]
    assert call("show", first)[0] == 1


def test_only_what_is_shown_is_read(solved, spool):
    solved(30)
    opened = []
    watching = [True]

    def watch(event, arguments):
        if watching and event == "open" and str(arguments[0]).startswith(spool.paths.runs):
            opened.append(arguments[0])

    sys.addaudithook(watch)
    assert len(list(runs_module.rows(spool, None, 3))) == 3
    assert len(opened) == 3
    watching.clear()


def test_runs_that_move_on_while_they_are_listed(solved, spool):
    ids = solved(5)
    rows = runs_module.rows(spool, None)
    assert next(rows).id == ids[4]
    claims.claim(spool, ids[3], "ready").settle("synced")
    Path(spool.paths.found(ids[2], "ready")).unlink()
    claims.claim(spool, ids[1], "ready").settle("synced")
    damage(spool.paths.run(ids[1], "synced"))
    left = list(rows)
    assert [(row.id, row.state) for row in left] == [(ids[3], "synced"), (ids[1], "synced"), (ids[0], "ready")]
    assert "damaged" in left[1].error
    rows = runs_module.rows(spool, "ready")
    assert next(rows).id == ids[4]
    claims.claim(spool, ids[0], "ready").settle("synced")
    assert list(rows) == []


def test_a_table_on_a_terminal(terminal, rejected):
    (run_id,) = rejected(name="[red]odd[/red]\x1b]0;title\x07")
    status, shown = terminal("list", columns=220)
    assert status == 0
    assert "│" in shown
    assert run_id in shown
    assert "[red]odd[/red]\\x1b]0;title\\x07" in shown
    assert "\x1b" not in shown
    status, shown = terminal("list", "--json")
    assert json.loads(shown)[0]["id"] == run_id
    assert shown.count("\n") > 5


def test_show_tells_all_there_is(call, solved, platform, monkeypatch):
    monkeypatch.setenv("NEXTMV_INSTANCE_ID", "nightly")
    (run_id,) = solved(
        name="what-if",
        description="a\tdescription",
        options={"time_limit": 10},
        metrics={"gap": 0.5, **{f"metric{number}": number for number in range(30)}},
        data={"price": float("nan")},
        log="".join(f"line {number}\n" for number in range(40)) + "50 %\r100 %\n\x1b[2Jlast",
        error="it broke",
    )
    status, out, err = call("show", run_id[:20].lower())
    assert (status, err) == (0, "")
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    facts = {line[0]: line[1] for line in lines if len(line) > 1}
    assert out.startswith(f"Run {run_id}\n")
    assert facts["status"] == "failed: ValueError: it broke"
    assert facts["state"] == "ready: it waits for delivery"
    assert facts["application"] == "routing"
    assert "conftest.solved" in facts["tracked"]
    assert facts["description"] == "a description"
    assert facts["instance"] == "nightly"
    assert "\nOptions:\n  time_limit  10\n" in out
    assert "\nMetrics:\n  gap       0.5\n  metric0   0\n" in out
    assert "\n  metric18  18\n  … and 11 more\n" in out
    assert '\nInput:\n  {"price":null}\n' in out
    assert "\n  input: 1 value that is not finite became null\n" in out
    assert f"Log, its last 12 lines; `nxtrack show {run_id} --logs` prints all:" in out
    assert out.endswith(
        f"\nNext: `nxtrack flush` delivers it; `nxtrack replay {run_id} module:function` runs it again.\n"
    )
    assert "  100 %\n" in out
    assert "\\x1b[2Jlast" in out
    assert "\x1b" not in out
    platform()
    call("flush")
    out = call("show", run_id)[1]
    assert "synced: the platform has it" in out
    assert "/v1/applications/routing" in out


def test_show_of_a_running_and_of_a_rejected_run(call, rejected):
    with track(input=3) as run:
        run.log_metric("gap", 1.0)
        run.log_metric("gap", 0.5)
        out = call("show", run.id)[1]
        found = json.loads(call("show", run.id, "--json")[1])
    assert "status       still running" in out
    assert "application  none named: NEXTMV_APP_ID or --app-id decides when flushing" in out
    assert "\nMetrics:\n  gap  0.5  █▁  2 values, the first 1\n" in out
    assert "Next:" not in out
    assert (found["state"], found["status"], found["ended_at"], found["metrics"]) == (
        "active",
        None,
        None,
        {"gap": 0.5},
    )
    (run_id,) = rejected()
    out = call("show", run_id)[1]
    assert "rejected: the platform will not take it as it is" in out
    assert f"Next: `nxtrack retry {run_id}` sends it back; " in out
    assert "The platform rejected the request (413: too large)." in out


def test_show_in_json(call, solved):
    (run_id,) = solved(options={"a": 1, "b": "two"}, metrics={"gap": 0.5}, log="hello \x1b[0m ✓")
    found = json.loads(call("show", run_id, "--json")[1])
    assert found.keys() > KEYS | {"input", "output", "logs", "metrics", "options"}
    assert found["id"] == run_id
    assert found["input"] == {"index": 0}
    assert found["output"] == {"found": 0, "metrics": {"gap": 0.5}}
    assert found["logs"] == "hello \x1b[0m ✓\n"
    assert found["metrics"] == {"gap": 0.5}
    assert found["options"] == {"a": "1", "b": "two"}
    assert found["notes"] == []
    assert found["pid"] == os.getpid()


def test_a_run_without_anything(call):
    with track() as run:
        pass
    found = json.loads(call("show", run.id, "--json")[1])
    assert (found["input"], found["output"], found["logs"]) == (None, None, "")
    for kind in ("input", "output"):
        assert call("show", run.id, f"--{kind}") == (2, "", f"Run {run.id} has no {kind}.\n")
    assert call("show", run.id, "--logs") == (0, "", "")
    out = call("show", run.id)[1]
    assert "\nOutput: none\n" in out
    assert "Log" not in out


def test_artefacts_come_out_byte_for_byte(process, python, spool, solved):
    big = {"rows": list(range(60_000))}
    (run_id,) = solved(data=big)
    assert process("show", run_id, "--input", text=False).stdout == msgspec.json.encode(big)
    python(
        r"""
        import os, sys, nxtrack
        sys.stdout = open(os.devnull, "w")
        with nxtrack.track(app_id="a", input={"x": 1}):
            sys.stdout.buffer.write(b"\xff\x1b[31mred\x00\r\n")
        """
    )
    newest = json.loads(process("list", "--limit", 1, "--json").stdout)[0]["id"]
    done = process("show", newest, "--logs", text=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        b"\\xff\x1b[31mred\x00\r\n[nxtrack: bytes that are no UTF-8, shown as \\xNN: 1]\n",
        b"",
    ), "as it will go up"
    assert "\\xff\\x1b[31mred\\x00" in process("show", newest).stdout


def test_a_damaged_payload_is_told(call, solved, spool):
    (run_id,) = solved(data={"rows": list(range(60_000))})
    (file,) = Path(spool.paths.payloads).glob(f"{run_id}*")
    damage(file)
    status, out, _ = call("show", run_id)
    assert status == 0
    assert "does not match its checksum" in out
    status, out, err = call("show", run_id, "--input")
    assert (status, out) == (1, "")
    assert "does not match its checksum" in err


@pytest.mark.parametrize("text", ["", "01", "zzz"])
def test_an_id_that_means_no_run_or_several(text, call, solved):
    solved(2)
    status, out, err = call("show", text)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_payloads_and_series_on_the_page(call):
    odd = "n\u202eorth\x1b[31m\x9b"
    with track(input={"stops": [{"id": index, "name": odd} for index in range(40)]}, options={odd: odd}) as run:
        for step in range(100):
            run.log_metric("gap", 100 - step)
            run.log_metric("same", 5)
        run.log_metric(odd, odd)
        run.log_metric("huge", -1.7e308)
        run.log_metric("huge", 1.7e308)
        run.log_metric("words", "a")
        run.log_metric("words", None)
        run.output = {"route": list(range(200)), "text": "x" * 500, "small": [1, {"a": []}]}
        print(odd)
    out = call("show", run.id)[1]
    assert not {"\u202e", "\x1b", "\x9b"} & set(out)
    lines = out.splitlines()
    (gap,) = (line for line in lines if line.startswith("  gap "))
    (bars,) = (part for part in gap.split() if "▁" in part)
    assert (len(bars), bars[0], bars[-1]) == (24, "█", "▁")
    assert list(bars) == sorted(bars, reverse=True)
    assert gap.endswith("100 values, the first 100")
    assert any(line.startswith("  same ") and "▁" * 24 in line for line in lines)
    assert any(line.startswith("  huge ") and "▁█" in line for line in lines)
    assert any(line.startswith("  words ") and "null" in line for line in lines)
    at = lines.index("Input:")
    assert lines[at + 1 : at + 3] == ["  {", '    "stops": [']
    assert lines[at + 9].endswith(f"in all; `nxtrack show {run.id} --input` prints it")
    assert next(line for line in lines if line.startswith('    "route": [0,1,2,')).endswith("… 200 items,")
    assert '    "small": [1,{"a":[]}],' in lines
    assert max(map(len, lines)) < 130


def test_a_terminal_that_shows_no_bars(process, python):
    python("import nxtrack\nwith nxtrack.track() as run:\n  run.log_metric('gap', 2)\n  run.log_metric('gap', 1)")
    (run_id,) = (run["id"] for run in json.loads(process("list", "--json").stdout))
    done = process("show", run_id, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "\n  gap  1    2 values, the first 2\n" in done.stdout


@pytest.mark.parametrize("deep", [30, 900])
def test_a_payload_that_is_nested_deep(call, deep):
    value = 1
    for _ in range(deep):
        value = [value, "x" * 100]
    with track(input=value) as run:
        pass
    status, out, _ = call("show", run.id)
    assert status == 0
    assert f"in all; `nxtrack show {run.id} --input` prints it" in out
    assert out.count("\n") < 40
