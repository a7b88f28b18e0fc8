"""`nxtrack submit`, `result`, `input` and `logs` against a real platform that executes real programs."""

from __future__ import annotations

import io
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile

import pytest

from nxtrack.cli.remote_files import local_file
from nxtrack.errors import NoSpace

SOLVER = """
    import json, sys
    print("reading", file=sys.stderr)
    problem = json.load(sys.stdin)
    print(json.dumps({"options": sys.argv[1:], "size": len(json.dumps(problem)), "metrics": {"gap": 0.5}}))
"""
SLOW = """
    import pathlib, sys, time
    sys.stdin.read()
    print("begun", file=sys.stderr, flush=True)
    while not pathlib.Path(__file__).with_name("go").exists():
        time.sleep(0.02)
    print("ended", file=sys.stderr)
    print('{"waited": true}')
"""
FAILING = """
    import sys
    print("\\n".join(f"line {number}" for number in range(50)), file=sys.stderr)
    sys.exit("no plan \\x1b[31mfound")
"""
INPUT = b'{ "stops" : [1, 2.50],\n  "name": "\\u00fc"}\n'


@pytest.fixture
def remote(platform, monkeypatch):
    """A platform with programs, and the application that is meant."""
    monkeypatch.setenv("NEXTMV_APP_ID", "routing")
    return platform(instances={"solver": SOLVER, "slow": SLOW, "failing": FAILING})


@pytest.fixture
def given(tmp_path):
    (tmp_path / "input.json").write_bytes(INPUT)
    return tmp_path / "input.json"


@pytest.fixture
def submitted(call, given):
    """Submits a run and gives its id: `submitted("slow")`."""

    def run(instance="solver", *args):
        status, out, err = call("submit", given, "--instance-id", instance, "--json", *args)
        assert (status, err) == (0, "")
        answer = json.loads(out)
        assert answer["app_id"] == "routing"
        return answer["run_id"]

    return run


@pytest.fixture
def go(tmp_path):
    return tmp_path / "go"


