"""The API for runs and applications."""

from __future__ import annotations

import contextlib
import http.client
import json
import tracemalloc
from urllib.parse import urlsplit

import pytest

from nxtrack.server.data.contents import indicators
from nxtrack.server.drawing import facts

METRICS = {"gap": 0.01, "cost": {"total": 12, "fuel": 3.5}, "solver": "HiGHS", "ok": True, "list": [1, 2]}


def error(answer, status=400):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]


def test_a_tracked_run_reads_back_whole(api):
    output = json.dumps({"solution": [1], "metrics": METRICS}).encode()
    run_id = api.track(
        data=b'{"problem":"ft06"}',
        output=output,
        logs="Presolve\nüber\n".encode(),
        name="My run",
        description="nxtrack:01",
        options={"time_limit": "10"},
        batch_experiment_id="batch-1",
        configuration={"execution_class": "6c9500mb870s"},
    )
    assert run_id.startswith("latest-")
    answer = api.runs(f"/{run_id}")
    assert b'"output":' + output in answer.content
    run = answer.json()
    assert run["name"] == "My run"
    assert run["description"] == "nxtrack:01"
    assert run["error_log"] is None
    metadata = run["metadata"]
    assert metadata == api.runs(f"/{run_id}/metadata").json()["metadata"]
    assert metadata["status"] == metadata["status_v2"] == "succeeded"
    assert metadata["duration"] == metadata["execution_duration"] == 1000
    assert (metadata["input_size"], metadata["output_size"]) == (18, len(output))
    assert metadata["created_at"] == "2027-01-15T08:00:00.000000Z"
    assert metadata["run_type"]["type"] == "external"
    assert metadata["options"]["request_options"] == {"time_limit": "10"}
    assert metadata["metrics"] == METRICS
    assert metadata["experiment_id"] == "batch-1"
    assert metadata["execution_class"] == "6c9500mb870s"
    assert api.runs(f"/{run_id}/logs").json() == {"log": "Presolve\nüber\n"}
    (item,) = api.runs().json()["runs"]
    assert (item["id"], item["name"], item["options"]) == (run_id, "My run", {"time_limit": "10"})
    assert item["metrics"]["indicators"] == [
        {"name": "gap", "value": 0.01},
        {"name": "cost.total", "value": 12},
        {"name": "cost.fuel", "value": 3.5},
        {"name": "solver", "value": "HiGHS"},
        {"name": "ok", "value": True},
    ]


def test_a_failed_run_has_an_error_log(api):
    run_id = api.track(status="failed", output=None, logs=b"Traceback", result={"error_message": "ValueError: no"})
    run = api.runs(f"/{run_id}").json()
    assert run["metadata"]["status_v2"] == "failed"
    assert run["metadata"]["error"] == "ValueError: no"
    assert run["error_log"] == {"error": "ValueError: no", "stdout": "", "stderr": "Traceback"}
    assert "output" not in run
    assert "no output" in error(api.runs(f"/{run_id}/output"), 404)


def test_a_run_needs_no_duration_output_logs_or_instance(api):
    """The guide calls the duration optional, and a failed run may have nothing but its input."""
    answer = api.post({"upload_id": api.upload(b"{}"), "result": {"status": "succeeded"}})
    run_id = answer.json()["run_id"]
    assert run_id.startswith("external-")
    run = api.runs(f"/{run_id}").json()
    assert (run.get("output"), run["metadata"]["duration"], run["metadata"]["application_instance_id"]) == (None, 0, "")
    assert api.runs(f"/{run_id}/logs").json() == {"log": ""}
    assert api.runs(f"/{run_id}/assets").json() == {"items": []}


def test_the_same_request_twice_makes_two_runs(api):
    """There is no idempotency key: what a client sends twice is there twice."""
    body = {"upload_id": api.upload(b"{}"), "result": {"status": "succeeded"}}
    first, second = (api.post(body).json()["run_id"] for _ in range(2))
    assert first != second
    assert [run["id"] for run in api.runs().json()["runs"]] == [second, first]


