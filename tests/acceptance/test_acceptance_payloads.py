"""Remote runs with large payloads: the guide's steps, in constant memory, by a platform in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from faults.network.breaker import Breaker, Cut
from support import programs
from support.proxy import Proxy

from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 2**20
# Reads all of its input, and prints as many bytes as it is told to, as JSON; the log holds the checksums of both.
SOLVER = """
    import hashlib, random, sys

    read, printed, size = hashlib.sha256(), hashlib.sha256(), 0
    while block := sys.stdin.buffer.read(2**20):
        read.update(block)
        size += len(block)
    left = int(sys.argv[sys.argv.index("-out") + 1]) - 2
    noise = random.Random(1).randbytes(2**19).hex().encode()

    def put(block):
        printed.update(block)
        sys.stdout.buffer.write(block)

    put(b'"')
    while left:
        block = noise[:left]
        put(block)
        left -= len(block)
    put(b'"')
    print(size, read.hexdigest(), printed.hexdigest(), file=sys.stderr)
"""
# The command line, which tells the most memory that its process ever used, in KiB, when it has ended.
MEASURED = """
    import re, sys
    from nxtrack.cli.main import main

    status = main(sys.argv[1:])
    with open("/proc/self/status") as file:
        print("peak", re.search(r"VmHWM:\\s*(\\d+) kB", file.read())[1], file=sys.stderr)
    sys.exit(status)
