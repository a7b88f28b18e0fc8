"""One application's questions, against a small platform and store on loopback."""

from __future__ import annotations

import io
import itertools
import json
import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nxtrack
from nxtrack.cloud.application import Application
from nxtrack.cloud.limits import Limits
from nxtrack.cloud.messages import ExternalResult, NewRun, UploadURL
from nxtrack.cloud.polling import PollingOptions
from nxtrack.errors import AnswerLost, NotFound, NxtrackError, SettingsError, TooLarge

RUNS = "/v1/applications/routing/runs"
FIELDS = (
    *(
        "id",
        "metadata",
        "status",
        "status_v2",
        "output",
        "url",
        "upload_id",
        "upload_url",
        "run_id",
        "runs",
        "log",
        "items",
    ),
    *(
        "next_page_token",
        "next_available_in_seconds",
        "error_log",
        "error",
        "stderr",
        "format",
        "input",
        "type",
        "options",
    ),
    *("input_size", "output_size", "description", "created_at", "timestamp", "name"),
)
NOW = PollingOptions(initial_delay=0, delay=0, backoff=0, jitter=0, max_tries=2)
METHODS = {
    "upload_url": lambda application: application.upload_url(),
    "upload": lambda application: application.upload(b"x"),
    "new_run": lambda application: application.new_run({"a": 1}),
    "new_run_with_result": lambda application: application.new_run_with_result("x" * 200, polling_options=NOW),
    "track_run": lambda application: application.track_run({}, {}, "log"),
    "list_runs": lambda application: list(application.list_runs(pages=2)),
    "run_metadata": lambda application: application.run_metadata("r").to_dict(),
    "run_result": lambda application: application.run_result("r").to_dict(),
    "run_result_with_polling": lambda application: application.run_result_with_polling("r", NOW),
    "run_output": lambda application: application.run_output("r"),
    "run_input": lambda application: application.run_input("r"),
    "run_logs": lambda application: application.run_logs("r"),
    "follow_logs": lambda application: list(itertools.islice(application.follow_logs("r"), 1)),
    "cancel_run": lambda application: application.cancel_run("r"),
}


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
def test_ids_that_no_application_has(name, connect):
    with pytest.raises(SettingsError, match="is no application id"):
        Application(name, connect("http://127.0.0.1:1"))


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "...", "a" * 128])
def test_ids_of_applications(name, connect):
    application = Application(name, connect("http://127.0.0.1:1"))
    assert (application.id, application.endpoint) == (name, f"/v1/applications/{name}")


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
    assert application.upload(b'{"a": 1}', place) is place
    file = io.BytesIO(b"skipped log")
    file.seek(8)
    application.upload(file, place, content_type="text/plain")
    run = NewRun(upload_id=place.upload_id, result=ExternalResult(status="succeeded", execution_duration=1000))
    assert application.post_run(run, instance_id="staging") == "run-1"
    assert [heard.body for heard in platform.heard[:3]] == [b"", b'{"a": 1}', b"log"]
    assert platform.heard[2].headers["content-type"] == "text/plain"
    assert json.loads(platform.heard[3].body) == {
        "upload_id": "u1",
        "result": {"status": "succeeded", "execution_duration": 1000},
    }


def test_answers_that_hold_nothing(platform):
    platform.answers["POST", f"{RUNS}/uploadurl"] = {"upload_id": "", "upload_url": "x"}
    with pytest.raises(AnswerLost, match="try again"):
        platform.application.upload_url()
    for run_id in ("", "a\nb", "\x1b[31m", "x" * 501):
        platform.answers["POST", RUNS] = {"run_id": run_id}
        with pytest.raises(AnswerLost, match="look for it"):
            platform.application.post_run(NewRun())