def test_an_inline_input_is_kept_as_it_was_written(api):
    body = b'{"input": {"a" : 1.0e1}, "result": {"status": "succeeded"}}'
    run_id = api.runs(method="POST", data=body).json()["run_id"]
    assert api.runs(f"/{run_id}/input").content == b'{"a" : 1.0e1}'


BAD = [
    (b"", "not valid JSON"),
    (b"[]", "Expected `object`"),
    (b'{"upload_id": "\xff"}', "not valid JSON"),
    (b'{"input":' + b"[" * 5000, "run request"),
    ({"input": {}}, "result: it is missing"),
    ({"result": {"status": "succeeded"}}, "upload_id"),
    ({"input": None, "result": {"status": "succeeded"}}, "upload_id"),
    ({"input": {}, "upload_id": "x", "result": {"status": "succeeded"}}, "input and upload_id"),
    ({"upload_id": "nonesuch", "result": {"status": "succeeded"}}, "upload_id: no upload 'nonesuch'"),
    ({"input": {}, "result": {}}, "status"),
    ({"input": {}, "result": {"status": "canceled"}}, "`result.status`"),
    ({"input": {}, "result": {"status": "succeeded", "execution_duration": -1}}, "`result.execution_duration`"),
    ({"input": {}, "result": {"status": "succeeded", "execution_duration": 1.5}}, "`result.execution_duration`"),
    ({"input": {}, "result": {"status": "succeeded", "execution_duration": 2**63}}, "result.execution_duration"),
    ({"input": {}, "result": {"status": "succeeded", "error_message": "x"}}, "result.error_message"),
    ({"input": {}, "result": {"status": "failed", "output_upload_id": "x"}}, "result.output_upload_id"),
    ({"input": {}, "result": {"status": "failed", "error_upload_id": "x"}}, "result.error_upload_id"),
    ({"input": {}, "result": {"status": "failed", "metrics_upload_id": "x"}}, "result.metrics_upload_id"),
    ({"input": {}, "result": {"status": "failed", "assets_upload_id": "x"}}, "result.assets_upload_id"),
    (
        {"input": {}, "options": {"ok": "1", "limit": 10}, "result": {"status": "failed"}},
        "options: the value of 'limit'",
    ),
    ({"input": {}, "options": ["a"], "result": {"status": "failed"}}, "`options`"),
    ({"input": {}, "name": 1, "result": {"status": "failed"}}, "`name`"),
    ({"input": {}, "name": "x" * 1001, "result": {"status": "failed"}}, "<= 1000 - at `name`"),
    ({"input": {}, "description": "x" * 10_001, "result": {"status": "failed"}}, "at `description`"),
    (
        {"input": {}, "configuration": {"format": {"input": {"type": "xml"}}}, "result": {"status": "failed"}},
        "`configuration.format.input.type`",
    ),
]


@pytest.mark.parametrize(("body", "said"), BAD, ids=range(len(BAD)))
def test_a_bad_run_request_names_the_field(shared, body, said):
    answer = shared.runs(
        app="bad", method="POST", data=body if isinstance(body, bytes) else json.dumps(body, allow_nan=False)
    )
    assert said in error(answer)


def test_a_bad_run_request_makes_nothing(shared):
    shared.runs(app="never", method="POST", data=b"{}")
    error(shared.call("GET", "/applications/never"), 404)


def test_an_upload_belongs_to_its_application(shared):
    upload = shared.upload(b"{}", app="one")
    said = error(shared.post({"upload_id": upload, "result": {"status": "succeeded"}}, app="other"))
    assert "belongs to another application" in said


def test_an_upload_that_was_never_put_is_refused(shared):
    upload = shared.upload_url()["upload_id"]
    said = error(shared.post({"input": {}, "result": {"status": "succeeded", "output_upload_id": upload}}))
    assert said.startswith("result.output_upload_id: nothing was PUT")


@pytest.mark.parametrize("output", [b"not json", b"", b'{"a": NaN}', b'"\xff"', b"[" * 5000, b"{} {}"])
def test_an_output_that_is_not_json_is_refused(shared, output):
    body = {"input": {}, "result": {"status": "succeeded", "output_upload_id": shared.upload(output)}}
    assert "result.output_upload_id: the upload is not valid JSON" in error(shared.post(body))


