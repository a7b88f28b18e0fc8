"""The public Python SDK and its command line, as they are on PyPI, against this platform."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import trustme

from nxtrack.server.execution.instances import parse_instance
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running

BEGIN = r"""
import json, os, sys, threading, time
from pathlib import Path
import nextmv.cloud.application as parts
from nextmv import PollingOptions
from nextmv.cloud import Application, Client
from nextmv.run import TrackedRun, TrackedRunStatus

SOON = PollingOptions(initial_delay=0, delay=0.05, backoff=0.01, jitter=0, max_delay=0.2, max_duration=60)
folder = Path(sys.argv[1])
client = Client(api_key="any")
assert client.url == os.environ["NEXTMV_ENDPOINT"]

"""

APPLICATIONS = r"""
assert not Application.exists(client, "routing")
app = Application.new(client, name="Routing", id="routing", description="d", default_instance_id="solve")
assert Application.exists(client, "routing")
assert Application.new(client, id="routing", exist_ok=True).name == "Routing"
got = Application.get(client, "routing")
assert (got.name, got.description, got.default_instance_id) == ("Routing", "d", "solve")
assert app.update(description="e").description == "e"
for number in range(60):
    client.request("POST", "v1/applications", payload={"id": f"app-{number:02}"})
listed = [item.id for item in parts.list_applications(client)]
assert set(listed) >= {"routing", *(f"app-{number:02}" for number in range(60))}
assert len(listed) == len(set(listed))
assert set(listed) <= {item.id for item in parts.list_applications(client, no_pagination=True)} | {"x"}
assert app.instance_exists("solve") and not app.instance_exists("nonesuch")
assert {instance.id for instance in app.list_instances()} == {"solve", "wait"}
assert {instance.id for instance in app.list_instances(no_pagination=True)} == {"solve", "wait"}
Application.get(client, "app-00").delete()
assert not Application.exists(client, "app-00")
"""

TRACKED = r"""
app = Application.new(client, id="tracked")
small = app.track_run_with_result(
    TrackedRun(
        status=TrackedRunStatus.SUCCEEDED,
        input={"a": [1, 2]},
        output={"solution": [3], "metrics": {"gap": 0.5}},
        duration=1234,
        logs="one\ntwo",
        name="small",
        description="by the SDK",
        metrics={"cost": 7},
        assets=[{"name": "plan", "content": {"x": 1}, "content_type": "json"}],
    ),
    instance_id="latest",
    polling_options=SOON,
)
assert small.output == {"solution": [3], "metrics": {"gap": 0.5}}, small.output
assert small.metadata.execution_duration == 1234
assert small.metadata.metrics == {"cost": 7}
assert small.metadata.run_type.run_type.value == "external"
assert (small.name, small.description) == ("small", "by the SDK")
assert app.run_result(small.id).output == small.output
assert app.run_input(small.id) == {"a": [1, 2]}
assert app.run_output(small.id) == small.output
assert app.run_logs(small.id).log == "one\ntwo"
logs = app.run_logs_with_polling(small.id, polling_options=SOON)
assert "".join(entry.log for entry in logs) == "one\ntwo", logs
(asset,) = app.list_assets(small.id)
assert app.download_asset_content(asset) == {"x": 1}
app.download_asset_content(asset, str(folder / "asset.json"))
assert json.loads((folder / "asset.json").read_text()) == {"x": 1}

large = app.track_run_with_result(
    TrackedRun(
        status=TrackedRunStatus.SUCCEEDED,
        input={"a": "x" * 6_000_000},
        output={"solution": "y" * 6_000_000},
        duration=1,
    ),
    polling_options=SOON,
)
assert large.output == {"solution": "y" * 6_000_000}
assert app.run_input(large.id) == {"a": "x" * 6_000_000}

failed = app.track_run_with_result(
    TrackedRun(status=TrackedRunStatus.FAILED, input={"a": 1}, error="ValueError: no", logs=["Traceback"], duration=5),
    polling_options=SOON,
)
assert failed.metadata.status_v2.value == "failed"
assert failed.metadata.error == failed.error_log.error == "ValueError: no"
assert failed.error_log.stderr == "Traceback"
assert failed.output is None

