"""Places where a spool cannot be used for a while: read-only, failing, forbidden, gone, or with no descriptor left."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from faults.bench import KEY, Bench, Solve
from faults.storage import mounts, scarcity, users
from faults.storage.scarcity import Wordy
from faults.tally import Kind, spread
from support.proxy import Fault, Proxy

from nxtrack.cloud.credentials import Credentials
from nxtrack.delivery.flusher import Flusher
from nxtrack.errors import NxtrackError
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.bench import Trial

SOLVES = (Solve(1), Wordy(2, lines=30), Solve(3, size=300_000), Solve(4, error="no solution"), Solve(5, size=9_000))


class Acting:
    """Does something in the middle of a flush: when so many runs are dealt with, at once or a moment later."""

    def __init__(self, action: Callable[[], object], *, at: int, later: float = 0.0) -> None:
        """Takes what to do and when; see `done`."""
        self.done = False
        self._action = action
        self._at = at
        self._timer = threading.Timer(later, self._act) if later else None

    def found(self, number: int) -> None:
        """Told by the flush how many runs wait."""
        self.settled(0)

    def settled(self, number: int) -> None:
        """Told by the flush how many are dealt with."""
        if number != self._at:
            return
        if self._timer is None:
            self._act()
        else:
            self._timer.start()

    def _act(self) -> None:
        self._action()
        self.done = True

    def end(self) -> None:
        """Waits until it is done, if it was begun."""
        if self._timer is not None and self._timer.ident is not None:
            self._timer.join()


def flush_acting(trial: Trial, acting: Acting, *, url: str = "", **more: Any) -> None:
    """Flushes once; the flush may be refused, but raise nothing else."""
    access = Credentials(endpoint=url or trial.bench.url, api_key=KEY)
    settings = trial.settings(durability="power", **more)
    try:
        Flusher(Spool(str(trial.spool)), settings, access=access, progress=acting).run()
    except NxtrackError:
        pass
    except Exception as error:
        trial.bench.tally.found("wrong", f"{trial.application}: a flush raised {type(error).__name__}: {error}")
    finally:
        acting.end()


def _read_only(bench: Bench, size: int) -> None:
    """A disk is read-only for some of the solves: those are counted, and the others arrive."""
    server = users.server(bench.folder)
    for first, last in spread([(one, other) for one in range(1, 6) for other in range(one, 6)], size):
        with bench.trial() as trial, mounts.tmpfs(trial.folder / "disk", 8 << 20) as disk:
            trial.spool = disk / "spool"
            (trial.spool / "runs").mkdir(parents=True, mode=0o700)
            trial.spool.chmod(0o700)
            acts = {f"before {first}": _REMOUNT.format(disk=str(disk), yes=True)}
            acts |= {f"after {last}": _REMOUNT.format(disk=str(disk), yes=False)} if last < 5 else {}
            ended = server.run(trial, users.PROGRAM, problems=users.problems(SOLVES), acts=acts)
            bench.tally.injections += 1
            scarcity.accept(trial, SOLVES, ended)
            mounts.make_read_only(disk)
            with suppress(NxtrackError):
                trial.flush()
            mounts.make_read_only(disk, yes=False)
            notes = scarcity.notes_of(trial)
            scarcity.drain(trial)
            scarce = scarcity.judge(trial, SOLVES, ended, notes=notes, counted=last < 5)
            if scarce.missing != last - first + 1 or scarce.gaps:
                bench.tally.found("lost", f"{trial.application}: read-only from {first} to {last}, {scarce}")


_REMOUNT = "from faults.storage import mounts; mounts.make_read_only({disk!r}, yes={yes})"


def _fails(bench: Bench, size: int) -> None:
    """A disk fails for good in the middle of a solve: what returned before that is on it, and arrives."""
    ways = [(how, word, number) for how in ("abort", "cut") for word in ("before", "in") for number in range(1, 6)]
    server = users.server(bench.folder)
    for how, word, number in spread(ways * (1 + size // len(ways)), size):
        with bench.trial() as trial:
            disk = mounts.Disk(trial.folder)
            trial.spool = disk.folder / "spool"
            act = f"from faults.storage import mounts; mounts.{how}({str(disk.folder)!r})"
            with disk.mounted():
                ended = server.run(
                    trial, users.PROGRAM, problems=users.problems(SOLVES), acts={f"{word} {number}": act}
                )
                bench.tally.injections += 1
                scarcity.accept(trial, SOLVES, ended)
                if not ended.warnings:
                    bench.tally.found("wrong", f"{trial.application}: nobody was told that the disk failed")
                with suppress(NxtrackError):
                    trial.flush()
            broken = dataclasses.replace(SOLVES[number - 1], ended=False, spared="refused")
            with disk.mounted():
                scarcity.drain(trial)
                trial.judge(*SOLVES[: number - 1], broken)


@dataclasses.dataclass
class _Arrival(Fault):
    """No fault of the line: something happens to the disk when so many requests came, before the next goes on."""

    action: Callable[[], object] = lambda: None
    done: bool = False

    def matches(self, method: str, path: str) -> bool:
        if not self.done and super().matches(method, path):
            self.action()
            self.done = True
        return False


def _fails_in_a_flush(bench: Bench, size: int) -> None:
    """A disk fails for good in the middle of a flush: the next one goes on, and nothing comes twice.

    The flush has one connection, so that it does nothing with the disk meanwhile; see `mounts.cut`.
    """
    chance = random.Random(4)
    solves = [SOLVES[0], *SOLVES[2:], *(Solve(number) for number in range(6, 10))]
    proxy = Proxy(bench.url)
    try:
        for turn in range(2 * size):
            if bench.tally.injections == size:
                break
            with bench.trial() as trial:
                disk = mounts.Disk(trial.folder)
                trial.spool = disk.folder / "spool"
                with disk.mounted():
                    trial.record(*solves, durability="power")
                    fails = (disk.cut, disk.abort)[turn // 2 % 2]
                    acting = Acting(fails, at=chance.randrange(len(solves)) if turn % 2 else -1)
                    arrival = _Arrival("POST", "", skip=chance.randrange(30), action=fails)
                    proxy.faults = [] if turn % 2 else [arrival]
                    flush_acting(trial, acting, url=proxy.url, jobs=1)
                bench.tally.injections += acting.done or arrival.done
                with disk.mounted():
                    scarcity.drain(trial, url=proxy.url)
                    trial.judge(*solves)
    finally:
        proxy.close()


_HOLD = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
while True:
    try:
        held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        break
for _ in range({left}):
    os.close(held.pop())
"""

