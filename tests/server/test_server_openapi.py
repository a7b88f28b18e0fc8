"""The API against its own document: what it says is there, and schemathesis finds nothing to object to."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.routing import Route

from nxtrack.server import pages
from nxtrack.server.endpoints import routes as served
from nxtrack.server.execution.instances import parse_instance

HERE = Path(__file__).parent
METHODS = {"GET", "PUT", "POST", "PATCH", "DELETE"}
KEY = "the-key-of-this-test"


@pytest.fixture(scope="module")
def document(shared):
    answer = shared.session.get(f"{shared.url}/openapi.json", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_the_document_needs_no_key(start):
    api = start(key=KEY)
    assert api.page("/openapi.json").json()["openapi"] == "3.1.0"
    assert api.page("/openapi.jsonx").status_code == 401


def test_every_route_is_described(document):
    """All but the pages for people, and each by all of its methods."""
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    names = {"app": "application_id", "run": "run_id", "asset": "asset_id", "instance": "instance_id"}
    names |= {"experiment": "batch_experiment_id"}
    there = set()
    for route in served.routes():
        assert isinstance(route, Route)
        path = re.sub(r"\w+(?=\})", lambda match: names.get(match[0], match[0]), route.path)
        there |= {(path, name.upper()) for name in vars(route.endpoint) if name.upper() in METHODS}
    assert described == there
    assert len(there) == 29
    assert not {route.path for route in pages.routes()} & {path for path, _ in described}


def test_every_operation_says_what_it_takes_and_answers(document):
    ids, linked = set(), set()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"].endswith(".")
            assert operation["operationId"] not in ids
            ids.add(operation["operationId"])
            named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            keyed = path.startswith("/v1/")
            assert operation["security"] == ([{"key": []}] if keyed else [])
            assert "200" in operation["responses"]
            if keyed:
                assert {"400", "401", "421", "429", "503"} <= set(operation["responses"])
            for name, link in operation["responses"]["200"].get("links", {}).items():
                assert name == link["operationId"]
                linked.add(name)
    assert linked <= ids


def test_every_reference_leads_somewhere(document):
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        found = document
        for part in reference.split("/"):
            found = found[part]


def test_its_words_are_those_of_the_messages(document):
    schemas = document["components"]["schemas"]
    assert "Track runs" in schemas["ExternalResult"]["description"]
    assert not re.search(r"\n {2,}", schemas["NewRun"]["description"])
    assert {"type": "string", "maxLength": 1000} in schemas["RunChange"]["properties"]["name"]["anyOf"]


def schemathesis(api, folder, *words, known=None):
    """Runs schemathesis against a platform; `known` are ids it is to use in paths."""
    settings = (HERE / "schemathesis.toml").read_text()
    if known:
        settings += "\n[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in known.items())
    (folder / "settings.toml").write_text(settings)
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", "settings.toml", "run", f"{api.url}/openapi.json", "--checks", "all", *words),
        ],
        cwd=folder,
        env=os.environ | {"NXTRACK_TEST_KEY": KEY, "HOME": str(folder), "NO_PROXY": "*", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert "No issues found" in done.stdout, done.stdout[-2_000:]


@pytest.fixture
def tested(start):
    """A platform with a key and an instance."""
    instance = parse_instance(f"solve={sys.executable} -c pass", Path.cwd())
    api = start(key=KEY, instances=(instance,))
    api.key = KEY
    return api


needs_schemathesis = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason='needs the extra "api"'
)


@needs_schemathesis
@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing(tested, tmp_path):
    """Its own tests of the whole document: right and wrong values for everything, and chains of requests."""
    schemathesis(tested, tmp_path, "--seed", "4")


@needs_schemathesis
@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing_about_what_is_there(tested, tmp_path):
    """Made-up ids mostly lead nowhere: here, all paths but those of deletions lead to a run, whole and failed."""
    output = b'{"solution": [1], "metrics": {"gap": 0.5}, "assets": [{"name": "a", "content": {"x": 1}}]}'
    run_id = tested.track(
        output=output, logs=b"log\n", status="failed", batch_experiment_id="exp", result={"error_message": "no plan"}
    )
    known = {
        "application_id": tested.app,
        "run_id": run_id,
        "batch_experiment_id": "exp",
        "asset_id": "asset-0",
        "instance_id": "solve",
    }
    chosen = ("--include-path-regex", "run_id|experiment|instance", "--exclude-method", "DELETE")
    schemathesis(tested, tmp_path, *chosen, "--phases", "coverage,fuzzing", "--seed", "5", known=known)
    assert tested.runs(f"/{run_id}/output").content == output
