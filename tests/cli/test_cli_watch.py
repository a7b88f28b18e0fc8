"""`nxtrack flush --watch`: it delivers as runs come, outlives the platform, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from nxtrack import settings
from nxtrack.cli import watch as watch_module
from nxtrack.cli.watch import Watcher
from nxtrack.delivery.one import Delivery
from nxtrack.delivery.order import Order
from nxtrack.errors import NotFound


def line_of(stream, beginning):
    for line in stream:
        if line.startswith(beginning):
            return line
    raise AssertionError(f"no line begins with {beginning!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_delivers_as_runs_come_and_ends_by_a_signal(*, number, start, solved, platform, until, tmp_path):
    served = platform()
    solved(1)
    started = start("flush", "--watch")
    assert started.stdout.readline() == f"Watching {tmp_path}/spool for {served.url}; Ctrl-C stops.\n"
    assert line_of(started.stdout, "1 run delivered.")
    if number == signal.SIGINT:  # once is enough to see that it looks again
        solved(2)
        assert line_of(started.stdout, "2 runs delivered.")
        assert len(served.runs()) == 3
    started.send_signal(number)
    out, err = started.communicate(timeout=10)
    assert (started.returncode, out, err) == (0, "Stopped: nothing left.\n", "")


def test_what_is_left_is_75(start, solved):
    solved(1)
    away = {"NEXTMV_ENDPOINT": "http://127.0.0.1:9", "NEXTMV_API_KEY": "any", "NXTRACK_BACKOFF": "0.001"}
    started = start("flush", "--watch", "--json", **away)
    found = json.loads(started.stdout.readline())
    assert (found["pending"], found["refused"]) == (1, False)
    started.send_signal(signal.SIGTERM)
    assert started.communicate(timeout=10) == ("", "")
    assert started.returncode == 75


def test_a_run_without_an_application_is_2_at_the_end(start, solved, platform):
    platform()
    solved(1, app_id=None)
    started = start("flush", "--watch", "--json")
    found = json.loads(started.stdout.readline())
    assert (found["pending"], found["refused"]) == (1, True)
    started.send_signal(signal.SIGTERM)
    assert started.communicate(timeout=10) == ("", "")
    assert started.returncode == 2


def test_a_wrong_key_ends_it_at_once(process, solved, platform):
    served = platform(key="the-right-one")
    solved(2)
    done = process("flush", "--watch")
    assert done.returncode == 2
    assert done.stdout.splitlines()[1:] == ["Stopped: 2 runs left."]
    assert done.stderr.startswith(f"{served.url} refused the API key (")
    assert done.stderr.count("\n") == 1
    done = process("flush", "--watch", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["refused"] is True


def test_an_unknown_application_among_others_is_2_at_the_end(call, solved, platform, monkeypatch):
    """Later flushes find it alone, and still do not take the key for wrong."""
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.02)
    whole, asked = Delivery.prepare, []

    def prepare(self):
        if self.line.application.id == "unknown":
            asked.append(self)
            raise NotFound("There is no such application.", status=404)
        return whole(self)

    monkeypatch.setattr(Delivery, "prepare", prepare)
    served = platform()
    solved(1, app_id="unknown")
    solved(2)
    status, out, err = call("flush", "--watch", "--timeout", "0.5")
    assert status == 2
    assert out.splitlines()[-1] == "Stopped: 1 run left."
    assert err == "There is no such application.\n"
    assert len(served.runs()) == 2
    assert len(asked) > 1


def test_rejected_runs_are_1_at_the_end(call, solved, platform, monkeypatch):
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.05)
    platform(upload=2000)
    solved(1, data={"text": "x" * 3000})
    status, out, err = call("flush", "--watch", "--timeout", "0.3")
    assert (status, out.splitlines()[1:]) == (1, ["Stopped: nothing left."])
    assert "was rejected and is kept" in err
    assert call("flush", "--watch", "--timeout", "0.1")[0] == 0


def test_damaged_runs_are_1_at_the_end(call, damaged, platform, monkeypatch):
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.05)
    platform()
    damaged()
    status, _, err = call("flush", "--watch", "--timeout", "0.3")
    assert status == 1
    assert "It was set aside in " in err


def test_a_run_that_has_to_stay_does_not_hold_up_later_ones(*, watcher, solved, platform, until, monkeypatch):
    monkeypatch.setattr(watch_module, "MOST_SECONDS", 60.0)
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.2)
    served = platform()
    solved(1, app_id=None)
    watcher()
    for number in range(1, 4):
        solved(1)
        until(lambda wanted=number: len(served.runs()) == wanted, seconds=3)


def test_without_a_key_it_does_not_begin(call):
    status, out, err = call("flush", "--watch")
    assert (status, out) == (2, "")
    assert err.startswith("No API key: ")


def test_timeout_and_limit_count_for_all_of_it(call, solved, platform, monkeypatch):
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.05)
    served = platform()
    solved(3)
    status, out, _ = call("flush", "--watch", "--limit", "2")
    assert status == 75
    assert out.splitlines()[1:] == [
        "2 runs delivered.",
        "1 run left; trying again, at the latest after 60 s.",
        "Stopped: 1 run left.",
    ]
    status, out, _ = call("flush", "--watch", "--timeout", "0.5")
    assert status == 0
    assert out.splitlines()[1:] == ["1 run delivered.", "Stopped: nothing left."]
    assert len(served.runs()) == 3


@pytest.fixture
def watcher(monkeypatch):
    """A watcher in a thread of this process, whose waits are short."""
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(watch_module, "MOST_SECONDS", 0.1)
    monkeypatch.setenv("NXTRACK_BACKOFF", "0.001")
    stop = threading.Event()
    threads = []

    def begin():
        made = Watcher(settings.current(), Order(), stop, as_json=False)
        threads.append(threading.Thread(target=made.work))
        threads[0].start()

    yield begin
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_it_outlives_the_platforms_absence(*, watcher, solved, platform, until, monkeypatch, capsys):
    solved(2)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("NEXTMV_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NEXTMV_API_KEY", "any")
    watcher()
    said = ["", ""]

    def heard():
        for index, text in enumerate(capsys.readouterr()):
            said[index] += text
        return said

    until(lambda: "2 runs left; trying again" in heard()[0])
    served = platform(port=port)
    until(lambda: len(served.runs()) == 2)
    until(lambda: "2 runs delivered." in heard()[0])
    assert said[1].count("Could not reach") == 1  # said when it changed, not at each try


def test_it_outlives_the_spools_absence(*, watcher, solved, platform, until, capsys, tmp_path, monkeypatch):
    served = platform()
    (tmp_path / "mount").write_text("in the way")
    monkeypatch.setenv("NXTRACK_DIR", str(tmp_path / "mount" / "spool"))
    watcher()
    said = []
    until(lambda: said.append(capsys.readouterr().err) or "cannot be read" in "".join(said))
    (tmp_path / "mount").unlink()
    solved(1)
    until(served.runs)