anything = st.recursive(
    st.sampled_from([None, True, 0, -1, 1e308, 10**30, "", "succeeded", "failed", "SIGNED", "x\n\x1b[31m", [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=8,
)
USUAL = {
    "id": "r",
    "upload_id": "u",
    "upload_url": "SIGNED",
    "url": "SIGNED",
    "run_id": "r",
    "log": "l",
    "runs": [{"id": "1"}],
    "items": [{"timestamp": "t", "log": "l"}],
    "status_v2": "succeeded",
    "next_page_token": "",
    "next_available_in_seconds": 0.01,
    "metadata": {"status_v2": "succeeded", "output_size": 10**7},
    "output": {},
}


@pytest.fixture
def saying(serve, connect):
    """Gives an application whose platform gives the one answer that its `says` holds."""

    def behave(line):
        while line.hear() is not None:
            status, value = line.server.says
            text = json.dumps(value).replace("SIGNED", f"{line.server.url}/k?sig=0123456789")
            line.answer(status, text.encode(), Retry_After="0")

    server = serve(behave)
    application = Application("routing", connect(server.url), limits=Limits(inline=100))
    application.says = lambda status, value: setattr(server, "says", (status, value))
    return application


@pytest.mark.parametrize("method", sorted(METHODS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200] * 9 + [204, 302, 400, 403, 404, 500]), value=anything, field=st.sampled_from(FIELDS)
)
def test_whatever_a_platform_answers_is_taken_or_refused_in_one_sentence(saying, method, status, value, field):
    nxtrack.configure(settle=0)
    saying.says(status, USUAL | {field: value} if status == 200 else value)
    told = "."
    try:
        METHODS[method](saying)
    except NxtrackError as error:
        told = str(error)
    assert re.fullmatch(r"[^\n\x1b]*\.", told)
    assert "0123456789" not in told


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
    platform.answers["GET", RUNS] = {"runs": [{"name": "without an id"}]}
    with pytest.raises(AnswerLost, match="cannot be read"):
        list(platform.application.list_runs())


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
    [(Limits().inline, "json", True), (Limits().inline + 1, "json", False), (1, "multi-file", False)],
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
    with pytest.raises(TooLarge, match=rf"The {part} of run a/b has {size} bytes, .* limit is 0:"):
        read("a/b", limit=0)


def test_results(platform):
    run = f"{RUNS}/r"
    answers = platform.answers
    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata()}
    answers["GET", run] = {"id": "r", "output": {"solution": [1, 2]}, "new_field": 5}
    result = platform.application.run_result("r")
    assert result.output == {"solution": [1, 2]}

    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata(10**7)}
    answers["GET", f"{run}?format=url"] = {"id": "r", "output": {"url": f"{platform.url}/k"}}
    answers["GET", f"{run}/output?format=url"] = {"url": f"{platform.url}/k"}
    answers["GET", "/k"] = {"solution": "far"}
    result = platform.application.run_result("r")
    assert result.output == {"solution": "far"}
    assert result.to_dict()["output"] == {"solution": "far"}
    with pytest.raises(TooLarge, match="10000000 bytes"):
        platform.application.run_result("r", limit=3)

    answers["GET", "/k"] = b"\x1f\x8b"
    with pytest.raises(AnswerLost, match="no JSON"):
        platform.application.run_result("r")

    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata(1, "csv-archive")}
    result = platform.application.run_result("r")
    assert result.output is None

    answers["GET", f"{run}/metadata"] = {"id": "r", "metadata": metadata(10**7)}
    answers["GET", f"{run}?format=url"] = {"id": "r"}
    assert platform.application.run_result("r").output is None


def test_fields_that_hold_null_are_as_good_as_left_out(platform):
    """Of a platform that says more, or less, than its guides do."""
    known = {
        "status_v2": "succeeded",
        "output_size": 9,
        "options": None,
        "run_type": {"type": "standard", "definition_id": None},
    }
    known |= {"duration": None, "metrics": {"gap": 0.5}, "format": {"input": {"type": "json"}, "output": None}}
    answer = {"id": "r", "name": None, "description": None, "user_email": None, "metadata": known, "error_log": None}
    platform.answers["GET", f"{RUNS}/r/metadata"] = answer
    platform.answers["GET", f"{RUNS}/r"] = answer | {"output": {"a": None, "metadata": {"b": None}}}
    result = platform.application.run_result("r")
    assert result.output == {"a": None, "metadata": {"b": None}}
    assert (result.name, result.metadata.duration, result.metadata.metrics) == ("", 0, {"gap": 0.5})
    assert result.metadata.run_type.type == "standard"
    for broken in (answer | {"id": None}, answer | {"metadata": known | {"output_size": "many"}}, [answer], None):
        platform.answers["GET", f"{RUNS}/r/metadata"] = broken
        with pytest.raises(AnswerLost, match="not the JSON that"):
            platform.application.run_metadata("r")


def test_logs(platform):
    platform.answers["GET", f"{RUNS}/r/logs"] = {"log": "line\n" * 10}
    assert platform.application.run_logs("r") == "line\n" * 10
    with pytest.raises(TooLarge, match="longer than 20 bytes"):
        platform.application.run_logs("r", limit=20)
    with pytest.raises(NotFound, match="not here"):
        platform.application.run_logs("other")


def test_an_upload_url_does_not_show_in_a_repr():
    assert "sig" not in repr(UploadURL(upload_id="u", upload_url="https://h/k?sig=1"))


@pytest.mark.parametrize("module", ["nxtrack.cloud", "nxtrack.cloud.messages", "nxtrack.cloud.credentials"])
def test_importing_the_messages_loads_no_requests(module):
    program = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('requests', 'urllib3')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
