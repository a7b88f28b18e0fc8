"""The public Python SDK, as it is on PyPI, against this platform; its command line is in `test_server_tls`."""

from __future__ import annotations

import sys
import textwrap

import pytest
from support.users import user_at

from nxtrack.server.execution.instances import parse_instance
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running

BEGIN = r"""
import json, os, shutil, sys, threading, time
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

# The SDK's outputs of text inputs are JSON.
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
# A text output given as a string it can send, but not read back, whatever a platform answers: it downloads every
# output that is no JSON from the URL that it asks for, and unpacks that as a .tar.gz. What it could unpack are not the
# bytes that it uploaded. (Called `json`, the text would have to be a JSON object: `RunResult.output` takes no other.)
try:
    app.run_output(both, output_dir_path=str(folder / "unpacked"))
except shutil.ReadError:
    place = client.request("GET", f"v1/applications/tracked/runs/{both}/output", query_params={"format": "url"})
    assert client.request("GET", place.json()["url"], headers={}).content == b"out"
else:
    raise AssertionError("the SDK reads text outputs now: have track_run_with_result do it here")

for name in ("in", "out"):
    (folder / name).mkdir()
    (folder / name / "table.csv").write_text(f"{name}\n1\n")
# What the SDK means by a text output, or a csv-archive, is a folder, as its `local.Application.sync` sends it, too.
for kind in ("text", "csv-archive"):
    packed = app.track_run_with_result(
        TrackedRun(status=TrackedRunStatus.SUCCEEDED, input={"a": 1}, output_dir_path=str(folder / "out"), duration=1),
        configuration={"format": {"input": {"type": "json"}, "output": {"type": kind}}},
        output_dir_path=str(folder / kind),
        polling_options=SOON,
    )
    assert (folder / kind / "table.csv").read_text() == "out\n1\n"
    assert packed.metadata.format.format_output.output_type.value == kind
    assert packed.metadata.status_v2.value == "succeeded"
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
assert len(runs) == len({run.id for run in runs}) == 120, len(runs)
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
assert len(app.list_runs()) == 119
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


@pytest.mark.parametrize(
    "program",
    [APPLICATIONS, TRACKED, REMOTE, LOCAL],
    ids=["applications", "tracked-runs", "remote-runs", "local-runs"],
)
def test_what_the_sdk_does_it_can_do_here(platform, tmp_path, program):
    user = user_at(platform.url, tmp_path)
    source = f"{BEGIN}{textwrap.dedent(program)}\nprint('all of it')"
    assert user.run(sys.executable, "-c", source, str(tmp_path)).stdout.splitlines()[-1] == "all of it"
