"""The two Python programs of the guide "Large payloads", with nothing but their import changed.

Where the guide's own text lies beside the repository, they are taken out of it; everywhere, equivalents in this
module's own words are run, step by step the same.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[3] / "shared" / "seeds" / "large-payloads.txt"

ALL_AT_ONCE = """
import json
import os

from nextmv.cloud import Application, Client, PollingOptions

with open("<YOUR-INPUT-FILE>") as file:
    input = json.load(file)
application = Application(client=Client(api_key=os.getenv("NEXTMV_API_KEY")), id="<YOUR-APP-ID>")
result = application.new_run_with_result(
    input=input,
    instance_id="<YOUR-INSTANCE-ID>",
    run_options={"solve.duration": "10s", "solve.iterations": "20"},
    polling_options=PollingOptions(),
)
print(json.dumps(result.to_dict(), indent=2))
"""
BY_HAND = """
import json
import os
import time

from nextmv.cloud import Application, Client, DownloadURL

with open("<YOUR-INPUT-FILE>") as file:
    input = json.load(file)
client = Client(api_key=os.getenv("NEXTMV_API_KEY"))
application = Application(client=client, id="<YOUR-APP-ID>")
upload_url = application.upload_url()
application.upload_large_input(input=input, upload_url=upload_url)
run_id = application.new_run(
    instance_id="<YOUR-INSTANCE-ID>", upload_id=upload_url.upload_id, options={"solve_duration": "2"}
)
time.sleep(1)
answer = client.request(
    method="GET", endpoint=f"{application.endpoint}/runs/{run_id}", query_params={"format": "url"}
)
place = DownloadURL.from_dict(answer.json()["output"])
download = client.request(method="GET", endpoint=place.url, headers={"Content-Type": "application/json"})
print(json.dumps(download.json(), indent=2))
"""


def guide():
    """The Python programs in the guide, in order: each ends where its `Copy` button stands."""
    text = GUIDE.read_text(encoding="utf-8").replace("\u00a0", " ")
    programs = re.findall(r"^(import json\n[\s\S]*?)\nCopy$", text, re.MULTILINE)
    assert len(programs) == 2
    return programs


WORDS = [pytest.param(lambda: [ALL_AT_ONCE, BY_HAND], id="our-words")]
if GUIDE.is_file():
    WORDS.append(pytest.param(guide, id="the-guide"))


@pytest.fixture
def run(remote, python, tmp_path):
    """Runs a program of the guide in a process of its own, with a value as its input; gives what it prints."""

    def _run(program, value):
        (tmp_path / "input.json").write_text(json.dumps(value))
        for old, new in (
            ("from nextmv.cloud import", "from nxtrack.cloud import"),
            ("<YOUR-INPUT-FILE>", "input.json"),
            ("<YOUR-APP-ID>", "guide"),
            ("<YOUR-INSTANCE-ID>", "latest"),
        ):
            assert program.count(old) == 1
            program = program.replace(old, new)
        done = python(program, NEXTMV_API_KEY="any", NEXTMV_ENDPOINT=remote)
        assert done.stderr == ""
        return json.loads(done.stdout)

    return _run


@pytest.mark.parametrize("programs", WORDS)
@pytest.mark.parametrize("size", [10, 5_500_000])
def test_the_guide_has_it_all_done(programs, run, size):
    result = run(programs()[0], {"a": "ü" * size, "pad": size})
    assert result["metadata"]["status_v2"] == "succeeded"
    assert result["metadata"]["options"]["request_options"] == {"solve.duration": "10s", "solve.iterations": "20"}
    assert result["output"] == {
        "words": ["-solve.duration", "10s", "-solve.iterations", "20"],
        "characters": len(json.dumps({"a": "ü" * size, "pad": size}, ensure_ascii=False, separators=(",", ":"))),
        "pad": "x" * size,
    }


@pytest.mark.parametrize("programs", WORDS)
def test_the_guide_goes_by_hand(programs, run):
    output = run(programs()[1], {"a": "ü" * 5_500_000, "pad": 10})
    assert output["words"] == ["-solve_duration", "2"]
    assert output["pad"] == "x" * 10
