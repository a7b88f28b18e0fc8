"""The guides' curl commands, as anyone would paste them: "Track runs" and "Large payloads".

Where the guides' own texts lie beside the repository, the commands are taken out of them and run as they are written;
everywhere, equivalents in this module's own words are run, step by step the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nxtrack.server.execution.instances import parse_instance

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


_ASK_FOR = r"""
response=$(curl -X POST 'https://api.cloud.nextmv.io/v1/applications/<YOUR_APP_ID>/runs/uploadurl' \
  -H 'accept: application/json' -H 'Authorization: Bearer <YOUR_NEXTMV_API_KEY>' -d '')
export {0}_UPLOAD_ID=$(echo "$response" | jq -r ".upload_id")
export {0}_UPLOAD_URL=$(echo "$response" | jq -r ".upload_url")
"""
_PUT_TO = r"""
curl -sS -L -X PUT ${0}_UPLOAD_URL -H "Content-Type: application/json" --compressed \
  --data-binary @"<PATH TO YOUR {1} FILE HERE>"
"""
# The commands of both guides, in their order, said in other words.
EQUIVALENT = {
    "track-runs.txt": [
        _ASK_FOR.format("INPUT"),
        _PUT_TO.format("INPUT", "INPUT"),
        _ASK_FOR.format("OUTPUT"),
        _PUT_TO.format("OUTPUT", "OUTPUT"),
        r"""
curl -X POST 'https://api.cloud.nextmv.io/v1/applications/<YOUR_APP_ID>/runs' -H 'accept: application/json' \
  -H 'Authorization: Bearer <YOUR_NEXTMV_API_KEY>' -H 'Content-Type: application/json' \
  -d "{\"upload_id\": \"$INPUT_UPLOAD_ID\", \"name\": \"My run\", \"result\": {\"status\": \"succeeded\",
        \"output_upload_id\": \"$OUTPUT_UPLOAD_ID\", \"execution_duration\": 1000}}"
""",
    ],
    "large-payloads.txt": [
        r"""
curl -sS -L -X POST "https://api.cloud.nextmv.io/v1/applications/$APP_ID/runs/uploadurl" \
  -H "Content-Type: application/json" -H "Authorization: Bearer $NEXTMV_API_KEY" | jq
""",
        r"""
curl -sS -L -X PUT $(echo -n $UPLOAD_URL) -H "Content-Type: application/json" --compressed --data-binary @$INPUT_FILE
""",
        r"""
curl -sS -L -X POST "https://api.cloud.nextmv.io/v1/applications/$APP_ID/runs?instance_id=$INSTANCE_ID" \
  -H "Content-Type: application/json" -H "Authorization: Bearer $NEXTMV_API_KEY" \
  -d "{ \"upload_id\": \"$UPLOAD_ID\", \"options\": { \"duration\": \"2\" } }" | jq
""",
        r"""
curl -sS -L -X GET "https://api.cloud.nextmv.io/v1/applications/$APP_ID/runs/$RUN_ID?format=url" \
  -H "Content-Type: application/json" -H "Authorization: Bearer $NEXTMV_API_KEY" | jq
""",
        r"""
curl -L -X GET $(echo -n $OUTPUT_URL) -H "Content-Type: application/json"
""",
    ],
}
PAYLOADS = r"""
{"upload_id": "%s", "result": {"output_upload_id": "%s", "status": "failed", "error_message": "Your error message here",
 "execution_duration": 1000, "error_upload_id": "%s"}}
"""
SOLVER = """
import json, sys
print("reading", file=sys.stderr)
problem = json.load(sys.stdin)
print(json.dumps({"solution": {"options": sys.argv[1:], "jobs": problem["jobs"]}, "metrics": {"gap": 0.0}}))
"""


def guide(name):
    """The shell commands in a guide, in order: each begins a line and ends where the guide's `Copy` button stands."""
    text = (SEEDS / name).read_text(encoding="utf-8").replace("\u00a0", " ")
    return re.findall(r"^((?:response=\$\(|curl )[\s\S]*?)\nCopy$", text, re.MULTILINE)


