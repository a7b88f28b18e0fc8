"""`online` mode: the user's own process delivers, and its end never waits longer than it is told."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing

import pytest
from support import programs

from nxtrack.spool.store import spool

SOLVE = """
    import os, sys, time
    import nxtrack

    @nxtrack.track(app_id="routing")
    def solve(problem):
        return problem

    for number in range(3):
        solve(number)
"""


def online(url: str, **more: str) -> dict[str, str]:
    access = {"NXTRACK_MODE": "online", "NEXTMV_ENDPOINT": url, "NEXTMV_API_KEY": "key", "NXTRACK_RATE": "0"}
    return access | {"NXTRACK_EXIT_WAIT": "20"} | more


def states(tmp_path) -> list[str]:
    return [entry.state for entry in spool(str(tmp_path / "spool")).entries()]


def test_runs_are_delivered_without_a_flush(tmp_path, platform, application):
    told = programs.run(tmp_path, SOLVE, **online(platform.url))
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    assert states(tmp_path) == ["synced"] * 3
    assert len(list(application.list_runs())) == 3


def test_a_platform_out_of_reach_is_warned_of_once_and_keeps_everything(tmp_path):
    start = time.monotonic()
    told = programs.run(tmp_path, SOLVE, **online("http://127.0.0.1:9"))
    assert time.monotonic() - start < 10
    assert told.returncode == 0
    assert told.stderr.count("Could not reach http://127.0.0.1:9") == 1
    assert states(tmp_path) == ["ready"] * 3


def test_a_missing_key_is_a_warning(tmp_path):
    told = programs.run(tmp_path, SOLVE, NXTRACK_MODE="online", NEXTMV_ENDPOINT="http://127.0.0.1:9")
    assert told.returncode == 0
    assert told.stderr.count("No API key") == 1


def test_the_end_of_a_program_waits_no_longer_than_it_is_told(tmp_path):
    """The platform takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        start = time.monotonic()
        told = programs.run(
            tmp_path, SOLVE, **online(f"http://127.0.0.1:{silent.getsockname()[1]}", NXTRACK_EXIT_WAIT="1")
        )
        assert time.monotonic() - start < 8
    assert (told.returncode, told.stderr) == (0, "")
    assert states(tmp_path) == ["ready"] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_delivers_by_a_thread_of_its_own(tmp_path, platform, application):
    told = programs.run(
        tmp_path,
        SOLVE
        + """
    child = os.fork()
    solve("child" if child == 0 else "parent")
    if child:
        assert os.waitpid(child, 0)[1] == 0
    """,
        **online(platform.url),
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert states(tmp_path) == ["synced"] * 5
    assert len(list(application.list_runs())) == 5