# The SDK's outputs of text inputs are JSON; a text output it can send, but reads every one back as an archive.
for configuration in (None, {"format": {"input": {"type": "text"}, "output": {"type": "json"}}}):
    text = app.track_run_with_result(
        TrackedRun(status=TrackedRunStatus.SUCCEEDED, input="a;b\n", output={"solution": 1}, duration=1),
        configuration=configuration,
        polling_options=SOON,
    )
    assert text.output == {"solution": 1}
    assert app.run_input(text.id) == "a;b\n"
both = app.track_run(
    TrackedRun(status=TrackedRunStatus.SUCCEEDED, input="in", output="out", duration=1),
    configuration={"format": {"input": {"type": "text"}, "output": {"type": "text"}}},
)
assert client.request("GET", f"v1/applications/tracked/runs/{both}/output").json() == "out"
assert app.run_metadata(both).metadata.format.format_output.output_type.value == "text"

for name in ("in", "out"):
    (folder / name).mkdir()
    (folder / name / "table.csv").write_text(f"{name}\n1\n")
formats = {"format": {"input": {"type": "multi-file"}, "output": {"type": "multi-file"}}}
visual = {"schema": "chartjs", "label": "Plan", "type": "custom-tab"}
files = app.track_run_with_result(
    TrackedRun(
        status=TrackedRunStatus.SUCCEEDED,
        input_dir_path=str(folder / "in"),
        output_dir_path=str(folder / "out"),
        metrics={"cost": 1.5},
        assets=[{"name": "chart", "content": [{"y": 1}], "content_type": "json", "visual": visual}],
        logs="packed",
        duration=1,
    ),
    configuration=formats,
    output_dir_path=str(folder / "back"),
    polling_options=SOON,
)
assert (folder / "back" / "table.csv").read_text() == "out\n1\n"
assert app.run_input(files.id, output_dir_path=str(folder / "input")) is None
assert (folder / "input" / "table.csv").read_text() == "in\n1\n"
assert files.metadata.metrics == {"cost": 1.5}
(asset,) = app.list_assets(files.id)
assert (asset.name, asset.visual.label) == ("chart", "Plan")
assert app.download_asset_content(asset) == [{"y": 1}]
older = app.track_run(
    TrackedRun(
        status=TrackedRunStatus.SUCCEEDED,
        input_dir_path=str(folder / "in"),
        output_dir_path=str(folder / "out"),
        statistics={"result": {"value": 3.5, "custom": {"nodes": 2}}},
        duration=1,
    ),
    configuration=formats,
)
assert app.run_metadata(older).metadata.metrics == {"value": 3.5, "nodes": 2}

for number in range(110):
    experiment = "exp" if number % 55 == 0 else None
    app.new_run(
        input={"n": number},
        options={"limit": 10},
        external_result={"status": "succeeded"},
        batch_experiment_id=experiment,
    )
runs = app.list_runs()
assert len(runs) == len({run.id for run in runs}) == 118, len(runs)
assert runs[-1].id == small.id
assert {indicator.name: indicator.value for indicator in runs[-1].metrics.indicators} == {"cost": 7}
assert runs[0].options == {"limit": "10"}
assert len(app.list_runs(no_pagination=True)) == 50

(experiment,) = app.list_batch_experiments()
assert (experiment.id, experiment.number_of_runs, experiment.status.value) == ("exp", 2, "completed")
assert [item.id for item in app.list_batch_experiments(no_pagination=True)] == ["exp"]
assert app.list_scenario_tests() == []
assert [run.experiment_id for run in app.batch_experiment("exp").runs] == ["exp", "exp"]
assert app.batch_experiment_with_polling("exp", polling_options=SOON).id == "exp"

app.delete_run(failed.id)
assert len(app.list_runs()) == 117
app.delete()
assert not Application.exists(client, "tracked")
"""

REMOTE = r"""
app = Application.new(client, id="remote")
run_id = app.new_run(input={"n": 3}, instance_id="solve", options={"limit": 10}, name="r", description="d")
result = app.run_result_with_polling(run_id, polling_options=SOON)
assert result.output == {"solution": {"size": 7, "options": ["-limit", "10"]}, "metrics": {"gap": 0.5}}, result.output
assert (result.name, result.description, result.metadata.application_instance_id) == ("r", "d", "solve")
assert result.metadata.metrics == {"gap": 0.5}
assert result.metadata.run_type.run_type.value == "standard"
assert app.run_logs(run_id).log == "solving\n"

