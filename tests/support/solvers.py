"""Programs that a local platform executes, written to files, and ways to wait for what they do."""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path

from nxtrack.server.options import Instance

FINAL = {"succeeded", "failed", "canceled"}


def instance(folder, source, name="solver"):
    """Registers a Python program. Without `site`, it starts in a few milliseconds, and nothing measures it."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return Instance(name=name, command=(sys.executable, "-S", str(path)))


def until(true, seconds=40.0):
    """Waits until something is true, and gives it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.02)
    return found


def state(api, run_id, app=None):
    return api.runs(f"/{run_id}/metadata", app=app).json()["metadata"]["status_v2"]


def final(api, run_id, app=None):
    """The result of a run, once it is final."""
    until(lambda: state(api, run_id, app) in FINAL)
    answer = api.runs(f"/{run_id}", app=app)
    assert answer.status_code == 200, answer.text
    return answer.json()


def started(api, body=None, instance=None, app=None):
    """Posts a remote run, and gives its id."""
    answer = api.post({"input": {}} if body is None else body, instance=instance, app=app)
    assert answer.status_code == 200, answer.text
    return answer.json()["run_id"]


def first_line(api, run_id):
    """What a program says when it is ready: unbuffered, so it comes in pieces."""
    until(lambda: "\n" in api.runs(f"/{run_id}/logs").json()["log"])
    return api.runs(f"/{run_id}/logs").json()["log"]


def alive(pid):
    """Whether a process still runs; one that only waits to be seen off does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
