"""What every test stands on: an environment of its own, no way to the internet, and a reader of recorded runs.

A test gets a home, a spool (`NXTRACK_DIR`) and an empty set of nxtrack's and Nextmv's variables in its `tmp_path`.
`recorded()` gives the runs of a spool as plain values; `python(program)` runs a program in a process of its own.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import nxtrack
from nxtrack.settings import Settings
from nxtrack.spool.store import Spool
from nxtrack.tracking import channels, faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# A shell starts what it puts in the background with these ignored, `nohup` the last of them, and so would be all that
# tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32":
    for number in (signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)

if "coverage" in sys.modules:
    _set_trace = sys.settrace

    def _set_trace_in_turn(function: Any) -> None:
        """Sets a trace function, as every thread that is measured does; CPython refuses while another is at it."""
        for _ in range(1000):
            with suppress(RuntimeError):
                return _set_trace(function)
            time.sleep(0)
        return _set_trace(function)

    sys.settrace = _set_trace_in_turn

_UNMEASURED = {"acceptance", "benchmarks", "examples", "faults", "solvers", "where"}
"""Folders of tests that go the whole way again and again: others measure the code they go through, at less cost."""
_PROGRAMS_MEASURED = {"tracking", "test_cli_exec.py"}
"""Where programs that a test starts are measured as well, as no test goes through their code by itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has coverage measured by the tests of single parts alone."""
    for item in items:
        # Where threads take turns in a hurry, being measured is what some of them die of; see `.ci/run`. And a law is
        # tried on hundreds of values, where examples go through the same code.
        hurried = "hurried" in getattr(item, "fixturenames", ())
        if hurried or item.get_closest_marker("hypothesis") or _is_in(_UNMEASURED, item):
            item.add_marker("no_cover")


def _is_in(places: set[str], item: pytest.Item) -> bool:
    return not places.isdisjoint(item.path.relative_to(item.config.rootpath).parts)


class NetworkUsed(BaseException):
    """A test tried to leave this machine. No `Exception`, so that no code under test takes it for a lost network."""


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or host in {"", "localhost"}:
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(str(host).partition("%")[0])
        return address.is_loopback or address.is_unspecified
    return False


def _stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address: Any = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path is a Unix socket
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
        with suppress(ValueError):
            ipaddress.ip_address(host)
            return  # An address is looked up without asking anybody.
    else:
        return
    if isinstance(host, str) and host.endswith(".invalid"):
        # What the name's reservation (RFC 6761) promises, without asking a resolver.
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if not _is_loopback(host):
        raise NetworkUsed(f"{event} {host!r}")


sys.addaudithook(_stay_on_this_machine)


@pytest.fixture(autouse=True)
def hermetic(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives the test, and the processes it starts, an environment and settings that nothing else has touched."""
    if not _is_in(_PROGRAMS_MEASURED, request.node):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for name in list(os.environ):
        if name.upper().startswith(("NXTRACK_", "NEXTMV_", "XDG_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    for name in ("PYTHONUNBUFFERED", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "hermetic-home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("NXTRACK_DIR", str(tmp_path / "spool"))
    faults._told.clear()
    channels.forget()  # that runs were ever side by side
    yield
    nxtrack.configure(**dict.fromkeys(field.name for field in dataclasses.fields(Settings)))


@dataclasses.dataclass(kw_only=True)
class Recorded:
    """One run as the spool tells it, decoded.

    Attributes:
        state: Its state in the spool; `ready` also for one whose process died.
        status: `succeeded`, `failed`, or None while it runs.
        error: Its error message.
        died: Its process died, and no recovery has spoken for it yet.
        input: What the solver was given; None without any.
        output: What would be uploaded as its output; None without any.
        logs: Its log.
        metrics: `(name, value, step)` in the order they were logged.
        notes: What was altered or left out of input, output and log.
    """

    id: str
    state: str
    status: str | None
    error: str | None
    died: bool
    source: str
    app_id: str | None
    instance_id: str | None
    batch_experiment_id: str | None
    name: str | None
    description: str | None
    options: dict[str, str]
    input: Any
    output: Any
    logs: str
    metrics: list[tuple[str, Any, Any]]
    assets: list[Any]
    notes: list[str]
    duration_ms: int | None


def _read(root: str) -> list[Recorded]:
    spool, runs = Spool(root), []
    for entry in spool.entries():
        run = spool.read(entry)
        sources = {kind: spool.artefact(run, kind) for kind in ("input", "output", "logs")}
        data = {kind: None if source is None else source.read() for kind, source in sources.items()}
        runs.append(
            Recorded(
                id=entry.run_id,
                state=entry.state,
                status=run.end and run.end.status,
                error=run.end and run.end.error,
                died=entry.died,
                source=run.start.source,
                app_id=run.start.app_id,
                instance_id=run.start.instance_id,
                batch_experiment_id=run.start.batch_experiment_id,
                name=run.start.name,
                description=run.start.description,
                options=run.start.options,
                input=None if data["input"] is None else msgspec.json.decode(data["input"]),
                output=None if data["output"] is None else msgspec.json.decode(data["output"]),
                logs=(data["logs"] or b"").decode(errors="backslashreplace"),
                metrics=[(metric.name, metric.value, metric.step) for metric in run.metrics],
                assets=[msgspec.json.decode(asset) for asset in run.assets],
                notes=[note for part in (run.input, run.output, run.end) if part is not None for note in part.notes],
                duration_ms=run.end and run.end.duration_ms,
            )
        )
    return runs


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., list[Recorded]]:
    """Reads the runs of a spool, oldest first: the test's own, or the one in the folder it is given."""

    def read(root: Path | str | None = None) -> list[Recorded]:
        return _read(str(root or tmp_path / "spool"))

    return read


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program as a script in a process of its own.

    `python(program, *arguments, status=0, **environment)` fails unless the exit status is `status` (None: any);
    killed by signal 9 is -9.
    """
    numbers = iter(range(1000))

    def run(
        program: str, *arguments: str, status: int | None = 0, timeout: float = 50, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        script = tmp_path / f"program{next(numbers) or ''}.py"
        script.write_text(textwrap.dedent(program), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout,
            check=False,
            env=os.environ | environment,
            cwd=tmp_path,
        )
        assert status is None or done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