@pytest.mark.parametrize("kind", ["metrics", "statistics", "assets"])
def test_a_separate_upload_that_is_not_json_is_refused(shared, kind):
    body = {"input": {}, "result": {"status": "succeeded", f"{kind}_upload_id": shared.upload(b"no")}}
    assert f"result.{kind}_upload_id: the upload is not valid JSON" in error(shared.post(body))


@pytest.mark.parametrize("logs", [b"\xff", b"good \xc3"])
def test_logs_are_utf8(shared, logs):
    """The guide: "The uploaded logs file must be in utf-8 format"."""
    body = {"input": {}, "result": {"status": "failed", "error_upload_id": shared.upload(logs)}}
    assert "not UTF-8" in error(shared.post(body))


def test_a_text_output_may_be_any_text(shared):
    configuration = {"format": {"input": {"type": "json"}, "output": {"type": "text"}}}
    run_id = shared.track(output=b'not "json"', configuration=configuration)
    assert shared.runs(f"/{run_id}").json()["output"] == 'not "json"'
    answer = shared.runs(f"/{run_id}/output")
    assert (answer.json(), answer.headers["content-type"]) == ('not "json"', "application/json")
    assert shared.session.get(shared.runs(f"/{run_id}/output?format=url").json()["url"]).text == 'not "json"'


@pytest.mark.parametrize(
    ("named", "output", "is_of"),
    [
        ("multi-file", b"\x1f\x8b no JSON", "multi-file"),
        ("text", b"a;b", "text"),
        ("text", b'{"metrics": {"gap": 1}}', "json"),
        ("json", b"{}", "json"),
    ],
)
def test_an_output_of_no_named_format_is_json_or_of_the_inputs(shared, named, output, is_of):
    run_id = shared.track(output=output, configuration={"format": {"input": {"type": named}}})
    metadata = shared.runs(f"/{run_id}/metadata").json()["metadata"]
    assert metadata["format"]["output"]["type"] == is_of
    assert shared.session.get(shared.runs(f"/{run_id}/output?format=url").json()["url"]).content == output
    assert metadata["metrics"] == ({"gap": 1} if b"gap" in output else None)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_text_input_reads_back_as_a_json_string(shared, form):
    """The public SDK (1.13) reads an inline input as JSON, also when it is a text that it has called JSON."""
    run_id = shared.track(data=b"a;b \xc3\xbc", configuration={"format": {"input": {"type": form}}})
    assert shared.runs(f"/{run_id}/input").json() == "a;b ü"


def test_an_input_too_large_for_a_request_is_refused(start):
    api = start(limits={"inline": 100})
    body = {"input": "x" * 98, "result": {"status": "succeeded"}}
    assert api.post(body).status_code == 200
    said = error(api.post(body | {"input": "x" * 99}), 413)
    assert said.startswith("input: 101 bytes")
    assert "body has more than" in error(api.post(body | {"input": "x" * 2_000_000}), 413)


def test_what_is_too_large_inline_has_a_url(start):
    api = start(limits={"inline": 100})
    big = json.dumps("x" * 99).encode()
    run_id = api.track(data=big, output=big, logs=b"y" * 200, status="failed")
    for path in ("", "/input", "/output"):
        assert "?format=url" in error(api.runs(f"/{run_id}{path}"))
    assert api.runs(f"/{run_id}/logs").json()["log"] == "y" * 200
    run = api.runs(f"/{run_id}?format=url").json()
    assert api.session.get(run["output"]["url"]).content == big
    assert run["error_log"]["stderr"] == "y" * 100
    assert "format: " in error(api.runs(f"/{run_id}?format=yaml"))


def test_logs_too_large_to_hand_out_are_refused(start):
    api = start(limits={"download": 100})
    run_id = api.track(logs=b"y" * 101)
    assert "exceed 100 bytes" in error(api.runs(f"/{run_id}/logs"), 413)


