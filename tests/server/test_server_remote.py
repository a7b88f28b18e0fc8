"""Remote runs: real programs, executed by the platform, seen over HTTP as a client sees them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from support.solvers import alive, final, first_line, instance, started, state, until

ECHO = """
    import json, sys
    data = sys.stdin.read()
    print("read", len(data), "characters", file=sys.stderr)
    print(json.dumps({"got": data, "words": sys.argv[1:], "metrics": {"cost": 7.5}}))
"""
# Says so, then waits for a file to appear, for as long as a test could want.
WAIT = """
    import json, os, sys, time
    where = json.load(sys.stdin)["where"]
    print("begun", file=sys.stderr)
    while not os.path.exists(where):
        time.sleep(0.01)
    print("ended", file=sys.stderr)
    print("{}")
"""


def cancel(api, run_id):
    return api.runs(f"/{run_id}/cancel", method="PATCH")


@pytest.fixture
def serving(start, tmp_path):
    """Starts a platform with one instance."""

    def _serving(source, **options):
        return start(instances=(instance(tmp_path, source),), **options)

    return _serving


def test_a_run_is_executed(serving):
    api = serving(
        """
        import json, sys
        data = json.load(sys.stdin)
        print("solving", data["size"], file=sys.stderr)
        asset = {"name": "plan", "content": {"x": [1]}, "visual": {"schema": "chartjs", "label": "Plan"}}
        print(json.dumps({"solution": sys.argv[1:], "metrics": {"cost": 7.5}, "assets": [asset]}))
        """
    )
    body = {
        "input": {"size": 3},
        "options": {"duration": "2", "solve.mode": "fast"},
        "name": "first",
        "description": "d",
    }
    run_id = started(api, body)
    assert run_id.startswith("solver-")
    result = final(api, run_id)
    assert result["output"]["solution"] == ["-duration", "2", "-solve.mode", "fast"]
    meta = result["metadata"]
    assert (meta["status"], meta["status_v2"], meta["error"]) == ("succeeded", "succeeded", "")
    assert meta["run_type"]["type"] == "standard"
    assert meta["application_instance_id"] == "solver"
    assert meta["options"]["request_options"] == body["options"]
    assert meta["metrics"] == {"cost": 7.5}
    assert (meta["input_size"], meta["output_size"] > 0) == (11, True)
    assert 0 < meta["duration"] == meta["execution_duration"] < 60_000
    assert (result["name"], result["description"]) == ("first", "d")
    assert api.runs(f"/{run_id}/logs").json() == {"log": "solving 3\n"}
    assert api.runs(f"/{run_id}/input").json() == {"size": 3}
    (asset,) = api.runs(f"/{run_id}/assets").json()["items"]
    assert (asset["name"], asset["visual"]["label"]) == ("plan", "Plan")


def test_input_and_output_above_the_inline_size_go_by_url(serving):
    api = serving("import sys; print(sys.stdin.read(), end='')")
    data = json.dumps({"long": "x" * 6_000_000}).encode()
    result = final_by_url(api, started(api, {"upload_id": api.upload(data), "options": {"duration": "2"}}))
    assert result["metadata"]["output_size"] == len(data)
    assert api.session.get(result["output"]["url"], timeout=30).content == data


def final_by_url(api, run_id):
    until(lambda: state(api, run_id) == "succeeded")
    return api.runs(f"/{run_id}", params={"format": "url"}).json()


def test_text_in_and_text_out(serving):
    api = serving("import sys; print(sys.stdin.read().upper(), end='')")
    formats = {"format": {"input": {"type": "text"}, "output": {"type": "text"}}}
    inline = started(api, {"input": "grüße\n", "configuration": formats})
    uploaded = started(api, {"upload_id": api.upload(b"zwei\n"), "configuration": formats})
    assert final(api, inline)["output"] == "GRÜSSE\n"
    assert final(api, uploaded)["output"] == "ZWEI\n"
    assert api.runs(f"/{inline}/input").json() == "grüße\n"
    given = api.runs(f"/{inline}/input", params={"format": "url"}).json()["url"]
    assert api.session.get(given, timeout=30).content.decode() == "grüße\n"


def test_options_are_words_and_nothing_else(serving, tmp_path):
    api = serving(ECHO)
    told = {
        "shell": f"; touch {tmp_path / 'made'} $(id) `id` | > < & * ? ~",
        "empty": "",
        "spaces": "  a b  ",
        "quotes": "'\"\\",
        "lines": "a\nb",
        "letters": "äöü €",
        "less": "-5",
        "flag": "--verbose",
        "equals": "a=b",
    }
    words = final(api, started(api, {"input": {}, "options": told}))["output"]["words"]
    wanted = []
    for name, value in told.items():
        wanted += [f"-{name}={value}"] if value.startswith("-") else [f"-{name}", value]
    assert words == wanted
    assert not (tmp_path / "made").exists()


def test_argparse_and_the_options_agree(serving):
    api = serving("""
        import argparse, json
        parser = argparse.ArgumentParser()
        for name in ("-gap", "-less", "-text"):
            parser.add_argument(name)
        print(json.dumps(vars(parser.parse_args())))
    """)
    told = {"gap": "0.5", "less": "-5", "text": "--gap"}
    assert final(api, started(api, {"input": {}, "options": told}))["output"] == told


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; print('half'); sys.exit('no licence')", "The program ended with exit status 1: no licence"),
        ("import sys; sys.exit(3)", "The program ended with exit status 3."),
        ("raise ValueError('no plan')", "The program ended with exit status 1: ValueError: no plan"),
        ("import os; os.kill(os.getpid(), 9)", "The program was ended by SIGKILL."),
        ("print('no json')", "what it printed on stdout is not valid JSON"),
        ("print('{} {}')", "what it printed on stdout is not valid JSON"),
        ("pass", "it printed nothing"),
    ],
)
def test_a_failure_has_a_reason(serving, program, reason):
    api = serving(program)
    result = final(api, started(api))
    assert result["metadata"]["status_v2"] == "failed"
    assert reason in result["metadata"]["error"]
    assert reason in result["error_log"]["error"]
    assert "output" not in result
    assert result["metadata"]["metrics"] is None


def test_what_a_failed_run_printed_is_kept(serving):
    api = serving("import sys; print('half'); print('why', file=sys.stderr); sys.exit(1)")
    result = final(api, started(api))
    assert result["error_log"]["stderr"] == "why\n"
    assert result["error_log"]["stdout"] == "half\n"


def test_text_that_is_none_fails(serving):
    api = serving("import sys; sys.stdout.buffer.write(b'\\xff')")
    formats = {"format": {"input": {"type": "json"}, "output": {"type": "text"}}}
    result = final(api, started(api, {"input": {}, "configuration": formats}))
    assert "not valid text in UTF-8" in result["metadata"]["error"]


def test_a_program_that_reads_nothing_is_none_the_worse(serving):
    api = serving("print('{}')")
    data = json.dumps("x" * 3_000_000).encode()
    assert final(api, started(api, {"upload_id": api.upload(data)}))["metadata"]["status_v2"] == "succeeded"


def test_what_cannot_be_executed_is_refused(serving):
    api = serving("print('{}')")
    archive = {"format": {"input": {"type": "multi-file"}}}
    for body, said in [
        ({"input": {}, "configuration": archive}, "json or text, not multi-file"),
        ({"input": {}, "configuration": {"format": {"output": {"type": "csv-archive"}}}}, "not csv-archive"),
        ({"input": {}, "options": {"a": "b\0c"}}, "cannot be handed to a program"),
        ({"input": {}, "options": {"-a": "b"}}, "begin its name with no dash"),
        ({"input": {}, "options": {"": "b"}}, "cannot be handed"),
        ({}, "no input"),
        ({"input": {}, "upload_id": "x"}, "not both"),
        ({"upload_id": "nowhere"}, "no upload"),
    ]:
        answer = api.post(body)
        assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text
    assert api.post({"input": {"long": "x" * 5_300_000}}).status_code == 413
    assert api.runs().status_code == 404


def test_an_output_without_end_is_stopped(serving):
    api = serving("while True: print('x' * 10_000)", limits={"download": 300_000})
    result = final(api, started(api))
    assert result["metadata"]["status_v2"] == "failed"
    assert "more than 300000 bytes" in result["metadata"]["error"]


def test_logs_without_end_are_cut_and_the_run_goes_on(serving):
    api = serving(
        """
        import sys
        for number in range(100_000):
            print(number, file=sys.stderr)
        print("{}")
        """,
        limits={"download": 50_000},
    )
    run_id = started(api)
    assert final(api, run_id)["metadata"]["status_v2"] == "succeeded"
    logs = api.runs(f"/{run_id}/logs").json()["log"]
    assert logs.startswith("0\n1\n")
    assert len(logs) <= 50_000
    assert logs.endswith("keeps no more of them]\n")


def test_programs_see_no_key_and_work_in_a_folder_of_their_own(serving, monkeypatch):
    monkeypatch.setenv("NEXTMV_API_KEY", "secret-1")
    monkeypatch.setenv("NXTRACK_SERVE_KEY", "secret-2")
    monkeypatch.setenv("GRB_LICENSE_FILE", "/licence")
    api = serving("""
        import json, os
        open("left", "w").close()
        print(json.dumps({"seen": dict(os.environ), "folder": os.getcwd(), "mode": os.stat(".").st_mode & 0o777}))
    """)
    output = final(api, started(api))["output"]
    assert "secret" not in str(output["seen"])
    assert not {name for name in output["seen"] if name.startswith("NEXTMV_")}
    assert output["seen"]["GRB_LICENSE_FILE"] == "/licence"
    assert output["mode"] == 0o700
    until(lambda: not Path(output["folder"]).exists())


def test_the_platforms_own_streams_stay_clean(serving, capfd):
    """Whatever a program prints, and however it ends, none of it is the platform's to say."""
    api = serving("import sys; print('{}'); sys.exit(2)")
    final(api, started(api))
    assert capfd.readouterr() == ("", "")