_LET_GO = "for descriptor in held: os.close(descriptor)"


def _no_descriptors(bench: Bench, size: int) -> None:
    """A process has so and so many descriptors left: its solver goes on, and what is not recorded is counted."""
    ways = [(left, first, durable) for left in range(13) for first in (1, 2) for durable in ("power", "process")]
    server = users.server(bench.folder)
    for left, first, durability in spread(ways, size):
        with bench.trial() as trial:
            acts = {f"before {first}": _HOLD.format(left=left), "before 5": _LET_GO}
            environment = {"NXTRACK_DURABILITY": durability}
            given = {"problems": users.problems(SOLVES), "acts": acts, "environment": environment}
            ended = server.run(trial, users.PROGRAM, **given)
            scarcity.accept(trial, SOLVES, ended)
            notes = scarcity.notes_of(trial)
            scarcity.drain(trial)
            scarce = scarcity.judge(trial, SOLVES, ended, notes=notes)
            bench.tally.injections += 1
            if left > 6 and (scarce.missing or scarce.gaps):
                bench.tally.found("wrong", f"{trial.application}: {scarce} with {left} descriptors")


_FLUSH = """
import os
import nxtrack
from nxtrack.errors import NxtrackError
{prelude}
try:
    report = nxtrack.flush()
except NxtrackError as error:
    print("refused", error)
else:
    print(len(report.synced), report.pending, report.problems)
"""


