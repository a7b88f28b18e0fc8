"""The rate limit: what it lets through, how it refuses, and that clients live well with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.server import rates
from nxtrack.server.options import ServeOptions
from nxtrack.server.rates import Rate
from nxtrack.server.serve import running

RUN = {"input": {}, "result": {"status": "succeeded"}}


@pytest.fixture
def limited(start):
    return start(rate_limit=True)


def test_there_is_no_limit_unless_it_is_asked_for(api):
    assert {api.post(RUN).status_code for _ in range(12)} == {200}


def test_run_posts_beyond_five_a_second_are_refused(limited, clock):
    assert [limited.post(RUN).status_code for _ in range(6)] == [200] * 5 + [429]
    answer = limited.post(RUN)
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {"error": "There are more than 5 run requests a second: try again in 1 s."}
    # Everything else goes on, and what was refused has made nothing and counts for nothing.
    assert limited.upload(b"{}")
    assert len(limited.runs().json()["runs"]) == 5
    clock.now += 0.2
    assert [limited.post(RUN).status_code for _ in range(2)] == [200, 429]
    clock.now += 60
    assert [limited.post(RUN).status_code for _ in range(6)] == [200] * 5 + [429]


def test_requests_beyond_two_thousand_a_minute_are_refused(start, clock):
    api = start(rate_limit=True, limits={"requests_per_minute": 20})
    assert [api.call("GET", "/applications").status_code for _ in range(21)] == [200] * 20 + [429]
    answer = api.call("GET", "/applications")
    assert answer.headers["retry-after"] == "3"
    assert "20 requests a minute" in answer.json()["error"]
    assert api.page("/").status_code == api.page("/healthz").status_code == 200
    clock.now += 3
    assert [api.call("GET", "/applications").status_code for _ in range(2)] == [200, 429]


def test_the_limits_are_the_documented_ones(tmp_path):
    limits = ServeOptions(data=tmp_path).limits
    assert (limits.runs_per_second, limits.requests_per_minute) == (5, 2000)


def test_the_object_store_has_no_such_limit(start):
    api = start(rate_limit=True, limits={"requests_per_minute": 2})
    url = api.upload_url()["upload_url"]
    assert {api.put(url, b"{}").status_code for _ in range(10)} == {200}


def test_each_key_has_its_own_limit(limited):
    for key in ("one", "two"):
        limited.key = key
        assert [limited.post(RUN).status_code for _ in range(6)] == [200] * 5 + [429]


def test_who_is_not_let_in_uses_up_nothing(start):
    api = start(rate_limit=True, key="right", limits={"requests_per_minute": 3})
    assert {api.call("GET", "/applications").status_code for _ in range(10)} == {401}
    api.key = "right"
    assert [api.call("GET", "/applications").status_code for _ in range(4)] == [200] * 3 + [429]


class Seconds:
    """A clock that tests move."""

    now = 0.0

    def __call__(self):
        return self.now


@given(st.floats(0.1, 50), st.floats(1, 50), st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=200))
def test_no_more_go_through_than_the_rate_allows(per_second, burst, steps):
    """None is a request; a number moves the clock, backwards too, when as much as it takes is let through."""
    clock = Seconds()
    rate = Rate(per_second=per_second, burst=burst, clock=clock)
    passed, forward = 0, 0.0
    for step in steps:
        if step is None:
            wait = rate.take(b"key")
            passed += not wait
            assert 0 <= wait <= 1 / per_second
        else:
            clock.now += step
            forward += max(0.0, step)
    assert passed <= burst + forward * per_second + 1e-6


@given(st.floats(0.1, 50), st.floats(1, 50))
def test_who_waits_as_told_is_let_through(per_second, burst):
    clock = Seconds()
    rate = Rate(per_second=per_second, burst=burst, clock=clock)
    for _ in range(120):
        if wait := rate.take(b"key"):
            clock.now += wait * (1 + 1e-9)
            assert rate.take(b"key") == 0


def test_a_clock_set_back_locks_nobody_out():
    clock = Seconds()
    clock.now = 1e9
    rate = Rate(per_second=1, burst=1, clock=clock)
    assert rate.take(b"key") == 0
    clock.now = 0
    assert rate.take(b"key") > 0
    clock.now = 1
    assert rate.take(b"key") == 0


def test_made_up_keys_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(rates, "_MOST_KEYS", 10)
    rate = Rate(per_second=1, burst=1, clock=Seconds())
    for number in range(100):
        assert rate.take(b"%d" % number) == 0
    assert len(rate._buckets) == 10
    assert rate.take(b"99") > 0


SPOOL = """
from nxtrack import track

@track(app_id="routing")
def solve(problem):
    return {"solution": problem}

for number in range(15):
    solve(number)
"""


def test_a_flush_at_its_default_pace_delivers_everything(tmp_path):
    """The real `nxtrack flush`, in a process of its own: hardly ever refused, and nothing is left over."""
    with running(ServeOptions(port=0, data=tmp_path / "data", rate_limit=True)) as platform:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("NEXTMV_", "NXTRACK_"))
        }
        environment |= {"NEXTMV_ENDPOINT": platform.url, "NEXTMV_API_KEY": "any", "HOME": str(tmp_path)}
        environment |= {"NXTRACK_DIR": str(tmp_path / "spool"), "NO_PROXY": "*"}
        (tmp_path / "solve.py").write_text(SPOOL)
        options = {"env": environment, "cwd": tmp_path, "timeout": 100, "capture_output": True}
        subprocess.run([sys.executable, "solve.py"], check=True, **options)
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "nxtrack", "flush", "--json"], check=True, text=True, **options)
        seconds = time.monotonic() - begun
        report = json.loads(done.stdout)
        assert (len(report["synced"]), report["rejected"], report["pending"]) == (15, [], 0)
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"{platform.url}/v1/applications/routing/runs", headers={"Authorization": "Bearer other"}, timeout=30
            )
        assert len(answer.json()["runs"]) == 15
    # 15 runs at 5 a second are 3 seconds; a flush that were refused again and again would take many more.
    assert seconds < 15


def test_a_burst_of_64_clients_goes_through(start):
    """Without a limit, all at once, each on a connection of its own: a tracked run, written and read back."""
    api = start()
    ready = threading.Barrier(64)

    def client(number):
        mine = type(api)(api.url, api.data, api.clock, app=f"app-{number % 4}", key=f"key-{number}")
        with mine.session:
            ready.wait(30)
            data = json.dumps({"n": number}).encode()
            run_id = mine.track(data=data, output=data, logs=b"log\n")
            assert mine.runs(f"/{run_id}").json()["output"] == {"n": number}
            assert mine.runs(f"/{run_id}/logs").json() == {"log": "log\n"}
            return run_id

    begun = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(client, range(64)))
    assert len(set(made)) == 64
    assert sum(len(api.runs(app=f"app-{number}").json()["runs"]) for number in range(4)) == 64
    assert time.monotonic() - begun < 20