def test_an_output_too_large_to_look_into_is_stored_all_the_same(start):
    api = start(limits={"inspected": 100})
    output = json.dumps({"metrics": {"a": 1}, "solution": "x" * 100}).encode()
    run_id = api.track(output=output)
    assert api.runs(f"/{run_id}/metadata").json()["metadata"]["metrics"] is None
    assert api.runs(f"/{run_id}/output").content == output


STATISTICS = {"run": {"duration": 1}, "result": {"value": 12.5, "duration": 0.5, "custom": {"nodes": 3}}}
FLAT = {"value": 12.5, "duration": 0.5, "nodes": 3}


@pytest.mark.parametrize(
    ("output", "uploads", "metrics"),
    [
        ({"metrics": {"a": 1}, "statistics": STATISTICS}, {}, {"a": 1}),
        ({"statistics": STATISTICS}, {}, FLAT),
        ({"statistics": {"result": None}}, {}, None),
        ({"statistics": {"result": {"custom": 3}}}, {}, None),
        ({"metrics": [1]}, {}, None),
        ({"metrics": {"long": "x" * 300_000}}, {}, None),
        ({"statistics": {"long": "x" * 300_000}}, {}, None),
        ([1, 2], {}, None),
        ({"metrics": {"a": 1}}, {"metrics": {"b": 2}}, {"b": 2}),
        ({}, {"metrics": {"metrics": {"b": 2}}}, {"b": 2}),
        ({}, {"statistics": {"statistics": STATISTICS}}, FLAT),
        ({}, {"statistics": STATISTICS}, FLAT),
        ({}, {"metrics": [1]}, None),
    ],
)
def test_metrics_are_found_where_they_are(shared, output, uploads, metrics):
    result = {f"{kind}_upload_id": shared.upload(json.dumps(value).encode()) for kind, value in uploads.items()}
    run_id = shared.track(output=json.dumps(output).encode(), result=result)
    assert shared.runs(f"/{run_id}/metadata").json()["metadata"]["metrics"] == metrics


def test_assets_are_listed_and_downloaded(shared):
    visual = {"schema": "chartjs", "label": "Routes", "type": "custom-tab"}
    assets = [
        {"name": "routes", "content": [{"x": 1.50}], "content_type": "json", "visual": visual, "description": "All"},
        {"name": "no content"},
        {"name": "plan", "content": {"y": 2}},
    ]
    run_id = shared.track(output=b'{"assets": %s}' % json.dumps(assets).encode())
    items = shared.runs(f"/{run_id}/assets").json()["items"]
    assert [(item["id"], item["name"], item["size"]) for item in items] == [
        ("asset-0", "routes", 12),
        ("asset-1", "plan", 8),
    ]
    assert items[0]["visual"] == visual
    assert items[0]["description"] == "All"
    answer = shared.runs(f"/{run_id}/assets/asset-0").json()
    assert answer["type"] == "json"
    assert shared.session.get(answer["download_url"]).content == b'[{"x": 1.5}]'
    error(shared.runs(f"/{run_id}/assets/asset-2"), 404)
    error(shared.runs(f"/{run_id}/assets/output"), 404)


@pytest.mark.parametrize("assets", [{"assets": [{"name": "a", "content": 1}]}, [{"name": "a", "content": 1}], {"a": 1}])
def test_assets_may_come_by_an_upload_of_their_own(shared, assets):
    run_id = shared.track(result={"assets_upload_id": shared.upload(json.dumps(assets).encode())})
    names = [item["name"] for item in shared.runs(f"/{run_id}/assets").json()["items"]]
    assert names == ([] if assets == {"a": 1} else ["a"])


def test_pages_of_runs_are_stable_while_runs_come_in(start):
    api = start(limits={"page": 3})
    body = {"upload_id": api.upload(b"{}"), "result": {"status": "succeeded"}}
    made = [api.post(body).json()["run_id"] for _ in range(7)]
    api.post(body | {"upload_id": api.upload(b"{}", app="other")}, app="other")
    page, seen = api.runs().json(), []
    while True:
        assert len(page["runs"]) <= 3
        seen += [run["id"] for run in page["runs"]]
        if "next_page_token" not in page:
            break
        api.post(body)
        page = api.runs(params={"pagetoken": page["next_page_token"]}).json()
    assert seen == made[::-1]