def _no_descriptors_in_a_flush(bench: Bench, size: int) -> None:
    """A flush has so and so many descriptors left: it says so and leaves what it cannot deliver to the next one."""
    solves = [*SOLVES[:1], *SOLVES[2:]]
    server = users.server(bench.folder)
    for left in spread([left for left in range(16) for _ in range(3)], size):
        with bench.trial() as trial:
            trial.record(*solves)
            ended = server.run(trial, _FLUSH.format(prelude=_HOLD.format(left=left)))
            bench.tally.injections += 1
            counts = ended.out.split()[:2]
            if ended.status or ended.err:
                bench.tally.found("wrong", f"a flush with {left} descriptors: {ended}")
            elif counts[0] != "refused" and sum(map(int, counts)) != len(solves):
                bench.tally.found("wrong", f"a flush with {left} descriptors told {ended.out}")
            scarcity.drain(trial)
            trial.judge(*solves)


def _vanishes(bench: Bench, size: int) -> None:
    """The spool or a folder of it is removed between or in the solves: all that begin later are recorded whole."""
    places = ("", "runs", "payloads", "quarantine", "..")
    ways = [(what, word, number) for what in places for word in ("before", "in", "after") for number in (1, 2, 3, 4)]
    server = users.server(bench.folder)
    for what, word, number in spread(ways, size):
        with bench.trial() as trial:
            trial.spool = trial.folder / "state" / "spool"
            place = os.path.normpath(trial.spool / what)
            acts = {f"{word} {number}": f"shutil.rmtree({place!r}, ignore_errors=True)"}
            ended = server.run(trial, users.PROGRAM, problems=users.problems(SOLVES), acts=acts)
            bench.tally.injections += 1
            scarcity.accept(trial, SOLVES, ended)
            scarcity.drain(trial)
            gone = 0 if what == "quarantine" else number - (word == "before")
            arrived = trial.judge(*SOLVES[gone:], others=gone)
            if what in {"", "..", "runs"} and len(arrived) > len(SOLVES) - gone:
                bench.tally.found("wrong", f"{trial.application}: runs without a file arrived")


def _vanishes_in_a_flush(bench: Bench, size: int) -> None:
    """The spool or a folder of it is removed in the middle of a flush: it ends, and later runs are delivered."""
    chance = random.Random(6)
    for turn in range(size):
        with bench.trial() as trial:
            solves = [Solve(number, size=chance.choice((0, 300_000)), spared="refused") for number in range(1, 9)]
            trial.record(*solves)
            place = trial.spool / ("", "runs", "payloads", "quarantine")[turn % 4]
            action = lambda place=place: shutil.rmtree(place, ignore_errors=True)  # noqa: E731
            flush_acting(trial, acting := Acting(action, at=chance.randrange(8), later=chance.random() * 0.01))
            bench.tally.injections += acting.done
            trial.record(Solve(9), Solve(10, size=300_000))
            scarcity.drain(trial)
            trial.judge(*solves, Solve(9), Solve(10, size=300_000))


_AS_NOBODY = """
import os, shutil
from faults.storage import mounts
mounts.unshare()
mounts.show_as({folder!r}, "/mnt")
os.chdir("/mnt")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
"""
"""Becomes a user who is not root, and to whom the trial's folder is `/mnt`: its own path is not open to him."""

_FLUSH_AS_NOBODY = """
for mode in modes:
    os.chmod(place, mode)
    for _ in range(1 if mode != 0o700 else 9):
        try:
            report = nxtrack.flush()
        except nxtrack.errors.SpoolError as error:
            print("refused")
            break
        if not report.pending:
            print("drained")
            break
"""