def test_live_logs(serving, tmp_path):
    api = serving(WAIT)
    run_id = started(api, {"input": {"where": str(tmp_path / "go")}})
    until(lambda: api.runs(f"/{run_id}/logs").json()["log"] == "begun\n")
    live = api.runs(f"/{run_id}/logs/live").json()
    assert [item["log"] for item in live["items"]] == ["begun\n"]
    assert live["status_v2"] == "running"
    again = api.runs(f"/{run_id}/logs/live", params={"since": live["next_page_token"]}).json()
    assert again["items"] == []
    assert api.runs().json()["runs"][0]["status_v2"] == "running"
    (tmp_path / "go").touch()
    final(api, run_id)
    rest = api.runs(f"/{run_id}/logs/live", params={"since": again["next_page_token"]}).json()
    assert [item["log"] for item in rest["items"]] == ["ended\n"]
    assert rest["status_v2"] == "succeeded"
    whole = api.runs(f"/{run_id}/logs/live").json()
    assert [item["log"] for item in whole["items"]] == ["begun\n", "ended\n"]


def test_cancel_a_queued_run(serving, tmp_path):
    api = serving(WAIT, jobs=1)
    first, second = (started(api, {"input": {"where": str(tmp_path / "go")}}) for _ in range(2))
    until(lambda: state(api, first) == "running")
    assert state(api, second) == "queued"
    assert cancel(api, second).status_code == 200
    result = api.runs(f"/{second}").json()
    assert (result["metadata"]["status_v2"], result["metadata"]["duration"]) == ("canceled", 0)
    (tmp_path / "go").touch()
    assert final(api, first)["metadata"]["status_v2"] == "succeeded"
    assert state(api, second) == "canceled"
    assert api.runs(f"/{second}/logs").json() == {"log": ""}