def test_a_last_page_that_is_full_has_no_token(start):
    api = start(limits={"page": 2})
    body = {"upload_id": api.upload(b"{}"), "result": {"status": "succeeded"}}
    for _ in range(2):
        api.post(body)
    assert "next_page_token" not in api.runs().json()


@pytest.mark.parametrize("token", ["x", "1", "1-", "1-00", "-1-aa", "9" * 30, "é", "1-" + "0" * 64])
def test_a_page_token_of_somebody_else_is_refused(shared, token):
    shared.upload(b"{}")
    assert "pagetoken" in error(shared.runs(params={"pagetoken": token}))


def test_a_page_token_belongs_to_its_application(start):
    api = start(limits={"page": 1})
    for app in ("one", "two"):
        for _ in range(2):
            api.track(app=app)
    token = api.runs(app="one").json()["next_page_token"]
    assert api.runs(app="one", params={"pagetoken": token}).status_code == 200
    error(api.runs(app="two", params={"pagetoken": token}))


def test_a_run_is_renamed_and_deleted(api):
    run_id = api.track(name="old", description="kept")
    answer = api.runs(f"/{run_id}", method="PUT", json={"name": "new"})
    assert (answer.json()["name"], answer.json()["description"]) == ("new", "kept")
    assert api.runs(f"/{run_id}").json()["name"] == "new"
    answer = api.runs(f"/{run_id}", method="PUT", json={"description": "too"})
    assert (answer.json()["name"], answer.json()["description"]) == ("new", "too")
    error(api.runs(f"/{run_id}", method="PUT", json={"name": 1}))
    error(api.runs(f"/{run_id}", method="PUT", json={"name": "x" * 1001}))
    error(api.runs(f"/{run_id}", method="PUT", json={"description": "x" * 70_000}), 413)
    assert api.runs(f"/{run_id}", method="DELETE").status_code == 200
    error(api.runs(f"/{run_id}"), 404)
    error(api.runs(f"/{run_id}", method="DELETE"), 404)
    assert api.runs().json() == {"runs": []}


def test_deleting_removes_what_nobody_needs(api):
    """A payload that two runs share goes with the last of them."""
    body = {"upload_id": api.upload(b"{}"), "result": {"status": "succeeded", "output_upload_id": api.upload(b"[]")}}
    first, second = (api.post(body).json()["run_id"] for _ in range(2))

    def files():
        return len([path for path in (api.data / "payloads").rglob("*") if path.is_file()])

    assert files() == 2
    api.runs(f"/{first}", method="DELETE")
    assert api.runs(f"/{second}/output").content == b"[]"
    assert api.call("DELETE", f"/applications/{api.app}").status_code == 200
    assert files() == 0
    error(api.runs(f"/{second}"), 404)
    error(api.call("DELETE", f"/applications/{api.app}"), 404)


def test_applications(start):
    api = start(limits={"page": 2})
    made = api.call("POST", "/applications", json={"id": "b", "name": "Bee", "description": "d", "is_pipeline": False})
    assert made.status_code == 200
    assert made.json() == api.call("GET", "/applications/b").json()
    assert (made.json()["id"], made.json()["name"], made.json()["description"]) == ("b", "Bee", "d")
    assert "exists already" in error(api.call("POST", "/applications", json={"id": "b"}), 409)
    assert api.call("POST", "/applications", json={}).json()["id"].startswith("app-")
    error(api.call("POST", "/applications"))
    error(api.call("POST", "/applications", json={"id": "../up"}))
    error(api.call("POST", "/applications", data=b"nonsense"))
    api.track(app="written-to")
    assert api.call("GET", "/applications/written-to").json()["name"] == "written-to"
    page = api.call("GET", "/applications", params={"pagereturn": "true"}).json()
    assert [item["id"][:4] for item in page["items"]] == ["app-", "b"]
    page = api.call("GET", "/applications", params={"pagetoken": page["next_page_token"]}).json()
    assert [item["id"] for item in page["items"]] == ["written-to"]
    assert "next_page_token" not in page
    error(api.call("GET", "/applications", params={"pagetoken": "../"}))
    error(api.call("GET", "/applications", params={"pagereturn": "yes"}))
    # Who asks for no pages gets the list alone, as the public SDK has it.
    assert [item["id"][:4] for item in api.call("GET", "/applications").json()] == ["app-", "b", "writ"]


