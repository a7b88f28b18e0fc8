"""The pages of one run and of two, in a browser."""

from __future__ import annotations

import json

import pytest
from support.solvers import instance, started, state, until

HOSTILE = "</title><script>document.title = 'run'</script><img src=x onerror=alert(1)>\"'&\u202e"
SOME = range(0, 256, 9)
LOGS = (
    "\x1b[1mHiGHS\x1b[0m 1.9 \x1b[2m(git abc)\x1b[0m\nPresolving \x1b[32m✔\x1b[0m\n"
    + "".join(f"\rSolving {step}%" for step in range(101))
    + "\n\x1b[33mWARNING\x1b[0m \x1b[38;5;208mgap\x1b[0m \x1b[41m ERROR \x1b[0m \x1b[4;38;2;120;80;200mtrue\x1b[0m\n"
    + "".join(f"\x1b[38;5;{number}m{number:4}\x1b[0m\x1b[48;5;{number}m{number:4}\x1b[0m" for number in SOME)
    + "".join(f"\nnode {number:5}  bound {50 + number / 30:8.3f}" for number in range(60))
)
TRACEBACK = (
    'Traceback (most recent call last):\n  File "solve.py", line 3, in solve\n    raise Infeasible\nInfeasible: no'
)
WAIT = """
    import json, os, sys, time
    where = json.load(sys.stdin)["where"]
    for number in range(10_000):
        print("step", number, end="\\r", file=sys.stderr, flush=True)
        if os.path.exists(where):
            break
        time.sleep(0.02)
    print("\\ndone", file=sys.stderr)
    print('{"metrics": {"cost": 7.5}}')
"""


def chart(kind, *datasets, labels=None):
    title = {"title": {"display": True, "text": f"A {kind} chart"}}
    return {"type": kind, "data": {"labels": labels, "datasets": datasets}, "options": {"plugins": title}}


JOBS = [
    {
        "type": "bar",
        "orientation": "h",
        "name": f"job {job}",
        "y": ["m 1", "m 2"],
        "x": [3, 4],
        "base": [job * 5, job * 6],
    }
    for job in range(4)
]
BOUNDS = [{"name": "primal", "x": [0, 1, 4], "y": [9, 6, 5]}, {"name": "dual", "x": [0, 2, 4], "y": [1, 3, 5]}]
DEPOT = {"type": "Point", "coordinates": [8.5, 50.1]}
ROUTE = {"type": "LineString", "coordinates": [[8.5, 50.1], [8.7, 50.2], [8.6, 50.0]]}
SETS = [{"label": "km", "data": [120, 80]}, {"label": "t", "data": [20, -15]}]
RADAR = [{"label": "plan A", "data": [4, 3, 2, 5, 1]}, {"label": "plan B", "data": [2, 5, 4, 1, 3]}]
ASSETS = [
    ("Bars", "chartjs", chart("bar", *SETS, labels=["a", "b"])),
    ("Pie", "chartjs", chart("pie", {"data": [3, 1, 2]}, labels=["solve", "read", "write"])),
    ("Schedule", "plotly", [{"data": JOBS, "layout": {"barmode": "overlay", "xaxis": {"title": "minutes"}}}]),
    ("Bounds", "plotly", {"data": BOUNDS, "layout": {"title": {"text": "Bounds over time"}}}),
    ("Gaps", "plotly", {"data": [{"type": "histogram", "name": "gap", "x": [n * n % 23 for n in range(90)]}]}),
    ("Trade-offs", "chartjs", chart("radar", *RADAR, labels=["cost", "time", "risk", "stops", "load"])),
    ("Routes", "geojson", {"type": "GeometryCollection", "geometries": [DEPOT, ROUTE]}),
]


def output(makespan):
    visuals = {name: {"schema": schema, "label": name, "type": "custom-tab"} for name, schema, _ in ASSETS}
    document = {
        "solution": {
            "starts": [[0, 1], [5, makespan]],
            "jobs": [{"id": f"j{job}", "at": {"x": job}} for job in range(30)],
        },
        "metrics": {"makespan": makespan, "gap": 0.0351, "result": {"nodes": 12_345}, "history": [100, 80, 60, 57]},
        "assets": [
            {"name": name, "content": content, "description": f"As {schema} has it", "visual": visuals[name]}
            for name, schema, content in ASSETS
        ],
    }
    return json.dumps(document).encode()


