"""One application's questions, against a small platform and store on loopback."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import msgspec
import pytest

from nxtrack.cloud.application import INLINE_LIMIT, Application
from nxtrack.cloud.messages import ExternalResult, NewRun, UploadURL
from nxtrack.errors import AnswerLost, NotFound, SettingsError

RUNS = "/v1/applications/routing/runs"


@pytest.fixture
def platform(serve, connect):
    """A server that answers from `answers[method, target]`, and the application that asks it."""
    answers = {}

    def behave(line):
        while (heard := line.hear()) is not None:
            if (heard.method, heard.target) not in answers:
                line.answer(404, b'{"error": "not here"}')
                continue
            answer = answers[heard.method, heard.target]
            line.answer(200, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    server = serve(behave)
    server.answers = answers
    server.application = Application("routing", connect(server.url))
    return server


def asked(server):
    return [f"{heard.method} {heard.target}" for heard in server.heard]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "a" * 129, "a\n", "a?b", "%2e"])
def test_ids_that_no_application_has(name):
    with pytest.raises(SettingsError, match="is no application id"):
        Application(name, None)


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "...", "a" * 128])
def test_ids_of_applications(name):
    assert Application(name, None).id == name


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_ids_that_no_run_has(platform, name):
    with pytest.raises(SettingsError, match="is no run id"):
        platform.application.run_metadata(name)
    assert not platform.heard


def test_a_tracked_run(platform):
    platform.answers["POST", f"{RUNS}/uploadurl"] = {"upload_id": "u1", "upload_url": f"{platform.url}/k?sig=1"}
    platform.answers["PUT", "/k?sig=1"] = b""
    platform.answers["POST", f"{RUNS}?instance_id=staging"] = {"run_id": "run-1"}
    application = platform.application
    place = application.upload_url()
    application.upload(b'{"a": 1}', upload_url=place)
    file = io.BytesIO(b"skipped log beyond")
    file.seek(8)
    application.upload(file, 3, upload_url=place, content_type="text/plain")
    application.upload(file, upload_url=place)
    run = NewRun(upload_id=place.upload_id, result=ExternalResult(status="succeeded", execution_duration=1000))
    assert application.new_run(run, instance_id="staging").run_id == "run-1"
    assert [heard.body for heard in platform.heard[:4]] == [b"", b'{"a": 1}', b"log", b" beyond"]
    assert json.loads(platform.heard[4].body) == {
        "upload_id": "u1",
        "result": {"status": "succeeded", "execution_duration": 1000},
    }


def test_answers_that_hold_nothing(platform):
    platform.answers["POST", f"{RUNS}/uploadurl"] = {"upload_id": "", "upload_url": "x"}
    platform.answers["POST", RUNS] = {"run_id": ""}
    with pytest.raises(AnswerLost, match="try again"):
        platform.application.upload_url()
    with pytest.raises(AnswerLost, match="look for it"):
        platform.application.new_run(NewRun())


def test_the_list_goes_on_page_by_page(platform):
    platform.answers["GET", RUNS] = {"runs": [{"id": "3"}, {"id": "2"}], "next_page_token": "a+/="}
    platform.answers["GET", f"{RUNS}?pagetoken=a%2B%2F%3D"] = {"runs": [{"id": "1"}]}
    runs = platform.application.list_runs()
    assert next(runs).id == "3"
    assert len(platform.heard) == 1
    assert [run.id for run in runs] == ["2", "1"]
    assert [run.id for run in platform.application.list_runs(pages=2)] == ["3", "2", "1"]


def test_a_list_that_is_longer_than_asked_for_does_not_pass_for_a_whole_one(platform):
    platform.answers["GET", RUNS] = {"runs": [{"id": "3"}, {"id": "2"}], "next_page_token": "a"}
    runs = platform.application.list_runs(pages=1)
    assert [next(runs).id, next(runs).id] == ["3", "2"]
    with pytest.raises(AnswerLost, match="too long"):
        next(runs)
    assert len(platform.heard) == 1


def test_a_list_whose_token_comes_again_has_no_end(platform):
    platform.answers["GET", RUNS] = {"runs": [{"id": "1"}], "next_page_token": "t"}
    platform.answers["GET", f"{RUNS}?pagetoken=t"] = {"runs": [{"id": "2"}], "next_page_token": "t"}
    runs = platform.application.list_runs()
    assert [next(runs).id, next(runs).id] == ["1", "2"]
    with pytest.raises(AnswerLost, match="circle"):
        next(runs)


def test_odd_runs_of_others_keep_no_list_from_being_read(platform):
    odd = {"id": "1", "description": None, "created_at": None, "name": None, "status": 5, "options": {"a": [1]}}
    platform.answers["GET", RUNS] = {"runs": [odd | {"run_type": "text", "metrics": []}, {"id": "2"}]}
    assert [run.id for run in platform.application.list_runs()] == ["1", "2"]


def metadata(size=1, form="json"):
    return {
        "status_v2": "succeeded",
        "input_size": size,
        "output_size": size,
        "format": {"input": {"type": form}, "output": {"type": form}},
    }


@pytest.mark.parametrize("part", ["input", "output"])
@pytest.mark.parametrize(
    ("size", "form", "inline"),
    [(INLINE_LIMIT, "json", True), (INLINE_LIMIT + 1, "json", False), (1, "multi-file", False)],
)
def test_inputs_and_outputs(platform, part, size, form, inline):
    run = f"{RUNS}/a%2Fb"
    platform.answers["GET", f"{run}/metadata"] = {"id": "a/b", "metadata": metadata(size, form)}
    platform.answers["GET", f"{run}/{part}"] = b'{"kept":  "as it is"}'
    platform.answers["GET", f"{run}/{part}?format=url"] = {"url": f"{platform.url}/k?sig=1"}
    platform.answers["GET", "/k?sig=1"] = b"elsewhere"
    read = getattr(platform.application, f"run_{part}")
    assert read("a/b") == (b'{"kept":  "as it is"}' if inline else b"elsewhere")
    assert ("authorization" in platform.heard[-1].headers) == inline
    with pytest.raises(AnswerLost, match="longer than 5 bytes"):
        read("a/b", limit=5)


def test_results(platform):
    run = f"{RUNS}/r"
    answers = platform.answers
    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata()}
    answers["GET", run] = {"id": "r", "output": {"solution": [1, 2]}, "new_field": 5}
    result = platform.application.run_result("r")
    assert json.loads(bytes(result.output)) == {"solution": [1, 2]}

    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata(10**7)}
    answers["GET", f"{run}?format=url"] = {"id": "r", "output": {"url": f"{platform.url}/k"}}
    answers["GET", "/k"] = {"solution": "far"}
    result = platform.application.run_result("r")
    assert json.loads(bytes(result.output)) == {"solution": "far"}
    with pytest.raises(AnswerLost, match="longer than 3 bytes"):
        platform.application.run_result("r", limit=3)

    answers["GET", "/k"] = b"\x1f\x8b"
    with pytest.raises(AnswerLost, match="no JSON"):
        platform.application.run_result("r")

    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata(1, "csv-archive")}
    result = platform.application.run_result("r")
    assert json.loads(bytes(result.output)) == {"url": f"{platform.url}/k"}

    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata(10**7)}
    answers["GET", f"{run}?format=url"] = {"id": "r"}
    assert platform.application.run_result("r").output is msgspec.UNSET


def test_logs(platform):
    platform.answers["GET", f"{RUNS}/r/logs"] = {"log": "line\n" * 10}
    assert platform.application.run_logs("r") == "line\n" * 10
    with pytest.raises(AnswerLost):
        platform.application.run_logs("r", limit=20)
    with pytest.raises(NotFound, match="not here"):
        platform.application.run_logs("other")


def test_an_upload_url_does_not_show_in_a_repr():
    assert "sig" not in repr(UploadURL(upload_id="u", upload_url="https://h/k?sig=1"))


@pytest.mark.parametrize("module", ["nxtrack.cloud", "nxtrack.cloud.messages", "nxtrack.cloud.credentials"])
def test_importing_the_messages_loads_no_requests(module):
    program = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('requests', 'urllib3')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