def test_cancel_a_running_run(serving, tmp_path):
    """SIGTERM comes first, so that a solver can say its last word."""
    api = serving("""
        import signal, sys, time
        def stop(*_):
            print("saved", file=sys.stderr)
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        print("begun", file=sys.stderr)
        time.sleep(120)
    """)
    run_id = started(api)
    first_line(api, run_id)
    assert cancel(api, run_id).status_code == 200
    result = api.runs(f"/{run_id}").json()
    assert result["metadata"]["status_v2"] == "canceled"
    assert result["metadata"]["error"] == "The run was canceled."
    assert api.runs(f"/{run_id}/logs").json() == {"log": "begun\nsaved\n"}
    again = cancel(api, run_id)
    assert state(api, run_id) == "canceled", again.text


def test_a_program_and_all_it_started_is_killed(serving, tmp_path):
    """Children, their children, those that left the group, those that hold the streams: none is left."""
    api = serving("""
        import json, os, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        folder = json.load(sys.stdin)["folder"]
        for depth in range(4):
            os.fork()
        if os.getpid() % 3 == 0:
            os.setsid() if os.getpid() != os.getpgid(0) else None
        open(os.path.join(folder, str(os.getpid())), "w").close()
        # A bomb that goes off slowly, and by itself not for long: whoever is left would start another one.
        for _ in range(100):
            time.sleep(0.2)
            if os.fork() == 0:
                open(os.path.join(folder, str(os.getpid())), "w").close()
                time.sleep(30)
                os._exit(0)
    """)
    folder = tmp_path / "pids"
    folder.mkdir()
    run_id = started(api, {"input": {"folder": str(folder)}})
    until(lambda: len(list(folder.iterdir())) > 30)
    begun = time.monotonic()
    cancel(api, run_id)
    assert time.monotonic() - begun < 30
    assert state(api, run_id) == "canceled"
    pids = [int(path.name) for path in folder.iterdir()]
    assert [pid for pid in pids if alive(pid)] == []