# With the guides beside the repository, both are run; without them, nothing is skipped.
WORDS = [pytest.param(EQUIVALENT.__getitem__, id="our-words")]
if SEEDS.is_dir():
    WORDS.append(pytest.param(guide, id="the-guide"))


@pytest.fixture
def remote(start, tmp_path):
    """A platform with an instance that can run."""
    (tmp_path / "solver.py").write_text(SOLVER)
    return start(instances=(parse_instance(f"latest={sys.executable} solver.py", tmp_path),))


@pytest.mark.parametrize("commands", WORDS)
def test_the_guide_track_runs_works_as_it_is_written(api, folder, commands):
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
    run_id = json.loads(said[said.rindex('{"run_id"') :])["run_id"]
    run = api.runs(f"/{run_id}").json()
    assert (run["name"], run["metadata"]["status_v2"], run["metadata"]["duration"]) == ("My run", "succeeded", 1000)
    assert api.runs(f"/{run_id}/input").content == INPUT
    assert api.runs(f"/{run_id}/output").content == OUTPUT


def test_the_guide_records_a_failed_run_with_logs(api, folder):
    """The JSON that it shows for that, posted as it stands."""
    uploads = (api.upload(INPUT), api.upload(OUTPUT), api.upload(b"Infeasible\n"))
    body = PAYLOADS % uploads
    if SEEDS.is_dir():
        text = (SEEDS / "track-runs.txt").read_text(encoding="utf-8").replace("\u00a0", " ")
        shown = re.findall(r"^(\{[^$]*?^\})\nCopy$", text, re.MULTILINE)[-1]
        for name, upload in zip(("INPUT", "OUTPUT", "LOGS"), uploads, strict=True):
            shown = shown.replace(f"<{name}_UPLOAD_ID>", upload)
        # The guide leaves a comma before the last brace, which no JSON has.
        assert json.loads(re.sub(r",\s*\}", "}", shown)) == json.loads(body)
    run_id = api.runs(method="POST", data=body).json()["run_id"]
    run = api.runs(f"/{run_id}").json()
    assert run["metadata"]["status_v2"] == "failed"
    assert run["error_log"] == {"error": "Your error message here", "stdout": "", "stderr": "Infeasible\n"}
    assert run["output"] == json.loads(OUTPUT)


@pytest.mark.parametrize("commands", WORDS)
def test_the_guide_large_payloads_works_as_it_is_written(remote, folder, commands):
    """The remote run, too: an instance executes it, with the upload as its input and its options as arguments."""
    ask, send, run, result, download = (
        command.replace("https://api.cloud.nextmv.io", remote.url) for command in commands("large-payloads.txt")
    )
    made = json.loads(bash(ask, folder, remote))
    shell = {"UPLOAD_ID": made["upload_id"], "UPLOAD_URL": made["upload_url"], "INPUT_FILE": "input.json"}
    assert bash(send, folder, remote, **shell) == b""
    run_id = json.loads(bash(run, folder, remote, INSTANCE_ID="latest", **shell))["run_id"]
    assert run_id.startswith("latest-")
    for _ in range(1200):
        metadata = remote.runs(f"/{run_id}/metadata").json()["metadata"]
        if metadata["status_v2"] not in {"queued", "running"}:
            break
        time.sleep(0.05)
    answer = json.loads(bash(result, folder, remote, RUN_ID=run_id))
    assert answer["metadata"]["status"] == answer["metadata"]["status_v2"] == "succeeded", answer
    assert answer["metadata"]["run_type"] == {"type": "standard", "definition_id": "", "reference_id": ""}
    assert answer["metadata"]["options"]["request_options"] == {"duration": "2"}
    assert answer["metadata"]["options"]["active_options"] == {"duration": "2"}
    assert answer["metadata"]["format"] == {"input": {"type": "json"}, "output": {"type": "json"}}
    assert answer["metadata"]["metrics"] == {"gap": 0.0}
    assert set(answer["output"]) == {"url"}
    output = json.loads(bash(download, folder, remote, OUTPUT_URL=answer["output"]["url"]))
    assert output["solution"] == {"options": ["-duration", "2"], "jobs": [1, 2.5]}
    assert remote.runs(f"/{run_id}/input").content == INPUT
    assert remote.runs(f"/{run_id}/logs").json() == {"log": "reading\n"}
