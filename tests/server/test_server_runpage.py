"""The page of one run."""

from __future__ import annotations

import json
import time

import pytest
from support.pages import Markup, seen
from support.solvers import instance, started, state, until

HOSTILE = "</title><script>alert(1)</script>\"'&"
WAIT = """
    import json, os, sys, time
    where = json.load(sys.stdin)["where"]
    print("\\033[32mbegun\\033[0m", file=sys.stderr, flush=True)
    while not os.path.exists(where):
        time.sleep(0.01)
    print("{}")
"""
TRACEBACK = """Traceback (most recent call last):
  File "/app/solve.py", line 3, in load
    depots[0]
IndexError: list index out of range

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/solve.py", line 41, in solve
    raise ValueError(f"no <depot>")
ValueError: no <depot>
"""


def path(api, run_id, more=""):
    return f"/runs/{api.app}/{run_id}{more}"


def shown(api, run_id, more=""):
    return seen(api.page(path(api, run_id, more)))


def test_a_run_shows_what_there_is(api):
    output = {
        "metrics": {"cost": 1234567.5, "result": {"value": 55}, "gap": [[0, 0.5], [1, 0.25]], "note": "done"},
        "assets": [{"name": "plan", "content": {"depot": [1, {"at": "home"}]}, "description": "All of it"}],
    }
    run_id = api.track(
        name="What-if",
        description="Without the depot",
        data=b'{"stops":[{"id":"s1"}]}',
        output=json.dumps(output).encode(),
        logs=b"Presolve <b>\nSolving 1%\rSolving 100%\n",
        options={"time_limit": "10"},
        batch_experiment_id="batch-1",
        result={"execution_duration": 61_000},
    )
    page = shown(api, run_id)
    for text in ("What-if", "Without the depot", "succeeded", "time_limit", "batch-1", "1 min 01 s", "All of it"):
        assert text in page.texts
    for text in ("1,234,568", "result.value", "55", "note", "done"):
        assert text in page.texts
    assert 'id "s1"' in page.text
    assert 'at "home"' in page.text
    assert "Presolve <b>\nSolving 100%" in page.texts
    # The gap is a series, drawn.
    assert any(attributes.get("aria-label") == "gap: lines of gap, 2 values" for _, attributes in page.tags)
    downloads = [link for link in page.links if "/downloads/" in link]
    assert len(downloads) == 4
    assert [api.session.get(link).status_code for link in downloads] == [200] * 4


def test_a_bare_run_is_shown_too(api):
    run_id = api.post({"input": {}, "result": {"status": "succeeded"}}).json()["run_id"]
    page = shown(api, run_id)
    assert "This run has no logs." in page.texts
    for words in ("Output", "Assets", "Metrics", "Options", "Error"):
        assert words not in page.texts


def test_an_error_comes_first_with_its_traceback(api):
    run_id = api.track(
        status="failed", logs=b"reading\n" + TRACEBACK.encode(), result={"error_message": "ValueError: no <depot>"}
    )
    page = shown(api, run_id)
    order = [page.text.index(text) for text in ("ValueError: no <depot>", "Traceback", "Tracked", "reading", "a 1")]
    assert order == sorted(order)
    assert '  File "/app/solve.py", line 41, in solve' in page.texts
    assert page.text.count("IndexError: list index out of range") == 2
    assert "Traceback at the end of the logs" not in shown(api, api.track(logs=TRACEBACK.encode())).text


def test_what_is_large_is_shown_in_part(start):
    api = start(limits={"download": 3_000_000})
    run_id = api.track(
        data=json.dumps("x" * 2_500_000).encode(),
        output=json.dumps({"routes": list(range(20_000))}).encode(),
        logs=b"".join(b"line %d\n" % number for number in range(300_000)),
    )
    answer = api.page(path(api, run_id))
    page = seen(answer)
    assert "Only the beginning is shown." in page.texts
    assert "… 19,800 more" in page.text
    assert "2.5 MB" in page.texts
    assert "Only the end is shown." in page.texts
    assert "line 299999" in page.text
    assert "line 230000\n" not in page.text
    assert len(answer.content) < 500_000
    more = shown(api, run_id, "/logs")
    assert "line 230000\n" in more.text
    assert "line 299999" in more.text
    assert "Only the end is shown." in more.texts
    assert not any("/downloads/" in link for link in more.links)