def test_a_child_that_keeps_the_streams_does_not_keep_the_run(serving, tmp_path):
    api = serving("""
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(120)
        print('{"child": 1}')
    """)
    begun = time.monotonic()
    assert final(api, started(api))["output"] == {"child": 1}
    assert time.monotonic() - begun < 30


def test_the_time_limit(serving):
    api = serving("import sys, time; print('on it', file=sys.stderr); time.sleep(120)", time_limit=0.5)
    run_id = started(api)
    result = final(api, run_id)
    assert result["metadata"]["status_v2"] == "failed"
    assert result["metadata"]["error"] == "It ran longer than the time limit of 0.5 s."
    assert 500 <= result["metadata"]["duration"] < 30_000


def test_so_many_at_once(serving, tmp_path):
    api = serving(WAIT, jobs=3)
    runs = [started(api, {"input": {"where": str(tmp_path / "go")}}) for _ in range(7)]

    def states():
        return [state(api, run_id) for run_id in runs]

    # The first that came are the first that run, and no more than three of them.
    until(lambda: states() == ["running"] * 3 + ["queued"] * 4)
    time.sleep(0.2)
    assert states() == ["running"] * 3 + ["queued"] * 4
    cancel(api, runs[1])
    until(lambda: states() == ["running", "canceled", "running", "running"] + ["queued"] * 3)
    (tmp_path / "go").touch()
    for run_id in runs:
        final(api, run_id)
    assert states() == ["succeeded", "canceled", *["succeeded"] * 5]


