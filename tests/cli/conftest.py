"""Real processes of the command line, runs for them to work on, and real platforms for them to deliver to."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from nxtrack import track
from nxtrack.cli.main import main
from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.errors import NotFound
from nxtrack.server.options import Instance, Limits, ServeOptions
from nxtrack.server.serve import running
from nxtrack.spool import claims
from nxtrack.spool.records import Rejected, now
from nxtrack.spool.store import Spool

COMMAND = [sys.executable, "-m", "nxtrack"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Spares fsyncs, and the pace that the real platform asks for."""
    monkeypatch.setenv("NXTRACK_DURABILITY", "process")
    monkeypatch.setenv("NXTRACK_RATE", "0")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def spool(tmp_path):
    return Spool(str(tmp_path / "spool"))


@pytest.fixture
def call(capsys):
    """Runs a command in this process: `call("list", "--json")` gives its exit status, stdout and stderr."""

    def run(*args):
        capsys.readouterr()
        status = main([str(arg) for arg in args])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def process(tmp_path):
    """Runs a command in a process of its own and waits for it; text unless `text=False`."""

    def run(*args, text=True, **environment):
        return subprocess.run(
            [*COMMAND, *map(str, args)],
            capture_output=True,
            text=text,
            timeout=50,
            check=False,
            env=os.environ | environment,
            cwd=tmp_path,
        )

    return run


@pytest.fixture
def shell(tmp_path):
    """Runs a command as a line of the shell, for its redirections: `shell("status >&-")`."""

    def run(line, **environment):
        return subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" -m nxtrack {line}', sys.executable],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            env=os.environ | environment,
            cwd=tmp_path,
        )

    return run


@pytest.fixture
def damaged(spool, solved):
    """Makes a run whose file is damaged."""

    def make():
        (run_id,) = solved()
        with Path(spool.paths.found(run_id, "ready")).open("r+b") as file:
            file.seek(20)
            file.write(b"#")
        return run_id

    return make


@pytest.fixture
def start(tmp_path):
    """Starts a command in a process of its own, which is gone when the test is."""
    with contextlib.ExitStack() as stack:

        def begin(*args, **environment):
            started = subprocess.Popen(
                [*COMMAND, *map(str, args)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | environment,
                cwd=tmp_path,
            )
            stack.enter_context(started)
            stack.callback(started.kill)
            return started

        yield begin


@pytest.fixture
def terminal(tmp_path):
    """Runs a command on a terminal of its own: gives its exit status, and all that the terminal was sent."""

    def run(*args, columns=120, while_running=None, **environment):
        child, screen = pty.fork()
        if not child:
            os.chdir(tmp_path)
            environment = {"COLUMNS": str(columns)} | environment
            os.execve(sys.executable, [*COMMAND, *map(str, args)], os.environ | environment)
        import fcntl
        import termios

        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        shown = b""
        deadline = time.monotonic() + 50
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while time.monotonic() < deadline:
                if select.select([screen], [], [], 0.05)[0]:
                    if not (chunk := os.read(screen, 65536)):
                        break
                    shown += chunk
                if while_running and while_running(shown.decode(errors="replace"), screen):
                    while_running = None
        os.close(screen)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()

    return run


@pytest.fixture
def solved():
    """Makes runs: `solved(3, app_id="routing")`; returns their ids."""

    def make(number=1, *, output: Any = None, log="", error=None, metrics=None, data=None, **arguments):
        ids = []
        for index in range(number):
            given = {"input": {"index": index} if data is None else data, "app_id": "routing"} | arguments
            with contextlib.suppress(ValueError), track(**given) as run:
                ids.append(run.id)
                run.output = {"found": index} if output is None else output
                if log:
                    run.log(log)
                run.log_metrics(metrics or {})
                if error:
                    raise ValueError(error)
        return ids

    return make


@pytest.fixture
def rejected(spool, solved):
    """Makes runs that the platform rejected."""

    def make(number=1, error="The platform rejected the request (413: too large).", **arguments):
        ids = solved(number, **arguments)
        for run_id in ids:
            claims.claim(spool, run_id, "ready").settle("rejected", Rejected(error=error, at=now()))
        return ids

    return make


class Platform:
    """A local platform, with the environment pointing to it."""

    def __init__(self, url, stack):
        self.url = url
        self.client = stack.enter_context(Client(api_key="any", endpoint=url))

    def application(self, app_id="routing"):
        return Application(app_id, self.client)

    def runs(self, app_id="routing"):
        try:
            return list(self.application(app_id).list_runs())
        except NotFound:  # An application is made when the first run of it comes.
            return []


@pytest.fixture
def platform(tmp_path, monkeypatch):
    """Starts a platform and points the environment to it; `platform(upload=10)` sets its limits.

    `instances` are programs, by the names of the instances that they execute.
    """
    with contextlib.ExitStack() as stack:

        def begin(*, key=None, port=0, instances=(), **limits):
            programs = []
            for name, program in dict(instances).items():
                (tmp_path / f"{name}.py").write_text(textwrap.dedent(program))
                programs.append(Instance(name=name, command=(sys.executable, str(tmp_path / f"{name}.py"))))
            options = ServeOptions(
                port=port,
                data=tmp_path / "platform",
                key=key,
                limits=Limits(**limits),
                instances=tuple(programs),
            )
            found = stack.enter_context(running(options))
            monkeypatch.setenv("NEXTMV_ENDPOINT", found.url)
            monkeypatch.setenv("NEXTMV_API_KEY", "any")
            return Platform(found.url, stack)

        yield begin


@pytest.fixture
def until():
    """Waits until something holds, and fails when it does not in time."""

    def wait(condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not come to hold in time"
            time.sleep(0.02)
        return result

    return wait