def test_a_run_is_submitted_waited_for_and_fetched(process, remote, given, tmp_path):
    done = process(
        "submit", given, "--instance-id", "solver", "--option", "limit=2", "--option", "mode=a=b", "--name", "N"
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = re.fullmatch(
        r"Run (solver-\S+) submitted to routing: `nxtrack result (\S+) --wait` fetches what comes of it\.\n",
        done.stdout,
    )
    assert told[1] == told[2]
    done = process("result", told[1], "--wait", text=False)
    assert done.returncode == 0
    expected = {"options": ["-limit", "2", "-mode", "a=b"], "size": 37, "metrics": {"gap": 0.5}}
    assert done.stdout == json.dumps(expected).encode() + b"\n"
    assert (run := remote.application().run_metadata(told[1])).name == "N"
    assert run.metadata.options.request_options == {"limit": "2", "mode": "a=b"}
    done = process("result", told[1], "--output", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"Run {told[1]} succeeded in \S+ m?s: \d+ B in out\.json\.\n", done.stdout)
    assert json.loads((tmp_path / "out.json").read_bytes()) == expected
    assert process("input", told[1], text=False).stdout == INPUT.strip()
    assert process("logs", told[1]).stdout == "reading\n"


def test_all_at_once(call, remote, given, tmp_path):
    status, out, err = call("submit", given, "--instance-id", "solver", "--wait")
    assert (status, json.loads(out)["size"]) == (0, 37)
    lines = err.splitlines()
    assert re.fullmatch(r"Run solver-\S+ submitted to routing\.", lines[0])
    assert all(re.fullmatch(r"Run solver-\S+ is (queued|running)\.", line) for line in lines[1:])
    assert call("submit", given, "--instance-id", "solver", "--output", tmp_path / "out.json")[0] == 0
    assert json.loads((tmp_path / "out.json").read_bytes())["size"] == 37


def test_everything_in_json(call, remote, given, tmp_path):
    status, out, err = call("submit", given, "--instance-id", "solver", "--wait", "--json", "--description", "why")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert (told["status"], told["app_id"], told["error"], told["log"]) == ("succeeded", "routing", "", None)
    assert told["output"]["size"] == 37
    assert told["metrics"] == {"gap": 0.5}
    assert told["input_size"] == len(INPUT.strip())
    assert told["description"].startswith("why")
    to = str(tmp_path / "out.json")
    status, out, err = call("result", told["run_id"], "--json", "--output", to)
    assert (status, err) == (0, "")
    assert json.loads(out) == told | {"output": None, "output_file": to}
    assert json.loads((tmp_path / "out.json").read_bytes()) == told["output"]


def test_a_run_that_goes_on(call, remote, submitted, go):
    run_id = submitted("slow")
    status, out, err = call("result", run_id)
    assert (status, out) == (75, "")
    assert re.fullmatch(rf"Run {run_id} is (queued|running): `nxtrack result {run_id} --wait` waits for it\.\n", err)
    status, out, err = call("result", run_id, "--timeout", "0.2")
    assert (status, out) == (75, "")
    assert err.splitlines()[-1] == f"Run {run_id} goes on after 200 ms: `nxtrack result {run_id} --wait` waits for it."
    status, out, err = call("result", run_id, "--json", "--timeout", "0")
    assert (status, err, json.loads(out)["status"] in {"queued", "running"}) == (75, "", True)
    assert json.loads(out)["output"] is None
    go.touch()
    status, out, _ = call("result", run_id, "--wait")
    assert (status, out) == (0, '{"waited": true}\n')


def test_the_way_back_names_the_application_where_nothing_else_does(call, remote, submitted, go, monkeypatch):
    run_id = submitted("slow")
    monkeypatch.delenv("NEXTMV_APP_ID")
    assert call("result", run_id) == (2, "", "No application: set NEXTMV_APP_ID, or give `--app-id`.\n")
    status, _, err = call("result", run_id, "--app-id", "routing")
    assert status == 75
    assert f"`nxtrack result {run_id} --app-id routing --wait`" in err
    go.touch()
    assert call("result", run_id, "--app-id", "routing", "--wait")[:2] == (0, '{"waited": true}\n')


def test_ctrl_c_while_waiting_leaves_the_run(start, remote, submitted, go):
    run_id = submitted("slow")
    waiting = start("result", run_id, "--wait")
    assert re.fullmatch(rf"Run {run_id} is (queued|running)\.\n", waiting.stderr.readline())
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (130, "")
    assert err.splitlines()[-1] == f"Run {run_id} goes on: `nxtrack result {run_id} --wait` waits for it again."
    assert "Traceback" not in err
    assert remote.application().run_metadata(run_id).metadata.status_v2 == "running"
    go.touch()
    assert remote.application().wait_for_run(run_id).metadata.status_v2 == "succeeded"


def test_a_run_that_fails(call, remote, submitted, tmp_path):
    run_id = submitted("failing")
    status, out, err = call("result", run_id, "--wait", "--output", tmp_path / "out.json")
    assert (status, out) == (1, "")
    told = [line for line in err.splitlines() if not line.endswith((" is queued.", " is running."))]
    assert told[0] == (
        f"Run {run_id} failed (The program ended with exit status 1): `nxtrack logs {run_id}` shows its log."
    )
    assert told[-2:] == ["  line 49", "  no plan \\x1b[31mfound"]
    assert len(told) == 13
    assert "exit status" not in "".join(told[1:])
    assert not (tmp_path / "out.json").exists()
    status, out, err = call("result", run_id, "--json")
    assert (status, err) == (1, "")
    answer = json.loads(out)
    assert (answer["status"], answer["output"]) == ("failed", None)
    assert "no plan" in answer["log"]
    assert answer["error"].startswith("The program ended with exit status 1")


def test_a_run_that_was_canceled(call, remote, submitted):
    run_id = submitted("slow")
    remote.application().cancel_run(run_id)
    status, out, err = call("result", run_id, "--wait")
    assert (status, out) == (1, "")
    assert f"Run {run_id} was canceled." in err.splitlines()


def test_large_inputs_and_outputs_take_the_other_way(call, process, platform, monkeypatch, tmp_path):
    monkeypatch.setenv("NEXTMV_APP_ID", "routing")
    served = platform(instances={"echo": "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"})
    data = json.dumps({"pad": "x" * 7_000_000, "list": [1.50, 2]}).encode()
    (tmp_path / "large").write_bytes(data)
    status, out, _ = call("submit", tmp_path / "large", "--instance-id", "echo", "--output", tmp_path / "out")
    assert status == 0
    assert re.search(r" succeeded in .*: 7 MB in .*/out\.\n$", out)
    assert (tmp_path / "out").read_bytes() == data
    run_id = served.runs()[0].id
    assert call("input", run_id) == (0, data.decode(), "")
    assert process("result", run_id, text=False).stdout == data


def test_from_stdin(remote, given):
    """From a pipe, which cannot be rewound, and from a file that was read in part already."""
    command = [sys.executable, "-m", "nxtrack", "submit", "-", "--instance-id", "solver", "--json"]
    with given.open("r+b") as file:
        file.write(b"past" + INPUT)
        file.seek(4)
        for source in ({"input": INPUT}, {"stdin": file}):
            done = subprocess.run(command, capture_output=True, timeout=50, check=True, **source)
            assert remote.application().run_input(json.loads(done.stdout)["run_id"]) == INPUT.strip()


@pytest.mark.parametrize(
    ("name", "data", "form", "more"),
    [
        ("a.json", b"[1]", "json", ()),
        ("a.txt", b"[1]", "json", ()),
        ("a.txt", b"4 trucks\n", "text", ()),
        ("a.txt", b"", "text", ("--format", "text")),
        ("a.txt", b"[1]", "text", ("--format", "text")),
        ("a", b"[" + b"1," * 3_000_000 + b"1]", "json", ()),
        ("a", b"trucks\n" * 1_000_000, "text", ()),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_format_is_found_out(call, platform, monkeypatch, tmp_path, *, name, data, form, more):
    monkeypatch.setenv("NEXTMV_APP_ID", "routing")
    served = platform(instances={"count": "import sys; print(len(sys.stdin.buffer.read()))"})
    (tmp_path / name).write_bytes(data)
    status, out, err = call("submit", tmp_path / name, "--instance-id", "count", "--json", *more)
    assert (status, err) == (0, "")
    run_id = json.loads(out)["run_id"]
    assert served.application().run_metadata(run_id).metadata.format.input.type == form
    assert served.application().run_input(run_id) == data


def test_a_text_for_a_text(call, platform, monkeypatch, tmp_path):
    monkeypatch.setenv("NEXTMV_APP_ID", "routing")
    served = platform(instances={"upper": "import sys; sys.stdout.write(sys.stdin.read().upper() + '\\0')"})
    (tmp_path / "plan.txt").write_text("four trucks \u00fc\n", encoding="utf-8")
    asked = ("submit", tmp_path / "plan.txt", "--instance-id", "upper", "--output-format", "text")
    assert call(*asked, "--wait")[:2] == (0, "FOUR TRUCKS \u00dc\n\0")
    told = json.loads(call("result", served.runs()[0].id, "--json")[1])
    assert (told["input_format"], told["output_format"]) == ("text", "text")
    assert told["output"] == "FOUR TRUCKS \u00dc\n\0"


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def archived(remote):
    """A run whose input and output are archives, as it is tracked."""
    data = archive(a=b"1,2", b=b"")
    form = {"input": {"type": "csv-archive"}, "output": {"type": "multi-file"}}
    run_id = remote.application().track_run(input=data, output=data, configuration={"format": form})
    return run_id, data


def test_archives_come_back_as_they_are_or_unpacked(call, process, archived, tmp_path):
    run_id, data = archived
    assert process("result", run_id, text=False).stdout == data
    assert call("result", run_id, "--output", tmp_path / "out.tar.gz")[0] == 0
    assert (tmp_path / "out.tar.gz").read_bytes() == data
    assert call("input", run_id, "--output", tmp_path / "in.tar.gz")[0] == 0
    assert (tmp_path / "in.tar.gz").read_bytes() == data
    (tmp_path / "empty").mkdir()
    for to in (f"{tmp_path}/new/", f"{tmp_path}/empty"):
        status, out, err = call("result", run_id, "--output", to)
        assert (status, err) == (0, "")
        assert out.endswith(f" in {to}.\n")
        assert {path.name: path.read_bytes() for path in pathlib.Path(to).iterdir()} == {"a": b"1,2", "b": b""}
    told = json.loads(call("result", run_id, "--json")[1])
    assert (told["input_format"], told["output_format"], told["output"]) == ("csv-archive", "multi-file", None)


def test_an_archive_is_not_poured_over_a_terminal(terminal, archived):
    status, shown = terminal("result", archived[0])
    assert status == 2
    assert "is an archive: give `--output`" in shown


def test_an_archive_that_is_not_safe_is_refused(call, remote, tmp_path):
    form = {"output": {"type": "multi-file"}}
    run_id = remote.application().track_run(input={}, output=archive(**{"../up": b"1"}), configuration={"format": form})
    status, out, err = call("result", run_id, "--output", f"{tmp_path}/new/")
    assert (status, out) == (1, "")
    assert "was not unpacked: it holds the path '../up'" in err
    assert not (tmp_path / "up").exists()
    assert not (tmp_path / "new").exists()


def test_a_folder_is_sent_as_an_archive(call, remote, tmp_path):
    """Instances of the local platform read no archives, and say so once it was sent."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.csv").write_text("1")
    status, out, err = call("submit", tmp_path / "folder", "--instance-id", "solver")
    assert (status, out) == (1, "")
    assert "not multi-file" in err
    err = call("submit", tmp_path / "folder", "--format", "csv-archive", "--instance-id", "solver")[2]
    assert "not csv-archive" in err


@pytest.mark.parametrize("target", ["no/folder/out", "full", "input.json/out"])
def test_a_place_that_cannot_be_used_is_told_before_anything_is_done(call, remote, given, tmp_path, target):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    status, out, err = call("submit", given, "--output", tmp_path / target)
    assert (status, out) == (2, "")
    assert f"{tmp_path / target} cannot be used" in err
    assert remote.runs() == []


def test_a_json_output_is_not_put_into_a_folder(call, remote, submitted, tmp_path):
    run_id = submitted()
    assert call("result", run_id, "--wait")[0] == 0
    (tmp_path / "folder").mkdir()
    status, _, err = call("result", run_id, "--output", tmp_path / "folder")
    assert (status, "is json and no archive, so name a file" in err) == (2, True)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("gone.json",), "gone.json cannot be used: no such file or directory.\n"),
        (("input.json", "--option", "k"), "--option k: give it as name=value.\n"),
        (("input.json", "--option", "=v"), "--option =v: give it as name=value.\n"),
        (("input.json", "--option", "k=1", "--option", "k=2"), "--option k=2: it is given twice.\n"),
        (("input.json", "--max-upload", "lots"), "--max-upload lots: expected a size such as 50MB or 10GB.\n"),
        (("input.json", "--app-id", "a/b"), "'a/b' is no application id"),
        (("/dev/null",), "The input is empty, and no run was submitted: give `--format text`"),
    ],
)
def test_what_cannot_be_used_is_told(call, remote, given, monkeypatch, *, args, expected):
    monkeypatch.chdir(given.parent)
    status, out, err = call("submit", *args)
    assert (status, out) == (2, "")
    assert err.startswith(expected)
    assert remote.runs() == []


def test_too_much_is_refused_before_its_first_byte(call, remote, given, submitted):
    sent = len(remote.runs())
    status, out, err = call("submit", given, "--instance-id", "solver", "--max-upload", "10")
    assert (status, out) == (1, "")
    assert f"has {len(INPUT)} bytes" in err
    assert len(remote.runs()) == sent
    run_id = submitted()
    assert call("result", run_id, "--wait")[0] == 0
    status, out, err = call("result", run_id, "--max-download", "10")
    assert (status, out) == (1, "")
    assert "10" in err
    assert call("input", run_id, "--max-download", "10")[:2] == (1, "")


def test_json_that_is_none_is_not_sent(call, remote, tmp_path):
    (tmp_path / "bad.json").write_text("{'a': 1}")
    status, _, err = call("submit", tmp_path / "bad.json", "--instance-id", "solver")
    assert (status, "is no JSON" in err) == (1, True)
    assert remote.runs() == []


def test_a_run_that_is_not_there(call, remote):
    for command in ("result", "input", "logs"):
        status, out, err = call(command, "solver-gone")
        assert (status, out) == (2, "")
        assert err == (
            f"Application routing on {remote.url} has no run solver-gone (404): look whether the id is right, or "
            "give `--app-id`.\n"
        )
    status, _, err = call("result", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert (status, err) == (
        2,
        "No run 01ARZ3NDEKTSV4RRFFQ69G5FAV is in the spool; `nxtrack list` shows those that are.\n",
    )


def test_no_key(process, given):
    done = process("submit", given, "--app-id", "a", NEXTMV_ENDPOINT="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No API key" in done.stderr


def test_nobody_there(process, given):
    done = process(
        "result",
        "a-b",
        "--app-id",
        "a",
        NEXTMV_ENDPOINT="http://127.0.0.1:1",
        NEXTMV_API_KEY="k",
        NXTRACK_BACKOFF="0.01",
    )
    assert (done.returncode, done.stdout) == (75, "")
    assert "Could not reach http://127.0.0.1:1 (connection refused)" in done.stderr


def test_a_tracked_run_gives_back_the_bytes_that_were_captured(call, process, remote, solved, monkeypatch):
    """By the id it has on the platform, and by the one it has in the spool, or its beginning."""
    problem = {"list": [1.5, 2.0, 1e300, None, "\x1b[31m ü \U0001f600"], "deep": {"ä": [[]]}}
    ids = solved(2, data=problem, output=problem | {"pad": "x" * 100_000}, log="solving\n", app_id="other")
    monkeypatch.delenv("NEXTMV_APP_ID")
    captured = {kind: call("show", ids[0], f"--{kind}")[1] for kind in ("input", "output", "logs")}
    assert "x" * 100_000 in captured["output"]
    status, _, err = call("result", ids[0])
    assert (status, "is ready in the spool and not known to be on the platform" in err) == (2, True)
    assert call("flush")[0] == 0
    run_id = json.loads(call("show", ids[0], "--json")[1])["run_id"]
    common = next(place for place in range(26) if ids[0][place] != ids[1][place])
    for args in ((ids[0],), (ids[0][: common + 1].lower(),), (run_id, "--app-id", "other")):
        assert call("result", *args) == (0, captured["output"], "")
        assert call("input", *args) == (0, captured["input"], "")
        assert call("logs", *args) == (0, captured["logs"], "")
    assert captured["logs"] == "solving\n"
    assert process("result", ids[0], text=False).stdout == captured["output"].encode()
    status, _, err = call("result", ids[0][:common])
    assert (status, err.startswith("2 runs begin with")) == (2, True)


def test_a_tracked_run_of_another_platform(call, remote, solved, monkeypatch):
    (run_id,) = solved()
    assert call("flush")[0] == 0
    monkeypatch.setenv("NEXTMV_ENDPOINT", "http://127.0.0.1:1")
    status, _, err = call("result", run_id)
    assert status == 2
    assert (
        err
        == f"Run {run_id} was delivered to {remote.url}/v1/applications/routing: set NEXTMV_ENDPOINT to get there.\n"
    )


def test_tracked_runs_without_an_output(call, remote, solved, spool):
    from nxtrack import track

    with track(app_id="routing", input={}):
        pass
    solved(1, error="nothing to solve")
    assert call("flush")[0] == 0
    failed, none = (entry.run_id for entry in reversed(list(spool.entries())))
    status, out, err = call("result", none)
    assert (status, out) == (2, "")
    assert "has no output" in err
    status, out, err = call("result", failed)
    assert (status, json.loads(out)) == (1, {"found": 0})
    assert "ValueError: nothing to solve" in err


def test_ctrl_c_on_a_terminal(terminal, remote, submitted, go):
    run_id = submitted("slow")

    def then(shown, screen):
        return "is running" in shown and os.write(screen, b"\x03")

    status, shown = terminal("result", run_id, "--wait", columns=150, while_running=then)
    assert status == 130
    assert f"Run {run_id} goes on: `nxtrack result {run_id} --wait` waits for it again." in shown
    assert "Traceback" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is there again
    go.touch()


def test_logs_are_followed(start, call, remote, submitted, go):
    run_id = submitted("slow")
    following = start("logs", run_id, "--follow")
    assert following.stdout.readline() == "begun\n"
    go.touch()
    out, err = following.communicate(timeout=30)
    assert (following.returncode, out, err) == (0, "ended\n", "")
    assert call("logs", run_id)[1] == "begun\nended\n"


def test_ctrl_c_while_following(start, remote, submitted):
    run_id = submitted("slow")
    following = start("logs", run_id, "-f")
    assert following.stdout.readline() == "begun\n"
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=20)
    assert following.returncode == 130
    assert err == f"Run {run_id} goes on: `nxtrack result {run_id} --wait` waits for it.\n"
    remote.application().cancel_run(run_id)


def test_on_a_terminal_waiting_and_transfers_are_shown(terminal, remote, tmp_path, go):
    (tmp_path / "large.json").write_bytes(json.dumps({"pad": random.Random(1).randbytes(4_000_000).hex()}).encode())

    def then(shown, _):
        if "is running" not in shown:
            return False
        go.touch()
        return True

    status, shown = terminal(
        "submit", "large.json", "--instance-id", "slow", "--output", "out.json", columns=100, while_running=then
    )
    assert status == 0
    assert "Uploading" in shown
    assert "8.0/8.0 MB" in shown
    assert re.search(r"Run slow-\S+ is running", shown)
    assert re.search(r"Run slow-\S+ succeeded in .* in out\.json\.", shown)
    status, shown = terminal("input", remote.runs()[0].id, "--output", "in.json", NO_COLOR="1")
    assert status == 0
    assert "Downloading" in shown
    assert re.search(r"\x1b\[(3|9)\dm", shown) is None


@pytest.fixture
def stopped(start, tmp_path):
    """Submits something to a platform that never answers, and stops it once that has all of a request's head."""

    def run(data):
        (tmp_path / "given.json").write_bytes(data)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(30)
            waiting = start("submit", "given.json", NEXTMV_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
            line = silent.accept()[0]
            with line, line.makefile("rb") as heard:
                while heard.readline().strip():
                    pass
                waiting.send_signal(signal.SIGINT)
                out, err = waiting.communicate(timeout=20)
        assert (waiting.returncode, out) == (130, "")
        return err

    return run


def test_ctrl_c_while_uploading_submits_nothing(remote, stopped):
    assert stopped(b"[" + b"1," * 4_000_000 + b"1]") == "Stopped: no run was submitted.\n"


def test_ctrl_c_while_the_run_is_on_its_way_tells_what_to_look_for(remote, stopped):
    assert re.fullmatch(
        r"The submission was interrupted; .* may have taken the run: look for nxtrack:[0-9A-Z]{26} in .*\n",
        stopped(b"{}"),
    )


def test_nothing_submitted_is_said(call, remote, given, monkeypatch):
    status, out, err = call("submit", given, "--instance-id", "gone")
    assert (status, out, err.splitlines()[0]) == (1, "", "No run was submitted.")
    monkeypatch.setenv("NXTRACK_BACKOFF", "0.01")
    monkeypatch.setenv("NEXTMV_ENDPOINT", "http://127.0.0.1:1")
    status, out, err = call("submit", given, "--instance-id", "solver")
    assert (status, out, err.splitlines()[0]) == (75, "", "No run was submitted: try again.")
    status, out, err = call("result", "solver-1")
    told = (
        "Nothing could be learned of run solver-1, which is not affected: `nxtrack result solver-1 --wait` comes back "
        "to it."
    )
    assert (status, out, err.splitlines()[0]) == (75, "", told)


def test_odd_names_of_files(call, remote, given, submitted, tmp_path):
    status, _, err = call("submit", given, "--instance-id", "solver", "--output", "")
    assert (status, err) == (2, "--output is empty: name a file.\n")
    assert remote.runs() == []
    run_id = submitted()
    name = str(tmp_path / "a\nb \x1b[31m")
    status, out, _ = call("result", run_id, "--wait", "--output", name)
    assert (status, out.count("\n"), "\x1b" in out) == (0, 1, False)
    assert os.path.exists(name)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_no_room_for_a_copy_is_no_fault_of_the_input():
    with pytest.raises(NoSpace) as caught, local_file("problem.json"):
        pathlib.Path("/dev/full").write_bytes(b"the copy")
    assert str(caught.value) == (
        f"The folder for temporary files, {tempfile.gettempdir()}, cannot be used: no space left on device."
    )
    with pytest.raises(NoSpace, match=r"^plan\.json cannot"), local_file("plan.json", written=True):
        pathlib.Path("/dev/full").write_bytes(b"the plan")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk(call, shell, remote, submitted):
    run_id = submitted()
    status, _, err = call("result", run_id, "--wait", "--output", "/dev/full")
    assert (status, err.splitlines()[-2:]) == (
        75,
        [
            f"The output of run {run_id} is still on the platform: `nxtrack result {run_id}` fetches it.",
            "/dev/full cannot be used: no space left on device.",
        ],
    )
    assert shell(f"result {run_id} > /dev/full").returncode == 75
    assert shell(f"result {run_id} --output /dev/stdout | cat").stdout.startswith('{"options"')


def test_the_options_have_names_that_people_expect(call):
    for command, options in {
        "submit": (
            "INPUT",
            "--app-id",
            "--instance-id",
            "--option",
            "--name",
            "--wait",
            "--timeout",
            "--output",
            "--json",
        ),
        "result": ("RUN_ID", "--app-id", "--output", "--wait", "--timeout", "--json"),
        "input": ("RUN_ID", "--app-id", "--output"),
        "logs": ("RUN_ID", "--app-id", "--follow"),
    }.items():
        status, out, _ = call(command, "--help")
        assert status == 0
        assert all(option in out for option in options)
