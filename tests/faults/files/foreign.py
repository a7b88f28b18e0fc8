"""Things in the spool's folders that nxtrack never put there: links, pipes, devices, folders, names."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from faults.bench import Bench, Solve, Trial
from faults.files.apart import apart
from faults.files.damage import files, killed, look_into
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.delivery.report import FlushReport

CANARY = b"nobody may write to this\n"
STRANGER = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
"""The id of a run that nobody began."""

HANGS_AFTER = 20.0


def _link(target: str, _: Trial, path: str) -> None:
    os.symlink(target, path)


def _link_out(trial: Trial, path: str) -> None:
    os.symlink(trial.folder / "canary", path)


def _link_to_run(trial: Trial, path: str) -> None:
    os.symlink(next((run for run in files(trial) if run != path), path), path)


def _folder(_: Trial, path: str) -> None:
    os.mkdir(path)


def _full_folder(_: Trial, path: str) -> None:
    os.mkdir(path)
    with open(os.path.join(path, "file"), "w") as file:
        file.write("content")


def _pipe(_: Trial, path: str) -> None:
    os.mkfifo(path)


def _socket(_: Trial, path: str) -> None:
    here = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{os.path.basename(path)}")  # A socket's path may not be long.
    finally:
        os.close(here)


def _device(major: int, minor: int, _: Trial, path: str) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(major, minor))


def _hard_link(trial: Trial, path: str) -> None:
    os.link(next(run for run in files(trial) if run != path), path)


def _sparse(_: Trial, path: str) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


def _text(_: Trial, path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"9" * 40)


THINGS: dict[str, Callable[[Trial, str], None]] = {
    "a link out of the spool": _link_out,
    "a link to nothing": partial(_link, "nothing-there"),
    "a link to itself": lambda trial, path: os.symlink(os.path.basename(path), path),
    "a link to a run": _link_to_run,
    "a link to a folder": partial(_link, "/"),
    "a folder": _folder,
    "a folder with a file": _full_folder,
    "a pipe": _pipe,
    "a socket": _socket,
    "a device without end": partial(_device, 1, 5),
    "a device without content": partial(_device, 1, 3),
    "another name of a run": _hard_link,
    "a file of a terabyte": _sparse,
    "a file of text": _text,
}
NAMES = (
    b"\xff\xfe.ready",
    b"new\nline.ready",
    STRANGER.lower().encode() + b".ready",
    STRANGER.encode() + b".ready.bak",
    STRANGER.encode() + b".gone",
    STRANGER.encode(),
    b".ready",
    b".",
    b"x" * 255,
    "\u202enwod.ready".encode(),
    b" ",
    b"-rf",
    STRANGER.encode() + b"..ready",
)


class Case(NamedTuple):
    """One foreign thing.

    Attributes:
        name: What findings call it.
        put: Puts it there; returns the solve of the run that it does harm to, if there is one.
        told: It stands where a run should be that waits, so the flush must tell of it.
    """

    name: str
    put: Callable[[Trial, list[Solve]], None]
    told: bool = False


def _as_run(state: str, thing: str) -> Case:
    def put(trial: Trial, _: list[Solve]) -> None:
        THINGS[thing](trial, str(trial.spool / "runs" / f"{STRANGER}.{state}"))

    return Case(f"{thing} as a run that is {state}", put, told=state in {"ready", "unconfirmed"})


def _as_sidecar(kind: str, thing: str) -> Case:
    def put(trial: Trial, solves: list[Solve]) -> None:
        run_id = os.path.basename(files(trial)[1]).partition(".")[0]
        folder = trial.spool / "payloads"
        (name,) = [name for name in os.listdir(folder) if name.startswith(run_id) and name.endswith(kind)]
        os.unlink(folder / name)
        THINGS[thing](trial, str(folder / name))
        solves[1].spared = "set aside"

    return Case(f"{thing} in place of a sidecar {kind}", put, told=True)


def _named(folder: str, name: bytes) -> Case:
    def put(trial: Trial, _: list[Solve]) -> None:
        path = os.path.join(os.fsencode(trial.spool), folder.encode(), name if name != b"." else b"...")
        with open(path, "wb") as file:
            file.write(b"what is this?\n")

    return Case(f"{folder}/{name!r}", put)


def _at_top(name: str, thing: str) -> Case:
    def put(trial: Trial, _: list[Solve]) -> None:
        path = str(trial.spool / name)
        if os.path.lexists(path):
            os.unlink(path)
        THINGS[thing](trial, path)

    return Case(f"{thing} as {name}", put)


def _in_quarantine(thing: str) -> Case:
    """A damaged run cannot be set aside under its name, as something else bears it."""

    def put(trial: Trial, solves: list[Solve]) -> None:
        path = files(trial)[1]
        with open(path, "r+b") as file:
            file.write(b"!")
        THINGS[thing](trial, str(trial.spool / "quarantine" / os.path.basename(path)))
        solves[1].spared = "set aside"

    return Case(f"{thing} where a damaged run is to be set aside", put, told=True)


def _cases() -> list[Case]:
    states = ("ready", "active", "unconfirmed", "synced", "rejected")
    tops = ("lost", "recovery.lock", "size", "reserve", "unknown")
    runs = [thing for thing in THINGS if thing != "a file of a terabyte"]
    return [
        *(_as_run(state, thing) for state in states for thing in THINGS),
        *(_as_sidecar(kind, thing) for kind in (".log", ".0.json") for thing in runs),
        *(_named(folder, name) for folder in ("runs", "payloads", "quarantine", "") for name in NAMES),
        *(_at_top(name, thing) for name in tops for thing in THINGS),
        *(_in_quarantine(thing) for thing in THINGS),
    ]


def _foreign(bench: Bench, size: int) -> None:
    """Something foreign stands in the spool: no solve, flush or command hangs, raises, eats the memory or follows it
    out of the spool; the sound runs arrive, and what stands in a run's place is told."""
    for case in spread(_cases(), size):
        _one(bench, case)