small = app.new_run_with_result(input={"n": 3}, instance_id="solve", polling_options=SOON)
assert small.output["solution"] == {"size": 7, "options": []}
large = {"n": "x" * 6_000_000}
done = app.new_run_with_result(input=large, instance_id="solve", run_options={"echo": "1"}, polling_options=SOON)
assert done.output["solution"]["echo"] == large
assert app.run_output(done.id) == done.output
assert app.run_input(done.id) == large

url = app.upload_url()
app.upload_data(upload_url=url, data={"n": 4})
given = app.new_run_with_result(upload_id=url.upload_id, instance_id="solve", polling_options=SOON)
assert given.metadata.status_v2.value == "succeeded"
assert app.run_input(given.id) == {"n": 4}

broken = app.new_run_with_result(input={"n": 1}, instance_id="solve", run_options={"fail": "1"}, polling_options=SOON)
assert broken.metadata.status_v2.value == "failed"
assert broken.metadata.error == broken.error_log.error != ""
assert broken.error_log.stderr.endswith("no plan\n"), broken.error_log

waiting = app.new_run(input={"n": 1}, instance_id="wait", batch_experiment_id="exp")
seen = []
def follow():
    seen.extend(app.run_logs_with_polling(waiting, polling_options=PollingOptions(initial_delay=0, max_duration=60)))
follower = threading.Thread(target=follow)
follower.start()
while not app.run_logs(waiting).log:
    time.sleep(0.05)
assert app.run_metadata(waiting).metadata.status_v2.value == "running"
assert app.batch_experiment_metadata("exp").status.value == "started"
app.cancel_run(waiting)
canceled = app.run_result(waiting)
assert canceled.metadata.status_v2.value == "canceled"
assert canceled.output is None
follower.join(30)
assert [entry.log.strip() for entry in seen] == ["waiting"], seen
app.cancel_run(waiting)
try:
    app.cancel_run(run_id)
except Exception as error:
    assert error.response.status_code == 409 and "succeeded already" in str(error), error
else:
    raise AssertionError("a finished run was canceled")

waiting = app.new_run(input={"n": 1}, instance_id="wait")
app.delete_run(waiting)
assert waiting not in {run.id for run in app.list_runs()}
try:
    app.new_run(input={"n": 1}, instance_id="nonesuch")
except Exception as error:
    assert error.response.status_code == 400 and "nonesuch" in str(error), error
else:
    raise AssertionError("an unknown instance ran something")
"""

LOCAL = r"""
import shutil
from nextmv import local

source = folder / "model"
source.mkdir()
(source / "app.yaml").write_text("type: python\nruntime: ghcr.io/nextmv-io/runtime/python:3.11\nfiles:\n  - main.py\n")
(source / "main.py").write_text(
    "import json, sys\n"
    "data = json.load(sys.stdin)\n"
    "print('local log', file=sys.stderr)\n"
    "print(json.dumps({'solution': data['n'] + 1, 'metrics': {'gap': 0.25}}))\n"
)
model = local.Application(src=str(source))
runs = [model.new_run(input={"n": number}) for number in range(2)]
for run_id in runs:
    assert model.run_result_with_polling(run_id, polling_options=SOON).output["solution"] in {1, 2}
target = Application.new(client, id="synced")
model.sync(target, instance_id="laptop")
synced = target.list_runs()
assert len(synced) == 2
outputs = [target.run_result(run.id) for run in synced]
assert sorted(result.output["solution"] for result in outputs) == [1, 2]
assert {result.metadata.application_instance_id for result in outputs} == {"laptop"}
assert {result.metadata.run_type.run_type.value for result in outputs} == {"external"}
assert sorted(target.run_input(run.id)["n"] for run in synced) == [0, 1]
assert "local log" in target.run_logs(synced[0].id).log
model.sync(target, instance_id="laptop")
assert len(target.list_runs()) == 2
"""

SOLVER = """
import json, sys
print("solving", file=sys.stderr)
data = sys.stdin.buffer.read()
if "-fail" in sys.argv:
    sys.exit("no plan")
solution = {"size": len(data), "options": sys.argv[1:]}
if "-echo" in sys.argv:
    solution["echo"] = json.loads(data)