def test_fifty_at_once_are_all_executed_in_their_order(serving, tmp_path):
    api = serving(
        """
        import json, os, sys
        data = json.load(sys.stdin)
        with open(data["where"], "a") as file:
            file.write(f"{data['number']}\\n")
        print(json.dumps({"number": data["number"]}))
        """,
        jobs=1,
    )
    order = tmp_path / "order"
    runs = [started(api, {"input": {"number": number, "where": str(order)}}) for number in range(50)]
    results = [final(api, run_id) for run_id in runs]
    assert [result["output"]["number"] for result in results] == list(range(50))
    assert order.read_text().split() == [str(number) for number in range(50)]


def test_a_run_that_is_deleted_is_stopped(serving, tmp_path):
    api = serving("import os, json, sys, time; print(os.getpid(), file=sys.stderr); time.sleep(120)")
    run_id = started(api)
    pid = int(first_line(api, run_id))
    assert alive(pid)
    assert api.runs(f"/{run_id}", method="DELETE").status_code == 200
    assert not alive(pid)
    assert api.runs(f"/{run_id}").status_code == 404
    other = started(api)
    pid = int(first_line(api, other))
    waiting = [started(api) for _ in range(5)]
    assert api.call("DELETE", f"/applications/{api.app}").status_code == 200
    until(lambda: not alive(pid))
    assert api.runs(f"/{waiting[0]}").status_code == 404
    until(lambda: payloads(api) == [])


def payloads(api):
    # A draft moves to its place while one looks, and never back: drafts are listed first, or it were seen nowhere.
    return [*(api.data / "partial").iterdir(), *(api.data / "payloads").glob("*/*")]


def contents(api):
    """What all payloads hold; None while the platform is moving or removing one of them."""
    try:
        return [path.read_bytes() for path in payloads(api)]
    except FileNotFoundError:
        return None


def test_a_program_that_is_gone_is_a_reason(start, tmp_path):
    solver = instance(tmp_path, "print('{}')")
    moved = tmp_path / "python"
    moved.symlink_to(solver.command[0])
    solver = type(solver)(name="solver", command=(str(moved), *solver.command[1:]))
    api = start(instances=(solver,))
    moved.unlink()
    result = final(api, started(api))
    assert result["metadata"]["error"] == "The program could not be started: No such file or directory."
    long = final(api, started(api, {"input": {}, "options": {"long": "x" * 900_000}}))
    assert long["metadata"]["status_v2"] == "failed"


