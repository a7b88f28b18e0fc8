"""The process behind `nxtrack serve`: how it starts, what it says, how it stops."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

import nxtrack
import nxtrack.server
from nxtrack.errors import ServerError
from nxtrack.server.options import ServeOptions, default_data_folder
from nxtrack.server.serve import running, serve

PROGRAM = """
import sys
from pathlib import Path
from nxtrack.server.options import Limits, ServeOptions
from nxtrack.server.serve import serve
limits = Limits(idle_seconds=float(sys.argv[3]))
sys.exit(serve(ServeOptions(port=int(sys.argv[2]), data=Path(sys.argv[1]), limits=limits)))
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(nxtrack.__path__[0]).parent), "PYTHONWARNINGS": "error"}
# CPython 3.11 loses exceptions that are thrown into a coroutine under a trace function (python/cpython#106749), so
# what cancels a request runs without coverage.
UNTRACED = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("COVERAGE")}


def started(data, port=0, *, idle=60.0, environment=ENVIRONMENT):
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", PROGRAM, str(data), str(port), str(idle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    line = process.stdout.readline()
    found = re.fullmatch(r"Local platform on (http://127\.0\.0\.1:\d+) \(data in (.+)\)\n", line)
    assert found, line + process.stderr.read()
    assert found[2] == str(data)
    return process, found[1]


def get(url):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=10, headers={"Authorization": "Bearer k"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_line_holds_the_address_and_a_signal_ends_it_well(tmp_path, number):
    process, url = started(tmp_path)
    # No waiting: what the line says is true when it is read.
    assert get(f"{url}/healthz").status_code == 200
    with requests.Session() as idle:
        idle.trust_env = False
        idle.get(f"{url}/", timeout=10)
        begun = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert time.monotonic() - begun < 3
    assert (process.returncode, out, err) == (0, "", "")


def half_an_upload(url):
    """Begins an upload and sends only a part of it."""
    with requests.Session() as session:
        session.trust_env = False
        made = session.post(
            f"{url}/v1/applications/a/runs/uploadurl", headers={"Authorization": "Bearer k"}, timeout=10
        ).json()
    host, port = url.removeprefix("http://").split(":")
    half = socket.create_connection((host, int(port)), timeout=10)
    path = made["upload_url"].removeprefix(url)
    half.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf".encode())
    return half


def test_an_upload_on_its_way_does_not_hold_up_the_stop(tmp_path):
    process, url = started(tmp_path, environment=UNTRACED)
    with half_an_upload(url):
        while not list((tmp_path / "partial").iterdir()):
            time.sleep(0.01)
        process.terminate()
        process.communicate(timeout=15)
    assert process.returncode == 0
    assert not list((tmp_path / "partial").iterdir())


def test_an_upload_that_stalls_is_given_up(tmp_path):
    process, url = started(tmp_path, idle=0.2, environment=UNTRACED)
    with half_an_upload(url) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 400
        assert answer.getheader("Connection") == "close"
        assert b"RequestTimeout" in answer.read()
        answer.close()
    assert not list((tmp_path / "partial").iterdir())
    process.terminate()
    process.communicate(timeout=15)
    assert process.returncode == 0


def test_a_killed_platform_starts_again_on_the_same_port(tmp_path):
    process, url = started(tmp_path)
    api = f"{url}/v1/applications/a"
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": "Bearer k"}
        body = {"input": {"kept": 1}, "result": {"status": "succeeded"}}
        run_id = session.post(f"{api}/runs", headers=headers, json=body, timeout=10).json()["run_id"]
        process.kill()
        process.communicate(timeout=10)
    process, again = started(tmp_path, int(url.rpartition(":")[2]))
    assert again == url
    assert get(f"{api}/runs/{run_id}/input").json() == {"kept": 1}
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_serve_in_this_process_puts_the_handlers_back(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    stop = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    stop.start()
    assert serve(ServeOptions(port=0, data=tmp_path)) == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert capsys.readouterr().out.startswith("Local platform on http://127.0.0.1:")


def test_serve_outside_the_main_thread_leaves_signals_alone(tmp_path, capsys, monkeypatch):
    servers = []
    monkeypatch.setattr("uvicorn.Server.__init__", _remembering(servers))
    thread = threading.Thread(target=serve, args=(ServeOptions(port=0, data=tmp_path),))
    thread.start()
    while not (servers and getattr(servers[0], "started", False)):
        time.sleep(0.01)
    servers[0].should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def _remembering(servers):
    import uvicorn

    original = uvicorn.Server.__init__

    def remember(self, config):
        original(self, config)
        servers.append(self)

    return remember


def test_a_port_in_use_is_one_sentence(api, tmp_path):
    port = int(api.url.rpartition(":")[2])
    with (
        pytest.raises(ServerError, match=rf"Cannot listen on 127\.0\.0\.1:{port} \(.+\): choose another"),
        running(ServeOptions(port=port, data=tmp_path / "other")),
    ):
        pass


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("127.0.0.1", -1), ("192.0.2.1", 0), ("x" * 300, 0)])
def test_an_address_that_cannot_be_is_one_sentence(tmp_path, host, port):
    with (
        pytest.raises(ServerError, match="Cannot listen on"),
        running(ServeOptions(host=host, port=port, data=tmp_path, key="k")),
    ):
        pass