def test_an_archive_is_not_shown_as_text(api):
    formats = {"format": {"input": {"type": "csv-archive"}, "output": {"type": "text"}}}
    run_id = api.track(data=b"\x1f\x8bAAAA", output=b"plain\x1b[31m words", configuration=formats)
    page = shown(api, run_id)
    assert "AAAA" not in page.text
    assert "plain words" in page.texts
    assert "csv-archive in, text out" in page.texts


def test_assets_are_drawn_with_their_content_below(api):
    chart = {"type": "bar", "data": {"labels": ["a", "b"], "datasets": [{"label": "km", "data": [3, 4]}]}}
    figure = [{"data": [{"type": "pie", "labels": ["x", "y"], "values": [1, 2]}], "layout": {"title": "Shares"}}]
    place = {"type": "Feature", "properties": {"name": "depot"}, "geometry": {"type": "Point", "coordinates": [8, 50]}}
    assets = [
        {"name": name, "content": content, "visual": {"schema": schema, "label": f"The {name}", "type": "custom-tab"}}
        for name, content, schema in (("chart", chart, "chartjs"), ("pie", figure, "plotly"), ("map", place, "geojson"))
    ]
    assets.append({"name": "table", "content": [["a", 1]]})
    page = shown(api, api.track(output=json.dumps({"assets": assets}).encode()))
    for title in ("The chart", "The pie", "The map", "table", "Shares"):
        assert title in page.text
    assert sum(tag == "svg" and attributes.get("role") == "img" for tag, attributes in page.tags) == 3
    assert 'name "depot"' in page.text


def test_nothing_in_a_run_becomes_markup(api):
    visual = {"schema": HOSTILE, "label": HOSTILE, "type": HOSTILE}
    chart = {"type": "bar", "data": {"labels": [HOSTILE], "datasets": [{"label": HOSTILE, "data": [1]}]}}
    asset = {"name": HOSTILE, "content": chart, "description": HOSTILE, "visual": visual}
    run_id = api.track(
        name=HOSTILE,
        description=HOSTILE,
        status="failed",
        data=json.dumps({HOSTILE: [HOSTILE, {HOSTILE: 1}]}).encode(),
        output=json.dumps({"metrics": {HOSTILE: HOSTILE, f"{HOSTILE}2": [1, 2]}, "assets": [asset]}).encode(),
        logs=f"{HOSTILE}\x1b[31m{HOSTILE}\n{TRACEBACK}{HOSTILE}".encode(),
        options={HOSTILE: HOSTILE},
        result={"error_message": HOSTILE},
    )
    for more in ("", "/live", "/logs"):
        page = shown(api, run_id, more)
        assert HOSTILE in page.text
        assert not any(tag == "script" and attributes.get("src") != "/static/run.js" for tag, attributes in page.tags)


@pytest.mark.parametrize(
    "output",
    [
        b"[" * 400 + b"]" * 400,
        b'{"a": ' + b"9" * 300 + b"}",
        b'{"metrics": {"a": 1e308, "b": ' + b"7" * 200 + b', "c": [1e308, -1e308]}}',
        b'{"metrics": {"": {"": {"": null}}, "x": [[], [[]]], "y": {}}}',
        json.dumps({"metrics": {str(number): number for number in range(9_000)}}).encode(),
        json.dumps({"assets": [{"name": "x", "content": [[0] * 500] * 500}] * 99}).encode(),
        json.dumps(
            {"assets": [{"name": "x", "content": {"data": [{"y": [1] * 3_000}] * 30, "layout": {}}}] * 8}
        ).encode(),
    ],
    ids=range(7),
)
def test_hostile_outputs_are_shown_in_bounded_time(shared, output):
    run_id = shared.track(output=output, logs=b"\x1b[2J\x1b[9999;9999H\x00\xc2\x9b\xf0\x9f\x92\xa9" * 9_000)
    began = time.monotonic()
    answer = shared.page(path(shared, run_id))
    seen(answer)
    assert len(answer.content) < 8_000_000
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("where", ["a/nonesuch", "%20/x", "a/%20", "a/nonesuch/live", "a/nonesuch/logs"])
def test_a_run_that_is_not_there(shared, where):
    assert "There is no such run" in seen(shared.page(f"/runs/{where}"), 404).text


