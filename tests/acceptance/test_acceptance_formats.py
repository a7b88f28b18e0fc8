"""Runs of every format, from a program or a folder to the platform and back: by nxtrack's reader and by the SDK."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile

import pytest
import requests
from support import programs

import nxtrack
from nxtrack import track

TABLE = b"depot,3\nstore,4\n"


@pytest.fixture
def flushed(platform, monkeypatch):
    """Delivers all runs."""
    monkeypatch.setenv("NEXTMV_ENDPOINT", platform.url)
    monkeypatch.setenv("NEXTMV_API_KEY", "key")
    monkeypatch.setenv("NXTRACK_RATE", "0")

    def flush():
        report = nxtrack.flush()
        assert (report.rejected, report.pending) == ([], 0), report
        return [run.run_id for run in report.synced]

    return flush


@pytest.fixture
def execute(tmp_path):
    """Runs `nxtrack` with arguments; gives its stdout."""

    def run(*arguments, given=b"", status=0):
        command = [sys.executable, "-m", "nxtrack", *map(str, arguments)]
        done = subprocess.run(command, input=given, capture_output=True, timeout=50, check=False, cwd=tmp_path)
        assert done.returncode == status, done.stderr
        return done.stdout

    return run


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers() if one.isfile()}


@pytest.mark.parametrize(
    ("printed", "form"),
    [
        (b'{"solution": [1], "statistics": {"result": {"value": 7}}}\n', "json"),
        (b"7 routes\n", "text"),
        (b"\xff\0", "multi-file"),
    ],
)
def test_what_a_program_printed_comes_back_as_it_was(flushed, execute, application, printed, form):
    execute("exec", "--app-id", "routing", "--", "sh", "-c", "cat; echo log >&2", given=printed)
    (run_id,) = flushed()
    metadata = application.run_metadata(run_id).metadata
    assert (metadata.status_v2, metadata.format.input.type, metadata.format.output.type) == ("succeeded", form, form)
    assert application.run_logs(run_id) == "log\n"
    got = application.run_output(run_id), application.run_input(run_id)
    if form == "multi-file":
        assert [members(data) for data in got] == [{"output": printed}, {"input": printed}]
    else:
        assert got == (printed, printed)
    if form == "json":
        assert metadata.metrics == {"value": 7}


def test_a_killed_program_comes_back_as_failed(flushed, execute, application):
    execute("exec", "--app-id", "routing", "--", "sh", "-c", "echo so far; kill -9 $$", status=137)
    (run_id,) = flushed()
    metadata = application.run_metadata(run_id).metadata
    assert (metadata.status_v2, metadata.error) == ("failed", "killed by signal 9 (SIGKILL)")
    assert application.run_output(run_id) == b"so far\n"


def test_a_killed_tracker_comes_back_with_what_it_had(flushed, application, tmp_path):
    command = [sys.executable, "-m", "nxtrack", "exec", "--app-id", "routing", "--", "sh", "-c"]
    script = "cat > read; echo found; echo log >&2; exec 1>&- 2>&-; sleep 30"
    with subprocess.Popen([*command, script], stdin=-1, stdout=-1, stderr=-1, cwd=tmp_path) as started:
        started.stdin.write(b'{"stops": 2}')
        started.stdin.close()
        assert (started.stdout.readline(), started.stderr.readline()) == (b"found\n", b"log\n")
        started.kill()
    (run_id,) = flushed()
    metadata = application.run_metadata(run_id).metadata
    assert (metadata.status_v2, metadata.error) == ("failed", "process died: killed while solving")
    assert (metadata.format.input.type, metadata.format.output.type) == ("json", "text")
    assert application.run_input(run_id) == b'{"stops": 2}'
    assert (application.run_output(run_id), application.run_logs(run_id)) == (b"found\n", "log\n")


@pytest.fixture
def tracked(tmp_path):
    """A run with folders on both sides, a metric and an asset."""
    for name in ("given", "found"):
        (tmp_path / name).mkdir()
    (tmp_path / "given" / "demand.csv").write_bytes(TABLE)
    with track(app_id="routing", input_dir=tmp_path / "given", output_dir=tmp_path / "found") as run:
        (tmp_path / "found" / "sub").mkdir()
        (tmp_path / "found" / "sub" / "plan.bin").write_bytes(bytes(range(256)))
        run.log_metric("gap", 0.25)
        run.log_asset("chart", {"x": [1]}, visual={"schema": "plotly", "label": "Chart"})


def test_folders_come_back_with_metrics_and_assets(tracked, flushed, application, execute, tmp_path):
    (run_id,) = flushed()
    metadata = application.run_metadata(run_id).metadata
    assert (metadata.format.input.type, metadata.format.output.type) == ("csv-archive", "multi-file")
    assert metadata.metrics == {"gap": 0.25}
    assets = application.client.call("GET", f"{application.endpoint}/runs/{run_id}/assets", answer=dict)["items"]
    assert [(asset["name"], asset["visual"]["label"]) for asset in assets] == [("chart", "Chart")]
    execute("result", run_id, "--app-id", "routing", "--output", "back/")
    assert (tmp_path / "back" / "sub" / "plan.bin").read_bytes() == bytes(range(256))
    execute("input", run_id, "--app-id", "routing", "--output", "again/")
    assert (tmp_path / "again" / "demand.csv").read_bytes() == TABLE


def test_the_sdk_reads_folders_back(tracked, flushed, platform, tmp_path):
    pytest.importorskip("nextmv", reason="the SDK is in the extra `dev`")
    (run_id,) = flushed()
    read = programs.run(
        tmp_path,
        f"""
        import json, os, pathlib
        from nextmv.cloud import Application, Client

        application = Application(client=Client(api_key="key", url=os.environ["NEXTMV_ENDPOINT"]), id="routing")
        result = application.run_result("{run_id}", output_dir_path="sdk-output")
        application.run_input("{run_id}", output_dir_path="sdk-input")
        print(json.dumps([result.metadata.status_v2.value, result.metadata.format.format_output.output_type.value,
                          result.metadata.metrics]))
        """,
        NEXTMV_ENDPOINT=platform.url,
        PYTHONWARNINGS="default",
    )
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout) == ["succeeded", "multi-file", {"gap": 0.25}]
    assert (tmp_path / "sdk-output" / "sub" / "plan.bin").read_bytes() == bytes(range(256))
    assert (tmp_path / "sdk-input" / "demand.csv").read_bytes() == TABLE


def test_the_page_of_such_a_run_is_there(tracked, flushed, platform):
    (run_id,) = flushed()
    page = requests.get(f"{platform.url}/runs/routing/{run_id}", timeout=20)
    assert page.status_code == 200
    assert "multi-file" in page.text