print(json.dumps({"solution": solution, "metrics": {"gap": 0.5}}))
"""
WAITER = "import sys, time; print('waiting', file=sys.stderr, flush=True); time.sleep(120)"


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """One platform with two instances for all tests of this module."""
    folder = tmp_path_factory.mktemp("sdk")
    (folder / "solver.py").write_text(SOLVER)
    (folder / "waiter.py").write_text(WAITER)
    instances = (
        parse_instance(f"solve={sys.executable} solver.py", folder),
        parse_instance(f"wait={sys.executable} waiter.py", folder),
    )
    with running(ServeOptions(port=0, data=folder / "data", instances=instances, jobs=2)) as started:
        yield started


@pytest.fixture
def user(platform, tmp_path):
    """A user's environment: where the platform is, and nothing else of Nextmv's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXTMV_")}
    # A wide terminal keeps the command line from breaking what it prints.
    environment |= {"NEXTMV_ENDPOINT": platform.url, "NEXTMV_API_KEY": "any", "HOME": str(tmp_path), "NO_PROXY": "*"}
    environment |= {"COLUMNS": "500", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    return SimpleNamespace(folder=tmp_path, environment=environment)


def run(user, *command, stdin=""):
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=user.environment,
        cwd=user.folder,
        check=False,
        input=stdin,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done


@pytest.mark.parametrize(
    "program",
    [APPLICATIONS, TRACKED, REMOTE, LOCAL],
    ids=["applications", "tracked-runs", "remote-runs", "local-runs"],
)
def test_what_the_sdk_does_it_can_do_here(user, program):
    said = run(user, "-c", f"{BEGIN}{textwrap.dedent(program)}\nprint('all of it')", str(user.folder)).stdout
    assert said.splitlines()[-1] == "all of it"


class Proxy(BaseHTTPRequestHandler):
    """Passes each request on to the platform, and says that it came by TLS."""

    protocol_version = "HTTP/1.1"
    platform = ""

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection = http.client.HTTPConnection(self.platform, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body or None, headers | {"X-Forwarded-Proto": "https"})
            answer = connection.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = pass_on

    def log_message(self, *_):
        pass


@pytest.fixture
def secure(platform, tmp_path):
    """The platform behind TLS: the SDK's command line takes no other endpoint (with `http://` it breaks off)."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    handler = type("Handler", (Proxy,), {"platform": platform.url.partition("://")[2]})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def nextmv(user, *words, stdin=""):
    """The SDK's command line."""
    return run(user, "-c", "from nextmv.cli.main import main; main()", "cloud", *words, stdin=stdin)


def test_what_the_command_line_does_it_can_do_here(user, secure):
    """`nextmv cloud app create`, and `run track`, `get`, `list` and `logs`."""
    (user.folder / ".nextmv").mkdir()
    (user.folder / ".nextmv" / "config.yaml").write_text(f"apikey: any\nendpoint: {secure}\n")
    user.environment |= {"NEXTMV_ENDPOINT": secure, "REQUESTS_CA_BUNDLE": str(user.folder / "ca.pem")}
    mine = ("--app-id", "by-hand")
    nextmv(user, "app", "create", *mine)
    (user.folder / "out.json").write_text('{"solution": 2}')
    (user.folder / "logs.txt").write_text("line one\nline two\n")
    said = nextmv(
        user,
        *("run", "track", *mine, "--output", "out.json", "--logs", "logs.txt"),
        *("--status", "succeeded", "--duration", "5000", "--name", "typed"),
        stdin='{"n": 1}',
    )
    run_id = json.loads(said.stdout)["run_id"]
    commands = (
        ("run", "get", *mine, "--run-id", run_id),
        ("run", "list", *mine),
        ("run", "logs", *mine, "--run-id", run_id),
        ("run", "logs", *mine, "--run-id", run_id, "--tail", "--output", "followed.txt"),
    )
    with ThreadPoolExecutor(2) as pool:
        got, listed, logs, _ = pool.map(lambda words: nextmv(user, *words), commands)
    result = json.loads(got.stdout)
    assert result["output"] == {"solution": 2}
    assert (result["name"], result["metadata"]["execution_duration"]) == ("typed", 5000)
    assert [item["id"] for item in json.loads(listed.stdout)] == [run_id]
    assert "line one\nline two\n" in logs.stderr
    assert (user.folder / "followed.txt").read_text() == "line one\nline two\n"
