"""`nxtrack serve` and `nxtrack demo`."""

from __future__ import annotations

import os
import re
import signal
import socket
import urllib.request

import msgspec
import pytest

from nxtrack import settings
from nxtrack.cli import _jobshop, demo
from nxtrack.server.options import Limits, ServeOptions
from nxtrack.server.serve import running
from nxtrack.spool.store import Spool

SENTENCE = "Read back from the platform: inputs, outputs and logs equal what was captured."


def test_serve_prints_its_address_and_ends_by_a_signal(start, tmp_path, call, solved, monkeypatch):
    started = start("serve", "--port", "0", "--data", tmp_path / "data", NXTRACK_SERVE_KEY="from-the-environment")
    first = started.stdout.readline()
    url = re.fullmatch(r"Local platform on (http://127\.0\.0\.1:\d+) \(data in (.*)\)\n", first)
    assert url[2] == str(tmp_path / "data")
    with urllib.request.urlopen(f"{url[1]}/healthz", timeout=10) as answer:
        assert answer.status == 200
    solved(1)
    monkeypatch.setenv("NEXTMV_ENDPOINT", url[1])
    monkeypatch.setenv("NEXTMV_API_KEY", "a-wrong-one")
    assert call("flush")[0] == 2
    monkeypatch.setenv("NEXTMV_API_KEY", "from-the-environment")
    assert call("flush")[0] == 0
    started.send_signal(signal.SIGTERM)
    out, err = started.communicate(timeout=20)
    assert (started.returncode, out, err) == (0, "", "")


def test_serve_on_a_taken_port_is_a_sentence(call, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, out, err = call("serve", "--port", port, "--data", tmp_path / "data")
    assert (status, out) == (2, "")
    assert err.startswith(f"Cannot listen on 127.0.0.1:{port} ")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    status, _, err = call("serve", "--host", "0.0.0.0", "--port", "0")
    assert status == 2
    assert err == "Listening on 0.0.0.0 lets other machines in: set NXTRACK_SERVE_KEY to the key they need.\n"


def test_the_demo_goes_the_whole_way(process, tmp_path, call):
    """The user's own settings point elsewhere, and are neither used nor touched."""
    done = process(
        "demo",
        NEXTMV_API_KEY="mine",
        NEXTMV_ENDPOINT="https://platform.invalid",
        NXTRACK_MODE="disabled",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        no_proxy="localhost",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    url = re.fullmatch(r"Local platform on (http://127\.0\.0\.1:\d+) \(data in a temporary folder\)", lines[0])[1]
    assert lines[1] == "Solving ft06, a 6 x 6 job shop with known optimum 55, with HiGHS ..."
    assert re.fullmatch(r"  ✓ optimal      makespan 55   +\S+ m?s", lines[2])
    assert re.fullmatch(r"  ✓ 20 % gap     makespan \d\d   +\S+ m?s   gap \d+\.\d%", lines[3])
    assert re.fullmatch(r"  ✗ horizon 40   failed        +\S+ m?s   Infeasible: no schedule ends by 40", lines[4])
    assert lines[5] == "3 runs spooled, 0 network requests made while solving."
    assert lines[6].split() == ["run", "status", "makespan", "duration", "page"]
    rows = [re.split(r"  +", line) for line in lines[7:10]]
    assert {row[0] for row in rows} == {"ft06, optimal", "ft06, 20 % gap", "ft06, horizon 40"}
    assert all(row[-1].startswith(f"{url}/runs/job-shop/") for row in rows)
    assert lines[10] == SENTENCE
    assert not (tmp_path / "spool").exists()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{url}/healthz", timeout=5)


def test_the_demo_on_a_terminal(terminal):
    status, shown = terminal("demo", columns=160)
    assert status == 0
    assert "3/3" in shown
    assert "┃ makespan ┃" in shown
    assert SENTENCE in shown
    assert "HiGHS 1." not in shown
    assert "MIP has" not in shown


def test_the_demo_leaves_the_platform_up_when_asked(start):
    started = start("demo", "--keep")
    lines = []
    for line in started.stdout:
        lines.append(line)
        if line.startswith("The platform stays up on "):
            break
    pages = re.findall(r"http://\S+/runs/job-shop/\S+", "".join(lines))
    assert len(pages) == 3
    shown = ""
    for page in pages:
        with urllib.request.urlopen(page, timeout=10) as answer:
            shown += answer.read().decode()
    assert "no schedule ends by 40" in shown
    assert "MIP has 216 rows" in shown  # the log of the solver is there
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=20)
    assert (started.returncode, out, err) == (0, "", "")


def test_the_demo_names_the_extra_it_needs(call, monkeypatch):
    monkeypatch.setitem(demo._EXTRA, "no_such_module_anywhere", "no-such-package")
    status, out, err = call("demo")
    assert (status, out) == (2, "")
    assert err == 'The demo needs no-such-package: run `pip install "nxtrack[examples]"`.\n'


def test_what_comes_back_otherwise_is_told(tmp_path, capsys):
    root = str(tmp_path / "captured")
    demo.solve_all(root)
    with running(ServeOptions(port=0, data=tmp_path / "platform")) as platform:
        delivered = demo.deliver(root, platform)
        assert demo.compare(root, platform, delivered)
        runs = Spool(root)
        first, second, *others = sorted(delivered, key=lambda synced: synced.id)
        assert runs.read(runs.find(first.id)).start.name == "ft06, optimal"
        mistaken = [msgspec.structs.replace(first, run_id=second.run_id), second, *others]
        assert not demo.compare(root, platform, mistaken)
    assert "logs of ft06, optimal." in capsys.readouterr().err
    assert settings.current().dir == os.environ["NXTRACK_DIR"]  # the demo's own settings are gone


def test_what_was_not_delivered_is_told(tmp_path, capsys):
    root = str(tmp_path / "captured")
    demo.solve_all(root)
    with running(ServeOptions(port=0, data=tmp_path / "platform", limits=Limits(upload=100))) as platform:
        assert not demo.compare(root, platform, demo.deliver(root, platform))
    err = capsys.readouterr().err
    assert err.count("was rejected and is kept") == 3
    assert err.endswith("Only 0 of 3 runs were delivered.\n")


def test_connections_made_while_solving_would_be_counted():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with demo.counted_connections() as connections:
            assert connections() == 0
            socket.create_connection(server.getsockname()).close()
        assert connections() > 0
        with demo.counted_connections() as connections:
            pass
        socket.create_connection(server.getsockname()).close()
    assert connections() == 0


def test_the_model_proves_the_known_optimum(capfd):
    found = _jobshop.solve(_jobshop.instance(_jobshop.FT06))
    assert found["makespan"] == found["metrics"]["makespan"] == _jobshop.OPTIMUM
    times = _jobshop.instance(_jobshop.FT06)["duration_matrix"]
    assert max(starts[-1] + row[-1] for starts, row in zip(found["starts"], times, strict=True)) == 55
    out = capfd.readouterr().out
    assert out.count("MIP has 216 rows") == 1  # by Python, and not at C level as well
    with pytest.raises(_jobshop.Infeasible, match="no schedule ends by 40"):
        _jobshop.solve(_jobshop.instance(_jobshop.FT06), horizon=40)