def test_what_cannot_be_stored_fails_the_run(serving):
    """The run says what kept its output from being stored; the platform goes on."""
    import resource

    api = serving("import sys; print('{' + ' ' * int(sys.argv[2]) + '}')")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        failed = final(api, started(api, {"input": {}, "options": {"n": "5000000"}}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed["metadata"]["error"] == "What the program printed could not be stored: File too large."
    good = final(api, started(api, {"input": {}, "options": {"n": "2000000"}}))
    assert good["metadata"]["status_v2"] == "succeeded"


def test_a_platform_that_cannot_work_says_so_in_the_run(serving):
    api = serving("print('{}')")
    partial, aside = api.data / "partial", api.data / "aside"
    upload = api.upload(b"{}")
    partial.rename(aside)
    failed = final(api, started(api, {"upload_id": upload}))
    assert "The platform failed while it executed the run: " in failed["metadata"]["error"]
    aside.rename(partial)
    assert final(api, started(api))["metadata"]["status_v2"] == "succeeded"


def test_an_end_that_cannot_be_stored_is_stored_later(serving, tmp_path, caplog):
    """The database cannot grow for a while: neither the run that ends then nor the next one is lost."""
    import resource

    api = serving(WAIT, jobs=1)
    runs = [started(api, {"input": {"where": str(tmp_path / "go")}}) for _ in range(2)]
    first_line(api, runs[0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        (tmp_path / "go").touch()
        until(lambda: "cannot be stored at the moment" in caplog.text)
        assert [state(api, run_id) for run_id in runs] == ["running", "queued"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    failed = final(api, runs[0])["metadata"]
    assert failed["status_v2"] == "failed"
    assert "The platform failed while it executed the run: " in failed["error"]
    assert final(api, runs[1])["metadata"]["status_v2"] == "succeeded"


def test_a_run_that_is_forgotten_underneath_leaves_nothing(serving, tmp_path):
    import contextlib
    import sqlite3

    api = serving(WAIT)
    run_id = started(api, {"input": {"where": str(tmp_path / "go")}})
    first_line(api, run_id)
    file = sqlite3.connect(api.data / "platform.db")
    with contextlib.closing(file), file:
        file.execute("PRAGMA foreign_keys = ON")
        file.execute("DELETE FROM runs")
    (tmp_path / "go").touch()
    until(lambda: contents(api) == [json.dumps({"where": str(tmp_path / "go")}).encode()])
    assert api.runs(f"/{run_id}").status_code == 404


def test_an_output_too_large_to_look_into_is_taken_as_it_is(serving):
    api = serving("print('{\"metrics\": {\"a\": 1}}' + ' ' * 3000)", limits={"inspected": 2000})
    result = final(api, started(api))
    assert result["metadata"]["status_v2"] == "succeeded"
    assert result["metadata"]["metrics"] is None


def test_what_a_terminal_would_obey_stands_in_no_reason(serving):
    api = serving("import sys; print('\033[31mred', file=sys.stderr); sys.exit(2)")
    assert final(api, started(api))["metadata"]["error"] == "The program ended with exit status 2."


def test_a_long_log_comes_in_parts(serving):
    api = serving("""
        import sys
        sys.stderr.write("x" + "ä" * 800_000 + "\\n" + "é\\r\\n" * 100_000 + "last")
        print("{}")
    """)
    run_id = started(api)
    final(api, run_id)
    logs, token = [], {}
    for _ in range(10):
        part = api.runs(f"/{run_id}/logs/live", params=token).json()
        logs += [item["log"] for item in part["items"]]
        token = {"since": part["next_page_token"]}
        if part["status_v2"] == "succeeded":
            break
    assert "".join(logs) == "x" + "ä" * 800_000 + "\n" + "é\r\n" * 100_000 + "last"
    assert logs[-1] == "last"


def test_runs_of_an_experiment_carry_its_id(serving):
    api = serving("print('{}')")
    run_id = started(api, {"input": {}, "batch_experiment_id": "batch-1"})
    assert final(api, run_id)["metadata"]["experiment_id"] == "batch-1"


def test_stopping_the_platform_stops_what_runs_and_keeps_what_waits(start, tmp_path):
    import contextlib

    solver = instance(
        tmp_path,
        """
        import json, os, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if json.load(sys.stdin).get("quick"):
            print("{}")
            sys.exit()
        print(os.getpid(), file=sys.stderr)
        time.sleep(120)
        """,
    )
    with contextlib.ExitStack() as first:
        api = start(instances=(solver,), jobs=1, session_of=first)
        run_id, waits = started(api), started(api, {"input": {"quick": True}})
        pid = int(first_line(api, run_id))
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    assert not alive(pid)
    again = start(instances=(solver,), jobs=1)
    result = again.runs(f"/{run_id}").json()
    assert result["metadata"]["status_v2"] == "failed"
    assert result["metadata"]["error"] == "The platform was stopped while it ran."
    assert result["error_log"]["stderr"] == f"{pid}\n"
    assert final(again, waits)["metadata"]["status_v2"] == "succeeded"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_many_cancels_at_once(serving, tmp_path):
    """Cancels that meet starts and ends: every run has one end, and it stays."""
    from concurrent.futures import ThreadPoolExecutor

    api = serving("print('{}')", jobs=2)
    runs = [started(api) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda run_id: cancel(type(api)(api.url, api.data, api.clock), run_id), runs))
    results = [final(api, run_id)["metadata"] for run_id in runs]
    assert {meta["status_v2"] for meta in results} <= {"succeeded", "canceled"}
    assert all((meta["status_v2"] == "canceled") == (meta["error"] != "") for meta in results)