def test_nothing_is_made_when_it_may_not_serve(tmp_path):
    data = tmp_path / "data"
    with pytest.raises(ServerError, match="--key"), running(ServeOptions(host="0.0.0.0", port=0, data=data)):
        pass
    assert not data.exists()


def test_ipv6_addresses_stand_in_brackets(tmp_path):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with running(ServeOptions(host="::1", port=0, data=tmp_path)) as platform:
        assert platform.url.startswith("http://[::1]:")
        assert get(f"{platform.url}/healthz").status_code == 200


def test_an_error_in_the_block_stops_the_platform_too(tmp_path):
    with pytest.raises(ZeroDivisionError), running(ServeOptions(port=0, data=tmp_path)) as platform:
        raise ZeroDivisionError
    with pytest.raises(requests.ConnectionError):
        get(f"{platform.url}/healthz")


def test_answers_on_a_kept_connection_do_not_wait(api):
    """Nagle's algorithm and a delayed acknowledgement would make it 40 ms for each small PUT."""
    url = api.upload_url()["upload_url"]
    begun = time.monotonic()
    for _ in range(150):
        api.put(url, b"{}")
    assert time.monotonic() - begun < 150 * 0.04


def test_a_missing_extra_is_told_with_what_to_install(monkeypatch):
    nxtrack.server.require_extra()
    monkeypatch.setattr(nxtrack.server, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(ServerError, match=r'needs uvicorn: run `pip install "nxtrack\[server\]"`'):
        nxtrack.server.require_extra()


def test_importing_the_entry_without_the_extra_is_told_too():
    program = """
import sys
sys.modules["uvicorn"] = None
from nxtrack.errors import ServerError
try:
    import nxtrack.server.serve
except ServerError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True, timeout=30
    )
    assert done.stdout == 'The local platform needs uvicorn: run `pip install "nxtrack[server]"`.\n'


def test_the_room_itself_is_light():
    """A command line that only asks for the extra must not load a web framework."""
    program = "import sys, nxtrack.server, nxtrack.server.options; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=UNTRACED, check=True, timeout=30
    )
    assert not {"starlette", "uvicorn", "jinja2", "sqlite3", "requests"} & set(done.stdout.split())


def test_data_has_a_place_of_its_own():
    assert default_data_folder().is_absolute()
    assert ServeOptions().data == default_data_folder()


def test_a_server_that_ends_at_once_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    with pytest.raises(ServerError, match="ended before"), running(ServeOptions(port=0, data=tmp_path)):
        pass