def _forbidden(bench: Bench, size: int) -> None:
    """A folder of the spool is without permission for some solves: they go on, and what is not recorded is counted."""
    modes = (0o000, 0o100, 0o400, 0o500)
    ways = [(what, mode, first) for what in ("", "/runs", "/payloads") for mode in modes for first in (1, 2, 3)]
    server = users.server(bench.folder)
    for what, mode, first in spread(ways, size):
        with bench.trial() as trial:
            home = trial.folder / "home"
            home.mkdir()
            os.chown(home, 65534, 65534)
            trial.spool = home / "spool"
            place, known = f"/mnt/spool{what}", {"NXTRACK_DIR": "/mnt/spool", "HOME": "/mnt"}
            become = _AS_NOBODY.format(folder=str(home))
            acts = {"first": become, "after 4": f"os.chmod({place!r}, 0o700)"}
            acts[f"before {first}"] = f"os.makedirs({place!r}, 0o700, exist_ok=True); os.chmod({place!r}, {mode})"
            given = {"problems": users.problems(SOLVES), "acts": acts, "environment": known}
            ended = server.run(trial, users.PROGRAM, **given)
            bench.tally.injections += 1
            scarcity.accept(trial, SOLVES, ended)
            notes = scarcity.notes_of(trial)
            flush = "import nxtrack, nxtrack.errors\n" + become + _FLUSH_AS_NOBODY
            told = server.run(trial, flush, place=place, modes=[mode, 0o700], environment=known)
            if told.status or told.err or not told.out.endswith("drained\n"):
                bench.tally.found("wrong", f"{trial.application}: {place} {mode:o}: a flush told {told}")
            scarcity.judge(trial, SOLVES, ended, notes=notes)


def _foreign(bench: Bench, size: int) -> None:
    """The spool is somebody else's, or others may write to it: it is refused with one warning, and not touched."""
    server = users.server(bench.folder)
    for turn in range(size):
        with bench.trial() as trial:
            home = trial.folder / "home"
            trial.spool = home / "spool"
            trial.spool.mkdir(parents=True)
            os.chown(home, 65534, 65534)
            mode, owner = ((0o755, 0), (0o777, 0), (0o777, 65534), (0o770, 65534))[turn % 4]
            os.chown(trial.spool, owner, owner)
            trial.spool.chmod(mode)
            become = _AS_NOBODY.format(folder=str(home))
            known = {"NXTRACK_DIR": "/mnt/spool", "HOME": "/mnt"}
            given = {"problems": users.problems(SOLVES), "acts": {"first": become}, "environment": known}
            ended = server.run(trial, users.PROGRAM, **given)
            bench.tally.injections += 1
            bench.tally.runs += len(SOLVES)
            scarcity.accept(trial, SOLVES, ended)
            if len(ended.warnings) != 1 or os.listdir(trial.spool):
                bench.tally.found("wrong", f"{trial.application}: {mode:o}: {ended.err} {os.listdir(trial.spool)}")


KINDS: tuple[Kind, ...] = (
    Kind("a disk read-only for some solves", _read_only, quick=2, full=15, needs=mounts.needs_mounts),
    Kind("a disk that fails in a solve", _fails, quick=2, full=40, needs=mounts.needs_disks),
    Kind("a disk that fails in a flush", _fails_in_a_flush, quick=2, full=60, needs=mounts.needs_disks),
    Kind("no descriptor left in a solve", _no_descriptors, quick=3, full=52),
    Kind("no descriptor left in a flush", _no_descriptors_in_a_flush, quick=3, full=48),
    Kind("a spool that vanishes while solving", _vanishes, quick=4, full=60),
    Kind("a spool that vanishes in a flush", _vanishes_in_a_flush, quick=2, full=40),
    Kind("a spool without permission", _forbidden, quick=2, full=36, needs=mounts.needs_mounts),
    Kind("a spool of somebody else", _foreign, quick=1, full=4, needs=mounts.needs_mounts),
)
