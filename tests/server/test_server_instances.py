"""Which program a remote run is executed by, and what `nxtrack serve` can be told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from support.solvers import final, instance, started

import nxtrack
from nxtrack.cli.serve import Wishes, _options
from nxtrack.errors import ServerError, SettingsError
from nxtrack.server.execution.instances import Instance, Instances, NoInstance, parse_instance
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running

SAY = 'print(\'{{"by": "{}"}}\')'


@pytest.fixture
def two(start, tmp_path):
    """A platform with the instances `a` and `b`, which say who they are."""
    return start(instances=tuple(instance(tmp_path, SAY.format(name), name) for name in ("a", "b")))


def refused(api, **more):
    answer = api.post({"input": {}}, **more)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_the_one_that_is_named_executes(two):
    for name in ("b", "a"):
        run_id = started(two, instance=name)
        assert run_id.startswith(f"{name}-")
        result = final(two, run_id)
        assert result["output"] == {"by": name}
        assert result["metadata"]["application_instance_id"] == name


def test_one_that_is_not_there_is_refused_by_the_names_there_are(two):
    assert refused(two, instance="c") == "instance_id: no instance c is registered here; there are a, b."
    assert refused(two) == "instance_id: it is missing, so say which instance is meant: a, b."
    assert refused(two, instance="latest").endswith("which instance is meant: a, b.")
    assert two.runs().status_code == 404


def test_without_a_name_the_application_has_a_default(two):
    for app, body in [("one", {"default_instance": "b"}), ("two", {"default_instance": "c"})]:
        answer = two.call("POST", "/applications", json={"id": app, "name": app, **body})
        assert answer.status_code == 200, answer.text
    assert final(two, started(two, app="one"), "one")["output"] == {"by": "b"}
    assert final(two, started(two, app="one", instance="a"), "one")["output"] == {"by": "a"}
    assert "no instance c is registered" in refused(two, app="two")


@pytest.mark.parametrize("asked", [None, "latest", "devint", "default", "solver"])
def test_the_only_one_needs_no_name(start, tmp_path, asked):
    api = start(instances=(instance(tmp_path, SAY.format("me")),))
    result = final(api, started(api, instance=asked))
    assert result["output"] == {"by": "me"}
    assert result["metadata"]["application_instance_id"] == "solver"
    assert "no instance other" in refused(api, instance="other")


def test_a_registered_name_is_no_general_one():
    chosen = Instances([Instance(name="latest", command=("x",)), Instance(name="b", command=("y",))])
    assert chosen.choose("latest", "b").name == "latest"
    assert chosen.choose("devint", "b").name == "b"
    assert chosen.choose(None, "latest").name == "latest"
    with pytest.raises(NoInstance, match="latest, b"):
        chosen.choose(None, "default")


def test_many_names_are_not_all_told():
    chosen = Instances(Instance(name=f"i{number}", command=("x",)) for number in range(30))
    with pytest.raises(NoInstance, match=r"i0, .*, i19 and 10 more\.$"):
        chosen.choose("x", None)


def test_without_any_a_run_needs_its_result(api):
    assert "start the platform with --instance NAME=COMMAND" in refused(api)


def test_two_of_one_name_are_refused(start):
    twice = Instance(name="a", command=(sys.executable,))
    with pytest.raises(ServerError, match="instance a is given twice"):
        start(instances=(twice, twice))


def test_a_command_is_words_not_a_shell(tmp_path):
    (tmp_path / "solve.py").touch()
    found = parse_instance(f"a={sys.executable} solve.py 'two words' $HOME; | x=y", tmp_path)
    assert found.name == "a"
    assert found.command == (sys.executable, str(tmp_path / "solve.py"), "two words", "$HOME;", "|", "x=y")


def test_a_program_is_found_on_the_path_and_in_the_folder(tmp_path):
    assert Path(parse_instance("a=sh -c true", tmp_path).command[0]).is_absolute()
    program = tmp_path / "solve"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(ServerError, match=r"has no program './solve' that can be run"):
        parse_instance("a=./solve", tmp_path)
    program.chmod(0o700)
    assert parse_instance("a=./solve", tmp_path).command == (f"{tmp_path}/solve",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "is not of the form NAME=COMMAND"),
        ("=true", "is not of the form"),
        ("../a=true", "is not of the form"),
        ("a b=true", "is not of the form"),
        ("a=", "has no command"),
        ("a='", "cannot be read"),
        ("a=no-such-program-here", "has no program"),
        ("a=" + "x" * 5000, "has no program"),
    ],
)
def test_what_is_no_instance_is_one_sentence(tmp_path, text, said):
    with pytest.raises(ServerError, match=said) as caught:
        parse_instance(text, tmp_path)
    assert "change --instance" in str(caught.value) or "--instance a=COMMAND" in str(caught.value)


# The command line


def nxtrack_serve(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "nxtrack", "serve", "--port", "0", "--data", str(folder / "data"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(nxtrack.__path__[0]).parent), "NXTRACK_SERVE_KEY": "k"},
    )


def test_serve_takes_programs_and_limits(tmp_path):
    solver = instance(tmp_path, "import sys; print('[' + sys.stdin.read() + ', ' + '1' * 2000 + ']')")
    process = nxtrack_serve(
        tmp_path,
        *("--instance", f"mine={sys.executable} -S {Path(solver.command[-1]).name}"),
        *("--instance", f"cat={sys.executable} -c 'import sys; print(sys.stdin.read())'"),
        *("--jobs", "1", "--time-limit", "1m", "--max-inline", "1KB", "--max-upload", "10 kB"),
        *("--max-download", "20KB", "--url-lifetime", "100", "--rate-limit"),
    )
    try:
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = "Bearer k"
            runs = f"{url}/v1/applications/a/runs"

            def post(body, instance="mine"):
                return session.post(runs, params={"instance_id": instance}, json=body, timeout=20)

            run_id = post({"input": {}}).json()["run_id"]
            while session.get(f"{runs}/{run_id}/metadata", timeout=20).json()["metadata"]["status"] != "succeeded":
                pass
            # Each limit is the one that was given.
            assert session.get(f"{runs}/{run_id}", timeout=20).status_code == 400
            assert post({"input": "x" * 1100}).status_code == 413
            made = session.post(f"{runs}/uploadurl", timeout=20).json()["upload_url"]
            assert "expires=" in made
            with requests.Session() as bare:
                bare.trust_env = False
                assert bare.put(made, data=b"x" * 10_001, timeout=20).status_code == 413
                assert bare.put(made, data=b"x" * 10_000, timeout=20).status_code == 200
            answers = [post({"input": {}}, "cat") for _ in range(12)]
            assert {answer.status_code for answer in answers} == {200, 429}
            assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_serve_refuses_what_it_cannot_use(tmp_path):
    process = nxtrack_serve(tmp_path, "--instance", "x", "--rate-limit")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert "'x' is not of the form NAME=COMMAND" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"max_inline": "much"}, "--max-inline much: expected a size"),
        ({"max_upload": "0"}, "--max-upload 0: it would let nothing through"),
        ({"max_download": "-1MB"}, "--max-download -1MB: expected a size"),
        ({"time_limit": "0"}, "--time-limit 0: give a time such as"),
        ({"url_lifetime": "soon"}, "--url-lifetime soon: give a time"),
        ({"url_lifetime": "99999999w"}, "--url-lifetime 99999999w: give a time"),
    ],
)
def test_a_size_or_a_time_that_is_none_is_one_sentence(wishes, said):
    with pytest.raises(SettingsError, match=said):
        _options(Wishes(**wishes))


def test_the_documented_limits_are_the_defaults():
    told, plain = _options(Wishes()), ServeOptions()
    assert told == plain
    assert (plain.limits.upload, plain.limits.download, plain.limits.url_seconds) == (500_000_000, 100_000_000, 900)
    assert (plain.time_limit, plain.rate_limit, plain.instances) == (300, False, ())


def test_nothing_is_made_when_an_instance_is_wrong(tmp_path):
    twice = Instance(name="a", command=(sys.executable,))
    data = tmp_path / "data"
    with (
        pytest.raises(ServerError, match="twice"),
        running(ServeOptions(port=0, data=data / "inner", instances=(twice, twice))),
    ):
        pass
    assert not (data / "inner" / "platform.db").exists()