def test_an_application_is_changed(api):
    made = api.call("POST", "/applications", json={"id": "a", "name": "A", "default_instance": "main"}).json()
    assert made["default_instance_id"] == "main"
    answer = api.call("PUT", "/applications/a", json={"name": "B"})
    assert answer.json() == made | {"name": "B"}
    answer = api.call("PUT", "/applications/a", json={"description": "d", "default_instance_id": "other"})
    assert answer.json() == made | {"name": "B", "description": "d", "default_instance_id": "other"}
    assert api.call("GET", "/applications/a").json() == answer.json()
    error(api.call("PUT", "/applications/a", json={"default_instance": "../up"}))
    error(api.call("POST", "/applications", json={"id": "b", "default_instance_id": "../up"}))
    error(api.call("PUT", "/applications/nonesuch", json={}), 404)


def test_a_run_of_a_batch_experiment_is_listed_under_it(api):
    """The guide: external runs can be attached to a batch experiment by `batch_experiment_id`."""
    first = api.track(batch_experiment_id="exp-1")
    api.clock.now += 1
    api.track()
    api.track(batch_experiment_id="exp-2")
    second = api.track(batch_experiment_id="exp-1", status="failed")
    api.track(batch_experiment_id="exp-1", app="other")
    experiments = f"/applications/{api.app}/experiments/batch"
    runs = api.call("GET", f"{experiments}/exp-1/runs").json()["runs"]
    assert [(run["id"], run["experiment_id"]) for run in runs] == [(second, "exp-1"), (first, "exp-1")]
    found = api.call("GET", f"{experiments}/exp-1").json()
    assert found == api.call("GET", f"{experiments}/exp-1/metadata").json()
    assert (found["status"], found["number_of_runs"], found["number_of_completed_runs"]) == ("completed", 2, 2)
    assert found["created_at"] < found["updated_at"]
    page = api.call("GET", experiments, params={"type": "batch", "pagereturn": "true"}).json()
    assert [item["id"] for item in page["items"]] == ["exp-1", "exp-2"]
    assert [item["id"] for item in api.call("GET", experiments).json()] == ["exp-1", "exp-2"]
    assert api.call("GET", experiments, params={"type": "scenario"}).json() == []
    for path in ("exp-3", "exp-3/runs", "exp-3/metadata", "%00"):
        assert "No run of application" in error(api.call("GET", f"{experiments}/{path}"), 404)
    assert "batch_experiment_id" in error(
        api.post({"input": {}, "batch_experiment_id": "a/b", "result": {"status": "failed"}})
    )


def test_a_parameter_that_stands_there_twice_is_refused(shared):
    shared.upload(b"{}")
    for query in ("pagetoken=a&pagetoken=b", "pagereturn=true&pagereturn=true", "pagereturn=maybe"):
        assert query.partition("=")[0] in error(shared.runs(f"?{query}"))


