"""The guides' curl commands, as anyone would paste them: "Track runs" and "Large payloads".

Where the guides' own texts lie beside the repository, the commands are taken out of them; everywhere, the same steps
are run in this module's own words.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
    pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq"),
]

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
INPUT = b'{ "problem" : "ft06",\n  "jobs": [1, 2.50] }\n'
OUTPUT = b'{"solution":{"makespan":55},"metrics":{"gap":0.0}}'

ASK = r"""
response=$(curl -sS -X POST "$BASE/v1/applications/$APP_ID/runs/uploadurl" \
  -H 'accept: application/json' -H "Authorization: Bearer $NEXTMV_API_KEY" -d '')
ID=$(echo "$response" | jq -r .upload_id)
URL=$(echo "$response" | jq -r .upload_url)
"""
SEND = r"""
said=$(curl -sS -L -X PUT $URL -w '%{http_code}' \
  -H 'Content-Type: application/json' --compressed --data-binary @"$FILE")
[ "$said" = 200 ] || { echo "PUT said: $said"; exit 1; }
"""
TRACK = rf"""
set -eu
FILE=input.json; {ASK} {SEND} IN=$ID
FILE=output.json; {ASK} {SEND} OUT=$ID
FILE=logs.txt; {ASK} {SEND} LOGS=$ID
curl -sS -X POST "$BASE/v1/applications/$APP_ID/runs" -H 'accept: application/json' \
  -H "Authorization: Bearer $NEXTMV_API_KEY" -H 'Content-Type: application/json' \
  -d "{{\"name\": \"My run\", \"upload_id\": \"$IN\", \"result\": {{\"output_upload_id\": \"$OUT\",
        \"error_upload_id\": \"$LOGS\", \"status\": \"failed\", \"error_message\": \"No plan\",
        \"execution_duration\": 1000}}}}"
"""
READ = r"""
set -eu
url=$(curl -sS -L -X GET "$BASE/v1/applications/$APP_ID/runs/$RUN_ID?format=url" -H 'Content-Type: application/json' \
  -H "Authorization: Bearer $NEXTMV_API_KEY" | jq -r .output.url)
curl -sS -L -X GET $(echo -n "$url") -H 'Content-Type: application/json'
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "work"
    path.mkdir()
    (path / "input.json").write_bytes(INPUT)
    (path / "output.json").write_bytes(OUTPUT)
    (path / "logs.txt").write_text("Presolve\nüber\n", encoding="utf-8")
    return path


def bash(script, folder, api, **more):
    """Runs a script as a user's shell would, and gives its output."""
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"BASE": api.url, "APP_ID": api.app, "NEXTMV_API_KEY": "any-key", "HOME": str(folder), **more}
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_is_tracked_with_curl(api, folder):
    run_id = json.loads(bash(TRACK, folder, api))["run_id"]
    assert api.runs(f"/{run_id}/input").content == INPUT
    assert bash(READ, folder, api, RUN_ID=run_id) == OUTPUT
    run = api.runs(f"/{run_id}").json()
    assert (run["name"], run["metadata"]["status"], run["metadata"]["duration"]) == ("My run", "failed", 1000)
    assert run["error_log"] == {"error": "No plan", "stdout": "", "stderr": "Presolve\nüber\n"}


def test_curl_uploads_what_is_large(api, folder):
    """Above 1 MB curl asks first whether to send (`Expect: 100-continue`)."""
    (folder / "output.json").write_bytes(large := json.dumps("x" * 7_000_000).encode())
    run_id = json.loads(bash(TRACK, folder, api))["run_id"]
    assert bash(READ, folder, api, RUN_ID=run_id) == large


def test_curl_is_told_why_an_upload_is_refused(api, folder, clock):
    ask = bash(f"{ASK} echo $URL", folder, api).decode().strip()
    clock.now += 16 * 60
    said = bash(f'URL="{ask}"; curl -sS -X PUT "$URL" --data-binary @input.json', folder, api)
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in said


def commands(name):
    """The shell commands in a guide, in order: each begins a line and ends where the guide's `Copy` button stands."""
    path = SEEDS / name
    if not path.exists():
        pytest.skip(f"needs {name} of the guides beside the repository")
    text = path.read_text(encoding="utf-8").replace("\u00a0", " ")
    return re.findall(r"^((?:response=\$\(|curl )[\s\S]*?)\nCopy$", text, re.MULTILINE)


def test_the_guide_track_runs_works_as_it_is_written(api, folder):
    script = "\n".join(commands("track-runs.txt"))
    assert script.count("curl ") == 5
    for old, new in (
        ("https://api.cloud.nextmv.io", api.url),
        ("<YOUR_APP_ID>", api.app),
        ("<YOUR_NEXTMV_API_KEY>", "any-key"),
        ("<PATH TO YOUR INPUT FILE HERE>", "./input.json"),
        ("<PATH TO YOUR OUTPUT FILE HERE>", "./output.json"),
    ):
        assert old in script
        script = script.replace(old, new)
    said = bash(f"set -e\n{script}", folder, api).decode()
    run_id = json.loads(said[said.rindex("{") :])["run_id"]
    run = api.runs(f"/{run_id}").json()
    assert (run["name"], run["metadata"]["status_v2"], run["metadata"]["duration"]) == ("My run", "succeeded", 1000)
    assert api.runs(f"/{run_id}/input").content == INPUT
    assert api.runs(f"/{run_id}/output").content == OUTPUT


def test_the_guide_large_payloads_works_as_it_is_written(api, folder):
    """Its remote run needs an instance to run it, which this platform says in a sentence; the rest is the same."""
    ask, send, run, result, download = (
        command.replace("https://api.cloud.nextmv.io", api.url) for command in commands("large-payloads.txt")
    )
    made = json.loads(bash(ask, folder, api))
    shell = {"UPLOAD_ID": made["upload_id"], "UPLOAD_URL": made["upload_url"], "INPUT_FILE": "input.json"}
    assert bash(send, folder, api, **shell) == b""
    assert "result" in json.loads(bash(run, folder, api, INSTANCE_ID="latest", **shell))["error"]
    tracked = api.post({"upload_id": made["upload_id"], "result": {"status": "succeeded"}}).json()["run_id"]
    assert api.runs(f"/{tracked}/input").content == INPUT
    run_id = api.track(output=OUTPUT)
    answer = json.loads(bash(result, folder, api, RUN_ID=run_id))
    assert answer["metadata"]["format"] == {"input": {"type": "json"}, "output": {"type": "json"}}
    assert bash(download, folder, api, OUTPUT_URL=answer["output"]["url"]) == OUTPUT