def good(api, **more):
    given = {"name": "ft06, optimal", "output": output(55), "logs": LOGS.encode(), "options": {"gap": "0"}} | more
    return api.track(app="job-shop", data=b'{"times": [[1, 3], [8, 5]], "of": {"name": "ft06"}}', **given)


def bad(api):
    return api.track(
        app="job-shop",
        name="ft06, horizon 40",
        status="failed",
        output=None,
        logs=f"reading\n{TRACEBACK}".encode(),
        result={"error_message": "Infeasible: no schedule ends by 40"},
    )


def url(api, run_id, app="job-shop"):
    return f"{api.url}/runs/{app}/{run_id}"


def is_wider(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")


def test_a_run_is_opened_and_its_documents_unfold(api, page):
    page.goto(url(api, good(api)))
    assert page.title().startswith("ft06, optimal")
    output = page.locator("section[aria-labelledby=output]")
    inner = output.get_by_text('"j7"')
    assert not inner.is_visible()
    output.get_by_text("jobs").click()
    output.locator("summary", has_text="7").first.press("Enter")
    inner.wait_for()
    output.get_by_role("button", name="Fold all", exact=True).click()
    inner.wait_for(state="hidden")
    output.get_by_role("button", name="Unfold all").click()
    inner.wait_for()
    logs = page.get_by_role("region", name="Log lines")
    assert "Solving 100%\nWARNING gap" in logs.inner_text()
    assert logs.locator(".f2").first.evaluate("one => getComputedStyle(one).color") != logs.evaluate(
        "one => getComputedStyle(one).color"
    )
    assert page.get_by_role("img").count() == len(ASSETS) + 1
    with page.expect_download() as found:
        output.get_by_role("link", name="Download").click()
    assert json.loads(found.value.path().read_bytes())["metrics"]["makespan"] == 55


def test_without_scripts_all_is_there(api, open_page):
    page = open_page(javascript=False)
    page.goto(url(api, good(api)))
    output = page.locator("section[aria-labelledby=output]")
    output.get_by_text("jobs").click()
    assert output.get_by_text("30 items").is_visible()
    assert page.get_by_role("region", name="Log lines").is_visible()
    assert page.get_by_role("button", name="Fold all").count() == 0


@pytest.mark.parametrize("look", [{"colour": "light"}, {"colour": "dark"}, {"colour": "light", "width": 390}])
def test_how_the_pages_look(api, open_page, shot, look):
    one, other, failed = (
        good(api),
        good(api, name="20 % gap", output=output(57), options={"gap": "0.2", "more": "x"}),
        bad(api),
    )
    page = open_page(**look)
    name = "-".join(str(value) for value in look.values())
    for kind, address in (
        ("run", url(api, one)),
        ("run-failed", url(api, failed)),
        ("compare", f"{api.url}/compare?a=job-shop/{one}&b=job-shop/{other}"),
    ):
        page.goto(address)
        assert not is_wider(page)
        shot(page, f"{kind}-{name}")


@pytest.mark.parametrize(("colour", "makes"), [("light", good), ("dark", bad)])
def test_the_pages_are_accessible(api, open_page, axe, colour, makes):
    one, other = makes(api), good(api, output=output(57), logs=b"other\n")
    page = open_page(colour=colour)
    for path in (f"/runs/job-shop/{one}", f"/compare?a=job-shop/{one}&b=job-shop/{other}"):
        page.goto(api.url + path)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        axe(page)


def test_two_runs_are_compared(api, page):
    one, other = good(api), good(api, output=output(57), options={"gap": "0.2"})
    page.goto(url(api, other))
    page.get_by_role("link", name="Compare with the run before").click()
    page.get_by_role("heading", name="Two runs side by side").wait_for()
    row = page.get_by_role("row", name="makespan").first
    assert "differs" in row.inner_text()
    assert "+2 (+3.64%)" in row.inner_text()
    assert page.get_by_text("Identical in both runs.").count() == 2
    page.get_by_role("link", name="Swap A and B").click()
    page.wait_for_url(f"**/compare?a=job-shop%2F{other}&b=job-shop%2F{one}")
    page.get_by_role("link", name="ft06, optimal").first.click()
    page.wait_for_url(url(api, other))


def test_a_running_run_updates_itself_until_it_ends(start, open_page, shot, tmp_path):
    api = start(instances=(instance(tmp_path, WAIT),))
    go = tmp_path / "go"
    run_id = started(api, {"input": {"where": str(go)}})
    until(lambda: state(api, run_id) == "running")
    page = open_page()
    page.goto(url(api, run_id, api.app))
    page.get_by_text("running", exact=True).wait_for()
    assert not page.get_by_role("link", name="Reload").is_visible()
    lines = page.get_by_role("region", name="Log lines")
    lines.wait_for()
    before = lines.inner_text()
    page.wait_for_function("before => document.getElementById('log-lines').innerText !== before", arg=before)
    shot(page, "run-running")
    go.touch()
    page.get_by_text("succeeded", exact=True).wait_for()
    assert page.get_by_text("7.5").first.is_visible()
    assert "done" in lines.inner_text()
    assert page.get_by_role("button", name="Cancel run").count() == 0


def test_a_run_is_canceled_on_its_page(start, page, tmp_path):
    api = start(instances=(instance(tmp_path, WAIT),))
    run_id = started(api, {"input": {"where": str(tmp_path / "never")}})
    page.goto(url(api, run_id, api.app))
    page.get_by_role("button", name="Cancel run").click()
    page.get_by_text("canceled", exact=True).wait_for()
    assert state(api, run_id) == "canceled"


@pytest.mark.parametrize("javascript", [True, False])
def test_what_is_the_same_in_two_runs_can_be_left_out(api, open_page, javascript):
    page = open_page(javascript=javascript)
    one, other = good(api), good(api, output=output(57))
    page.goto(f"{api.url}/compare?a=job-shop/{one}&b=job-shop/{other}")
    gap, makespan = (page.get_by_role("row", name=name, exact=False).first for name in ("gap", "makespan"))
    assert gap.is_visible()
    page.get_by_label("Only what differs").check()
    assert not gap.is_visible()
    assert makespan.is_visible()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_run_is_deleted_on_its_page(api, open_page, javascript):
    page = open_page(javascript=javascript)
    kept, gone = bad(api), good(api)
    page.goto(url(api, gone))
    button = page.get_by_role("button", name="Delete for good")
    assert not button.is_visible()
    page.get_by_text("Delete this run").click()
    button.click()
    page.wait_for_url(f"{api.url}/?application=job-shop")
    assert [run["id"] for run in api.runs(app="job-shop").json()["runs"]] == [kept]


def test_hostile_texts_are_only_text(api, page, shot):
    visual = {"schema": "chartjs", "label": HOSTILE, "type": HOSTILE}
    content = chart("bar", {"label": HOSTILE, "data": [1, 2]}, labels=[HOSTILE, "b"])
    asset = {"name": HOSTILE, "content": content, "description": HOSTILE, "visual": visual}
    runs = [
        api.track(
            app="job-shop",
            name=HOSTILE + word,
            description=HOSTILE * 20,
            status="failed",
            data=json.dumps({HOSTILE: HOSTILE + word}).encode(),
            output=json.dumps({"metrics": {HOSTILE: HOSTILE + word, "x" * 200: 1}, "assets": [asset]}).encode(),
            logs=f"{HOSTILE}{word}\x1b[31m{HOSTILE}\n{TRACEBACK}\n{'long' * 500}".encode(),
            options={HOSTILE: HOSTILE + word, "y" * 200: "z" * 500},
            result={"error_message": HOSTILE},
        )
        for word in ("one", "two")
    ]
    for name, path in (
        ("hostile-run", f"/runs/job-shop/{runs[0]}"),
        ("hostile-logs", f"/runs/job-shop/{runs[0]}/logs"),
        ("hostile-compare", f"/compare?a=job-shop/{runs[0]}&b=job-shop/{runs[1]}"),
    ):
        page.goto(api.url + path)
        assert page.title() != "run"
        assert page.locator("main img").count() == 0
        assert HOSTILE[:40] in page.locator("main").inner_text()
        assert not is_wider(page)
        shot(page, name)