@pytest.mark.parametrize(("path", "allowed"), [("", {"GET", "HEAD", "POST"}), ("/x", {"GET", "HEAD", "PUT", "DELETE"})])
def test_a_refused_method_is_told_the_others(shared, path, allowed):
    answer = shared.runs(path, method="PATCH")
    error(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_a_body_that_stalls_is_given_up(start):
    api = start(limits={"idle_seconds": 0.2})
    parts = urlsplit(api.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    with contextlib.closing(connection):
        connection.putrequest("POST", f"/v1/applications/{api.app}/runs")
        connection.putheader("Authorization", "Bearer any")
        connection.putheader("Content-Length", "10")
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("connection")) == (408, "close")


def test_reading_what_does_not_exist(shared):
    shared.upload(b"{}", app="empty")
    assert "No application nonesuch exists" in error(shared.call("GET", "/applications/nonesuch"), 404)
    error(shared.runs(app="nonesuch"), 404)
    assert "No run nonesuch exists" in error(shared.runs("/nonesuch", app="empty"), 404)
    error(shared.runs("/nonesuch/metadata", app="nonesuch"), 404)
    assert shared.runs(app="empty").json() == {"runs": []}
    error(shared.call("GET", "/nonesuch"), 404)
    error(shared.call("PATCH", "/applications"), 405)


def test_a_run_belongs_to_its_application(shared):
    run_id = shared.track(app="mine")
    error(shared.runs(f"/{run_id}", app="yours"), 404)


@pytest.mark.parametrize("name", [".hidden", "-", "a b", "a%2Fb", "%00", "é", "x" * 129, "a\\b", "a%0a"])
def test_ids_cannot_leave_their_place(shared, name):
    path = name if "%" in name else name.replace("\\", "%5C")
    for answer in (
        shared.call("POST", f"/applications/{path}/runs/uploadurl"),
        shared.runs(app=path, method="POST", json={"input": {}, "result": {"status": "failed"}}),
        shared.call("GET", f"/applications/{path}"),
        shared.runs(f"/{path}"),
    ):
        assert answer.status_code in {400, 404, 405}, (answer.status_code, answer.url)
    answer = shared.post({"input": {}, "result": {"status": "failed"}}, instance=name)
    assert "instance id" in error(answer)


@pytest.mark.parametrize("path", ["/../runs/uploadurl", "/%2e%2e/runs/uploadurl", "/a/../b/runs/uploadurl"])
def test_dots_in_a_path_lead_nowhere(shared, path):
    """Sent as they are, which `requests` would not do."""
    parts = urlsplit(shared.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", f"/v1/applications{path}", headers=shared.headers)
        assert connection.getresponse().status in {400, 404, 405}


def test_logs_are_followed_to_their_end(api):
    """Piece by piece; the final status comes with the last one, since the public SDK (1.13) asks no more after it."""
    logs = "".join(f"line {number} ü\n" for number in range(200_000)) + "no end"
    run_id = api.track(logs=logs.encode(), status="failed")
    found, statuses, query = "", [], {}
    while not statuses or statuses[-1] == "running":
        page = api.runs(f"/{run_id}/logs/live", params=query).json()
        found += "".join(item["log"] for item in page["items"])
        statuses.append(page["status_v2"])
        assert page["next_available_in_seconds"] == 0
        query = {"since": page["next_page_token"]}
    assert found == logs
    assert len(statuses) > 2
    assert statuses[-1] == "failed"
    page = api.runs(f"/{run_id}/logs/live", params=query).json()
    assert (page["items"], page["status_v2"]) == ([], "failed")
    other = api.track()
    for token in ("x", "0", query["since"]):
        assert "since" in error(api.runs(f"/{other}/logs/live", params={"since": token}))


def test_what_has_ended_cannot_be_canceled(api):
    run_id = api.track()
    assert "has succeeded already" in error(api.runs(f"/{run_id}/cancel", method="PATCH"), 409)
    error(api.runs("/nonesuch/cancel", method="PATCH"), 404)


def test_long_names_with_many_members_fill_no_memory(shared):
    """Each of the dotted names holds all of the outer one: made at once, 62 kB of metrics took 450 MB."""
    many = {"k" * 30_000: {f"{number:x}": 1 for number in range(4_000)}}
    tracemalloc.start()
    try:
        found = indicators(many, most=50)
        names = facts.flat(many)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == []
    assert max(map(len, names)) <= 200
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"options":{"a":1},"options":{},"input":1}',
        b'{"options":{"a":1},"options":null,"input":1}',
        b'{"options":{"a":1},"options":{"a":"x"},"input":1}',
        b'{"input":1,"options":{"a":1' + b"0" * 5_000 + b"}}",
    ],
)
def test_odd_options_are_refused_and_no_fault(shared, body):
    assert error(shared.runs(method="POST", data=body))
