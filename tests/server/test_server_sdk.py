"""The public Python SDK, as it is on PyPI, against this platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = r"""
import json, os, sys, tarfile
from pathlib import Path
from nextmv.cloud import Application, Client
from nextmv.cloud.application import list_applications
from nextmv.run import TrackedRun, TrackedRunStatus

folder = Path(sys.argv[1])
client = Client(api_key="any", url=os.environ["NEXTMV_ENDPOINT"])
assert not Application.exists(client, "routing")
app = Application.new(client, name="Routing", id="routing", description="d")
assert Application.exists(client, "routing")
assert Application.new(client, id="routing", exist_ok=True).name == "Routing"
assert Application.get(client, "routing").description == "d"

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
)
assert small.output == {"solution": [3], "metrics": {"gap": 0.5}}, small.output
assert small.metadata.execution_duration == 1234
assert small.metadata.metrics == {"cost": 7}
assert small.metadata.run_type.run_type.value == "external"
assert (small.name, small.description) == ("small", "by the SDK")
assert app.run_input(small.id) == {"a": [1, 2]}
assert app.run_output(small.id) == small.output
assert app.run_logs(small.id).log == "one\ntwo"
(asset,) = app.list_assets(small.id)
assert app.download_asset_content(asset) == {"x": 1}

large = app.track_run_with_result(
    TrackedRun(
        status=TrackedRunStatus.SUCCEEDED,
        input={"a": "x" * 6_000_000},
        output={"solution": "y" * 6_000_000},
        duration=1,
    ),
)
assert large.output == {"solution": "y" * 6_000_000}
assert app.run_input(large.id) == {"a": "x" * 6_000_000}

failed = app.track_run_with_result(
    TrackedRun(status=TrackedRunStatus.FAILED, input={"a": 1}, error="ValueError: no", logs=["Traceback"], duration=5),
)
assert failed.metadata.status_v2.value == "failed"
assert failed.metadata.error == "ValueError: no"
assert failed.error_log.error == "ValueError: no"
assert failed.error_log.stderr == "Traceback"
assert failed.output is None

for name in ("in", "out"):
    (folder / name).mkdir()
    (folder / name / "table.csv").write_text(f"{name}\n1\n")
files = app.track_run_with_result(
    TrackedRun(
        status=TrackedRunStatus.SUCCEEDED,
        input_dir_path=str(folder / "in"),
        output_dir_path=str(folder / "out"),
        statistics={"result": {"value": 3.5, "custom": {"nodes": 2}}},
        duration=1,
    ),
    configuration={"format": {"input": {"type": "multi-file"}, "output": {"type": "multi-file"}}},
    output_dir_path=str(folder / "back"),
)
assert (folder / "back" / "table.csv").read_text() == "out\n1\n"
assert app.run_input(files.id, output_dir_path=str(folder / "input")) is None
assert (folder / "input" / "table.csv").read_text() == "in\n1\n"
assert files.metadata.metrics == {"value": 3.5, "nodes": 2}

for number in range(int(sys.argv[2])):
    app.new_run(input={"n": number}, options={"limit": 10}, external_result={"status": "succeeded"})
runs = app.list_runs()
assert len(runs) == len({run.id for run in runs}) == 4 + int(sys.argv[2])
assert runs[-1].id == small.id
assert {indicator.name: indicator.value for indicator in runs[-1].metrics.indicators} == {"cost": 7}
assert runs[0].options == {"limit": "10"}
assert len(app.list_runs(no_pagination=True)) == 50
app.delete_run(failed.id)
assert len(app.list_runs()) == 3 + int(sys.argv[2])
try:
    app.new_run(input={"a": 1})
except Exception as error:
    assert "runs no instances" in str(error), error
else:
    raise AssertionError("a remote run was taken")
assert [item.id for item in list_applications(client)] == ["routing"]
app.delete()
assert not Application.exists(client, "routing")
print(json.dumps("done"))
"""


def test_what_the_sdk_writes_it_reads_back(api, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXTMV_")}
    environment |= {"NEXTMV_ENDPOINT": api.url, "HOME": str(tmp_path), "NO_PROXY": "*"}
    folder = tmp_path / "files"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), "60"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == "done"
