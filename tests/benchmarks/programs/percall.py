"""Calls a function bare, writes what a run of it holds at the raw floor, and calls it tracked, in turns.

Usage: percall.py SIZE REPETITIONS. The floor: the very records of a run, encoded by msgspec and written by as few
calls of the system as a run needs that must survive its process: open, one write before the solver and one after it,
close; with `power` an fsync before the close. No lock, no checksum, nothing that tells that the run has ended; those
are what the second floor has besides. The third is a sketch of a tracker in as few functions as can be: it does what no
call can do without, and copes with nothing.

Tracked once for each way of capture. Descriptors 1 and 2 lead to different places, which takes two files to capture.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import sys
import threading
import time
import zlib
from contextvars import ContextVar
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import wrapt
from turns import problem, solve

import nxtrack
from nxtrack import settings
from nxtrack.spool import ids, owner
from nxtrack.spool.records import End, Input, Output, Start, now

if TYPE_CHECKING:
    from collections.abc import Callable

size, repetitions = int(sys.argv[1]), int(sys.argv[2])
durable = os.environ["NXTRACK_DURABILITY"] == "power"
spool = os.environ["NXTRACK_DIR"]
given = problem(size)
tracked = {capture: nxtrack.track(capture=capture)(solve) for capture in ("off", "sys", "auto")}
encode = msgspec.json.Encoder().encode

tracked["off"](given)
(name,) = os.listdir(f"{spool}/runs")
with open(f"{spool}/runs/{name}", "rb") as file:
    records = [json.loads(line[9:]) for line in file]
start = next(record for record in records if record["t"] == "start")
end = next(record for record in records if record["t"] == "end")
raw = f"{spool}/raw"
os.mkdir(raw)


def floor(number: int, name: str = "a") -> None:
    """Writes what a run holds."""
    descriptor = os.open(
        f"{raw}/{name}{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    os.writev(descriptor, [encode(start), encode(given)])
    output = solve(given)
    os.writev(descriptor, [encode(output), encode(end)])
    if durable:
        os.fsync(descriptor)
    os.close(descriptor)


def frame(body: bytes, checksum: int) -> tuple[bytes, int]:
    checksum = zlib.crc32(body, checksum)
    return b"%08x %b\n" % (checksum, body), checksum


def kept(number: int) -> None:
    """Does so with what a spool needs besides: a lock, checksums, and a mark that tells the state."""
    path = f"{raw}/b{number}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    first, checksum = frame(encode(start), 0)
    second, checksum = frame(encode(given), checksum)
    os.writev(descriptor, [first, second])
    third, checksum = frame(encode(solve(given)), checksum)
    fourth, checksum = frame(encode(end), checksum)
    os.writev(descriptor, [third, fourth])
    if durable:
        os.fsync(descriptor)
    os.fchmod(descriptor, 0o1600)
    os.close(descriptor)


class Sketched:
    """What is known of a run."""

    __slots__ = ("descriptor", "lock", "outer", "run_id", "start_ns", "status", "value")

    def __init__(self, outer: Sketched | None, value: object) -> None:
        self.outer = outer
        self.value = value
        self.run_id = ids.new_id()
        self.status = "running"
        self.lock = threading.RLock()


around: ContextVar[Sketched | None] = ContextVar("around", default=None)
common = Start(id="", at=now(), owner=owner.this_process(), source="turns.solve", app_id="routing")


def encoded(value: object) -> msgspec.Raw:
    data = encode(value)
    if data.rfind(b"null") >= 0:
        raise ValueError("Whether that is a number which JSON cannot hold is beyond a sketch.")
    return msgspec.Raw(data)


def write(run: Sketched, checksum: int, *records: msgspec.Struct) -> int:
    frames: list[bytes] = []
    for record in records:
        written, checksum = frame(encode(record), checksum)
        frames.append(written)
    os.writev(run.descriptor, frames)
    return checksum


def sketch(function: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Tracks a call: its settings, its input, which run it is part of, its clock, its output."""
    run = Sketched(around.get(), args[0])
    if settings.lenient()[0].mode == "disabled":
        return function(*args, **kwargs)
    run.descriptor = os.open(
        f"{raw}/{run.run_id}.active", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    fcntl.flock(run.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    start = msgspec.structs.replace(
        common, id=run.run_id, at=now(), owner=owner.this_process(), monotonic=time.monotonic()
    )
    checksum = write(run, 0, start, Input(data=encoded(args[0])))
    around.set(run)
    run.start_ns = time.monotonic_ns()
    try:
        output = function(*args, **kwargs)
    finally:
        milliseconds = (time.monotonic_ns() - run.start_ns) // 1_000_000
        around.set(run.outer)
    with run.lock:
        ended = End(status="succeeded", at=now(), duration_ms=milliseconds)
        write(run, checksum, Output(data=encoded(output)), ended)
        if durable:
            os.fsync(run.descriptor)
        os.fchmod(run.descriptor, 0o1600)
        os.close(run.descriptor)
        run.status = "succeeded"
    return output


sketched = wrapt.FunctionWrapper(solve, sketch)
actions: dict[str, Callable[[int], object]] = {"bare": lambda _: solve(given), "floor": floor, "kept": kept}
actions["sketch"] = lambda _: sketched(given)
actions |= {capture: lambda _, call=call: call(given) for capture, call in tracked.items()}
for action in actions.values():
    action(-1)
taken: dict[str, list[float]] = {name: [] for name in actions}
busy: dict[str, list[float]] = {name: [] for name in actions}
gc.collect()
order = list(actions)
shuffle = Random(0).shuffle
for number in range(repetitions):
    # Each leaves the processor's caches to the next one, which must not always be the same.
    shuffle(order)
    for name in order:
        action = actions[name]
        began, used = time.perf_counter(), time.process_time()
        action(number)
        busy[name].append(time.process_time() - used)
        taken[name].append(time.perf_counter() - began)
print(json.dumps({"taken": taken, "busy": busy, "bytes": len(encode(given))}))