def test_a_run_is_compared_with_the_one_before(api):
    first, other, second = api.track(), api.track(app="other"), api.track()
    assert f"/compare?a=routing%2F{first}&b=routing%2F{second}" in shown(api, second).links
    assert not any(link.startswith("/compare") for link in shown(api, first).links)
    assert other not in " ".join(shown(api, second).links)


def test_a_run_is_seen_and_canceled_while_it_runs(start, tmp_path):
    api = start(instances=(instance(tmp_path, WAIT),), jobs=1)
    running = started(api, {"input": {"where": str(tmp_path / "never")}})
    until(lambda: "begun" in api.page(path(api, running)).text)
    queued = started(api, {"input": {"where": "/"}})
    for run_id, status in ((running, "running"), (queued, "queued")):
        page = shown(api, run_id)
        assert status in page.texts
        assert {"Cancel run", "Reload"} <= set(page.texts)
        assert ("form", {"class": "act", "action": path(api, run_id, "/cancel"), "method": "post"}) in page.tags
    live = Markup(api.page(path(api, running, "/live")).text)
    assert {attributes["id"] for _, attributes in live.tags if "data-live" in attributes} == {"head", "log-section"}
    assert ("span", {"class": "f2"}) in live.tags
    answer = api.session.post(f"{api.url}{path(api, running, '/cancel')}", timeout=30, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, path(api, running))
    assert state(api, running) == "canceled"
    page = shown(api, running)
    assert "Cancel run" not in page.texts
    assert "Why" in page.texts
    # What is over is not canceled again, and that is no error.
    assert api.session.post(f"{api.url}{path(api, running, '/cancel')}", timeout=30).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.test"}]
)
def test_no_other_web_page_cancels_a_run(start, tmp_path, headers):
    api = start(instances=(instance(tmp_path, WAIT),))
    run_id = started(api, {"input": {"where": str(tmp_path / "go")}})
    answer = api.session.post(f"{api.url}{path(api, run_id, '/cancel')}", headers=headers, timeout=30)
    assert answer.status_code == 403
    assert state(api, run_id) in {"queued", "running"}
    (tmp_path / "go").touch()
    until(lambda: state(api, run_id) == "succeeded")


def test_a_run_is_deleted_on_its_page(api):
    kept, gone = api.track(), api.track(logs=b"log")
    files = len(list((api.data / "payloads").rglob("*/*")))
    where = f"/runs/{api.app}/{gone}"
    assert f'action="{where}/delete"' in api.page(where).text
    another = api.session.post(f"{api.url}{where}/delete", headers={"Origin": "http://elsewhere.example"}, timeout=10)
    assert another.status_code == 403
    assert api.page(where).status_code == 200
    answer = api.session.post(f"{api.url}{where}/delete", allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?application={api.app}")
    assert api.page(where).status_code == 404
    assert [run["id"] for run in api.runs().json()["runs"]] == [kept]
    # Its uploads still hold their payloads until they expire.
    assert len(list((api.data / "payloads").rglob("*/*"))) == files
    assert api.session.post(f"{api.url}{where}/delete", timeout=10).status_code == 404


def test_canceling_what_is_not_there(shared):
    answer = shared.session.post(f"{shared.url}/runs/a/nonesuch/cancel", timeout=30)
    assert "There is no such run" in seen(answer, 404).text


@pytest.mark.parametrize("name", ["run.css", "run.js", "terminal.css"])
def test_what_the_page_needs_is_there(shared, name):
    assert shared.page(f"/static/{name}").status_code == 200