"""


@pytest.fixture
def access(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A platform in a process of its own, with an instance; gives the variables that lead to it."""
    (tmp_path / "solver.py").write_text(textwrap.dedent(SOLVER))
    options = (
        "--port",
        "0",
        "--max-download",
        "500MB",
        "--data",
        str(tmp_path / "data"),
        "--instance",
        f"latest={sys.executable} solver.py",
    )
    serving = subprocess.Popen(
        [sys.executable, "-m", "nxtrack", "serve", *options],
        env=programs.environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with serving:
        try:
            assert serving.stdout is not None
            address = re.search(r"http://\S+", serving.stdout.readline())
            assert address is not None
            yield {"NEXTMV_ENDPOINT": address[0], "NEXTMV_API_KEY": "any", "NEXTMV_APP_ID": "routing"}
        finally:
            serving.terminate()


def written(path: Path, size: int) -> str:
    """Writes so many bytes of JSON, and gives their checksum."""
    noise, checksum, left = random.Random(2).randbytes(MIB // 2).hex().encode(), hashlib.sha256(), size - 2
    with path.open("wb") as file:
        for block in (b'"', *(noise[: left - done] for done in range(0, left, MIB)), b'"'):
            checksum.update(block)
            file.write(block)
    assert path.stat().st_size == size
    return checksum.hexdigest()


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measured(folder: Path, access: dict[str, str], *args: str) -> tuple[str, int]:
    """Runs a command; gives what it printed, and the bytes of memory that it needed at most."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURED), *args],
        env=programs.environment(folder, **access),
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    peak = re.search(r"^peak (\d+)$", done.stderr, re.MULTILINE)
    assert peak is not None
    return done.stdout, int(peak[1]) * 1024


SIZES = [
    pytest.param(40_000_000, 30_000_000, 16 * MIB, id="everyday"),
    pytest.param(
        500_000_000,
        100_000_000,
        64 * MIB,
        id="the-limits",
        marks=[
            pytest.mark.skipif(not os.environ.get("NXTRACK_HEAVY"), reason="NXTRACK_HEAVY is not set"),
            pytest.mark.timeout(600),
        ],
    ),
]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(("given", "printed", "most"), SIZES)
def test_large_payloads_pass_in_constant_memory(
    tmp_path: Path, access: dict[str, str], *, given: int, printed: int, most: int
) -> None:
    """Idle is what the same commands need for a run of a few bytes."""
    small, large = tmp_path / "small.json", tmp_path / "large.json"
    small.write_text("[1]")
    idle, peaks, told = dict[str, int](), dict[str, int](), dict[str, Any]()
    digest = written(large, given)
    for file, size, found in ((small, 10, idle), (large, printed, peaks)):
        text, found["submit"] = measured(
            tmp_path, access, "submit", file.name, "--instance-id", "latest", "--option", f"out={size}", "--json"
        )
        run_id = json.loads(text)["run_id"]
        text, found["result"] = measured(tmp_path, access, "result", run_id, "--wait", "--json", "--output", "out.json")
        told = json.loads(text)
        _, found["input"] = measured(
            tmp_path, access, "input", run_id, "--output", "in.json", "--max-download", "500MB"
        )
    print(
        {
            command: f"{(peaks[command] - idle[command]) / MIB:.1f} MiB above {idle[command] / MIB:.1f}"
            for command in idle
        }
    )
    log = programs.nxtrack(tmp_path, "logs", run_id, **access).stdout.split()
    assert (told["status"], told["input_size"], told["output_size"]) == ("succeeded", given, printed)
    assert log == [str(given), digest, checksum(tmp_path / "out.json")]
    assert (tmp_path / "out.json").stat().st_size == printed
    assert checksum(tmp_path / "in.json") == digest
    assert {command: peaks[command] - idle[command] for command in idle if peaks[command] - idle[command] > most} == {}


def test_the_guides_steps(tmp_path: Path, access: dict[str, str]) -> None:
    """ "Large payloads", the steps by the API, each by the method that stands for it."""
    digest = written(tmp_path / "large.json", 6_000_000)
    with Client(api_key="any", endpoint=access["NEXTMV_ENDPOINT"]) as client:
        application = Application("routing", client)
        place = application.upload_url()  # 1. Request a presigned URL
        application.upload(tmp_path / "large.json", place)  # 2. Upload the large input
        run_id = application.new_run(  # 3. Start the run
            upload_id=place.upload_id, instance_id="latest", options={"duration": "2", "out": "7000000"}
        )
        assert run_id.startswith("latest-")
        assert application.wait_for_run(run_id).metadata.is_final
        answer = client.request("GET", f"{application.endpoint}/runs/{run_id}", query_params={"format": "url"}).json()
        assert answer["metadata"]["status_v2"] == "succeeded"  # 4. Get the run result
        assert answer["metadata"]["options"]["request_options"] == {"duration": "2", "out": "7000000"}
        raw = client.request("GET", answer["output"]["url"])
        assert application.run_output(run_id, tmp_path / "out.json") == tmp_path / "out.json"
        assert (tmp_path / "out.json").read_bytes() == raw.content == application.run_output(run_id)
        assert application.run_result(run_id).output == raw.json()
        assert application.run_logs(run_id).split() == ["6000000", digest, checksum(tmp_path / "out.json")]


def test_the_guides_steps_on_the_command_line(tmp_path: Path, access: dict[str, str]) -> None:
    """All four in one command, and the last one by itself."""
    written(tmp_path / "large.json", 6_000_000)
    options = ("--instance-id", "latest", "--option", "duration=2", "--option", "out=7000000")
    done = programs.nxtrack(tmp_path, "submit", "large.json", *options, "--output", "out.json", **access)
    assert done.returncode == 0, done.stderr
    told = re.fullmatch(r"Run (latest-\S+) succeeded in \S+ m?s: 7 MB in out\.json\.\n", done.stdout)
    assert told is not None
    done = programs.nxtrack(tmp_path, "result", told[1], **access)
    assert done.stdout == (tmp_path / "out.json").read_text()
    assert len(done.stdout) == 7_000_000


def test_lost_connections_and_expired_urls_on_the_command_line(tmp_path: Path, access: dict[str, str]) -> None:
    digest = written(tmp_path / "large.json", 6_000_000)
    with contextlib.closing(Proxy(access["NEXTMV_ENDPOINT"])) as proxy:
        for method, path in (("PUT", "/uploads/"), ("GET", "/downloads/")):
            proxy.fail(method, path)
            proxy.fail(method, path, status=403)
        through = access | {"NEXTMV_ENDPOINT": proxy.url, "NXTRACK_BACKOFF": "0.01"}
        options = ("--instance-id", "latest", "--option", "out=7000000", "--output", "out.json")
        done = programs.nxtrack(tmp_path, "submit", "large.json", *options, **through)
        assert done.returncode == 0, done.stderr
        assert [proxy.count(method, path) for method, path in (("PUT", "/uploads/"), ("GET", "/downloads/"))] == [3, 3]
        run_id = done.stdout.split()[1]
        assert programs.nxtrack(tmp_path, "logs", run_id, **access).stdout.split() == [
            "6000000",
            digest,
            checksum(tmp_path / "out.json"),
        ]
        (tmp_path / "out.json").unlink()
        proxy.fail("GET", "/downloads/", times=-1)
        done = programs.nxtrack(tmp_path, "result", run_id, "--output", "out.json", **through)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith(
        f"The output of run {run_id} could not be fetched, and nothing was kept of it: try again.\n"
    )
    assert re.search(r"\nNo usable answer came from the object store 127\.0\.0\.1 \(.*\).*\n", done.stderr)
    assert not list(tmp_path.glob("*out*")) + list(tmp_path.glob(".nxtrack-*"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_download_that_is_stopped_leaves_nothing(
    tmp_path: Path, access: dict[str, str], number: int, status: int
) -> None:
    with Client(api_key="any", endpoint=access["NEXTMV_ENDPOINT"]) as client:
        run_id = Application("routing", client).track_run({}, "x" * 6_000_000)
    (tmp_path / "out.json").write_text("before")
    for args in (("--output", "out.json"), ()):
        with contextlib.closing(Breaker(access["NEXTMV_ENDPOINT"])) as breaker:
            breaker.add(Cut(method="GET", path="/downloads/", side="answer", at=3_000_000, how="stall"))
            (tmp_path / "temporary").mkdir(exist_ok=True)
            fetching = subprocess.Popen(
                [sys.executable, "-m", "nxtrack", "result", run_id, *args],
                env=programs.environment(
                    tmp_path, **access | {"NEXTMV_ENDPOINT": breaker.url, "TMPDIR": str(tmp_path / "temporary")}
                ),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=tmp_path,
            )
            with fetching:
                deadline = time.monotonic() + 30
                while not (begun := [part for part in tmp_path.rglob(".nxtrack-*") if part.stat().st_size > 2_000_000]):
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                assert len(begun) == 1
                fetching.send_signal(number)
                told = fetching.communicate(timeout=20)
        assert (fetching.returncode, told) == (status, (b"", b""))
        assert not [*tmp_path.rglob(".nxtrack-*"), *(tmp_path / "temporary").iterdir()]
    assert (tmp_path / "out.json").read_text() == "before"