def _one(bench: Bench, case: Case) -> None:
    with bench.trial() as trial:
        solves = [Solve(number, size=300_000 if number == 1 else 0) for number in range(4)]
        killed_run = Solve(4, ended=False)
        (trial.folder / "canary").write_bytes(CANARY)
        trial.record(*solves[:3])
        killed(trial, [killed_run])
        case.put(trial, solves)
        bench.tally.injections += 1
        label = f"{trial.application}: {case.name}"
        _found(bench, label, "a solve", apart(lambda: trial.record(solves[3]), seconds=HANGS_AFTER).error)
        problems: list[str] = []
        for _ in range(2):
            ended = apart(partial(_flush, trial), seconds=HANGS_AFTER)
            _found(bench, label, "a flush", ended.error)
            problems += [] if ended.error else ended.value.problems
        look_into(trial, STRANGER)
        if any("cannot be recovered" in sentence for sentence in problems):
            killed_run.spared = "refused"
        if case.told and not problems:
            bench.tally.found("wrong", f"{label}: was not told")
        if (trial.folder / "canary").read_bytes() != CANARY:
            bench.tally.found("wrong", f"{label}: a file outside the spool was written to")
        trial.judge(*solves, killed_run)


def _flush(trial: Trial) -> FlushReport:
    return trial.flush()


def _found(bench: Bench, label: str, what: str, error: str) -> None:
    if error:
        bench.tally.found("wrong", f"{label}: {what}: {error}")


# -- what may not be read --

NOBODY = 65_534
LOCKED: dict[str, Callable[[Trial], str]] = {
    "a run that is ready": lambda trial: files(trial)[1],
    "a run that is active": lambda trial: files(trial)[3],
    "a log": lambda trial: _sidecar_of(trial, ".log"),
    "a large payload": lambda trial: _sidecar_of(trial, ".json"),
    "the folder of what is set aside": lambda trial: str(trial.spool / "quarantine"),
    "the folder of payloads": lambda trial: str(trial.spool / "payloads"),
    "the counter of the lost": lambda trial: str(trial.spool / "lost"),
}


def _sidecar_of(trial: Trial, kind: str) -> str:
    run_id = os.path.basename(files(trial)[1]).partition(".")[0]
    folder = trial.spool / "payloads"
    return str(next(folder / name for name in sorted(os.listdir(folder)) if name.startswith(run_id) and kind in name))


def _locked(bench: Bench, size: int) -> None:
    """A file or folder of the spool may not be read by its owner: what needs it is told and waits, the others arrive,
    and once it may be read again, all do."""
    for number in range(size):
        name = list(LOCKED)[number % len(LOCKED)]
        with bench.trial() as trial:
            solves = [Solve(index, size=300_000 if index == 1 else 0) for index in range(3)]
            trial.record(*solves)
            killed(trial, [last := Solve(3, ended=False)])
            for folder, _, names in os.walk(trial.spool):
                for path in (folder, *(os.path.join(folder, name) for name in names)):
                    os.chown(path, NOBODY, NOBODY)
            path = LOCKED[name](trial)
            mode = stat.S_IMODE(os.stat(path).st_mode)
            os.chmod(path, 0)
            bench.tally.injections += 1
            first = apart(partial(_flush_as_nobody, trial), seconds=HANGS_AFTER)
            os.chmod(path, mode)
            second = apart(partial(_flush_as_nobody, trial), seconds=HANGS_AFTER)
            label = f"{trial.application}: {name} may not be read"
            _found(bench, label, "a flush", first.error or second.error)
            waits = 0 if first.error else first.value.pending
            needed = name.startswith(("a run", "a log", "a large", "the folder of payloads"))
            if (
                bool(waits) != needed
                or waits != len(second.value.synced if not second.error else ())
                or (waits and not first.value.problems)
            ):
                bench.tally.found("wrong", f"{label}: {waits} waited; {first}; {second}")
            trial.judge(*solves, last)


def _flush_as_nobody(trial: Trial) -> FlushReport:
    os.chdir(trial.folder)  # Nobody may not pass the folders above.
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    trial.spool = Path("spool")
    return trial.flush()


def _no_root() -> str:
    return "" if os.geteuid() == 0 else "needs root"


def _no_devices() -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mknod(os.path.join(folder, "zero"), 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        except OSError:
            return "needs root, and the right to make devices"
    return ""


KINDS: tuple[Kind, ...] = (
    Kind("foreign things in the spool's folders", _foreign, quick=3, full=240, needs=_no_devices),
    Kind("files that may not be read", _locked, quick=3, full=21, needs=_no_root),
)
