"""Owns the capture of descriptors 1 and 2: what C code and child processes write goes to the run's log as well.

While a run is current the descriptors lead to its log's file, so what is written is on the disk whatever happens to
the process, in the order in which it was written, and no writer waits for a reader. A thread shows it where the
descriptors led before. What Python prints goes there by itself; see `ownstreams`.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nxtrack.spool import system
from nxtrack.tracking import ownstreams, stdio, streams
from nxtrack.tracking.faults import absorbed, describe, warn_once

if TYPE_CHECKING:
    from nxtrack.settings import Stream
    from nxtrack.spool.captures import Capture
    from nxtrack.spool.store import Spool
    from nxtrack.spool.writer import RunWriter
    from nxtrack.tracking.state import RunState

INTERVAL_SECONDS = 0.05
"""How long text may wait before it is shown."""

_IDLE_SECONDS = 1.0
_LEAST_FREE_BYTES = 64 << 20
"""Room on the disk below which descriptors are given back: what C code writes to a full disk is lost for the user."""

_LOOK_SECONDS = 0.5
_DESCRIPTORS: dict[Stream, int] = {"stdout": 1, "stderr": 2}
_lock = threading.RLock()
_channels: list[Channel] = []
_saved: dict[int, int] = {}
_led: dict[int, tuple[int, int]] = {}
_lingering: list[tuple[Capture, int]] = []
_stop = threading.Event()
_tail: threading.Thread | None = None
_looked = 0.0
_crowded = False
_free = [0.0, 0.0]
"""From when to when there is known to be room."""


class Channel:
    """The way of one run's text from the descriptors to its log.

    Attributes:
        capture: What takes the log.
        errors: What takes descriptor 2 when that leads elsewhere than descriptor 1.
        insisted: It was asked for, and not found to be safe.
        notes: What should be known of it.
        shared: The text may be another run's.
        foreign: Something came by it.
        writer: The run's file, once it has begun.
    """

    __slots__ = ("_run", "_streams", "capture", "errors", "foreign", "insisted", "notes", "shared", "writer")

    def __init__(
        self, run: RunState, chosen: tuple[Stream, ...], capture: Capture, errors: Capture | None, *, insisted: bool
    ) -> None:
        """Takes what the attributes are, and which streams it is for."""
        self.capture = capture
        self.errors = errors
        self.insisted = insisted
        self.notes: list[str] = []
        self.shared = False
        self.foreign = False
        self.writer: RunWriter | None = None
        self._run: RunState | None = run
        self._streams = tuple(_DESCRIPTORS[name] for name in chosen)

    def target(self, descriptor: int) -> int | None:
        """Returns the file that a descriptor leads to while the run is current, or None where it led before."""
        if descriptor not in self._streams:
            return None
        return self.errors.shared if descriptor == 2 and self.errors is not None else self.capture.shared  # noqa: PLR2004

    def place(self, descriptor: int) -> tuple[int, int] | None:
        """Returns what tells the file that a descriptor leads to from others, or None where it led before."""
        if descriptor not in self._streams:
            return None
        return self.errors.place if descriptor == 2 and self.errors is not None else self.capture.place  # noqa: PLR2004

    def is_within(self, other: Channel) -> bool:
        """Says whether this run is, or began in, another one."""
        state = self._run
        while state is not None:
            if state is other._run:
                return True
            state = state.parent
        return False

    def forget_run(self) -> None:
        """Lets go of the run, which has ended."""
        self._run = None


def open_channel(spool: Spool, run: RunState, chosen: tuple[Stream, ...], *, insisted: bool) -> Channel | None:
    """Returns the way of a run's text, or None where descriptors cannot be captured.

    Args:
        spool: Where the run will be.
        run: The run, which has not begun.
        chosen: The streams that are to be captured.
        insisted: Whether the user asked for it; otherwise it is not done where it might go wrong.
    """
    if not insisted and (_crowded or threading.current_thread() is not threading.main_thread()):
        return None
    try:
        if reason := stdio.why_not() or _disk_is_short(spool):
            if insisted:
                warn_once(f"fd: {reason}", f"nxtrack captures what Python prints, but no descriptors: {reason}.")
            return None
        apart = _lead_apart(chosen)
        if apart is None:
            return None
        capture = spool.captures.take()
        try:
            errors = spool.captures.take() if apart else None
        except BaseException:
            spool.captures.give_back(capture)
            raise
    except OSError as error:
        if insisted:
            warn_once("fd", f"nxtrack captures what Python prints, but no descriptors: {describe(error)}.")
        return None
    return Channel(run, chosen, capture, errors, insisted=insisted)


def _lead_apart(chosen: tuple[Stream, ...]) -> bool | None:
    """Says whether the chosen descriptors lead to different places; None when one of them leads nowhere."""
    try:
        found = [os.fstat(_DESCRIPTORS[name]) for name in chosen]
    except OSError:
        return None
    return len({(place.st_dev, place.st_ino) for place in found}) > 1 if found else None


def _disk_is_short(spool: Spool) -> str:
    if sys.platform != "win32":
        now = time.monotonic()
        if not _free[0] <= now < _free[1]:
            with suppress(OSError):
                found = os.statvfs(spool.root)
                if found.f_bavail * found.f_frsize < _LEAST_FREE_BYTES:
                    return "the disk is nearly full"
                _free[:] = now, now + _LOOK_SECONDS
    return ""


@absorbed
def enter(channel: Channel) -> None:
    """Leads the descriptors to a run's log, as its code is about to go on."""
    with _lock:
        if _channels:
            _flush()
            _drain(_channels[-1])
        else:
            stdio.flush()
            ownstreams.flush()
        for other in _channels:
            if not channel.is_within(other):
                channel.shared = other.shared = True
        _channels.append(channel)
        try:
            _point()
        except OSError:
            _channels.remove(channel)
            _point()
            raise
        _watch()


@absorbed
def leave(channel: Channel) -> None:
    """Leads the descriptors back, as a run's code has ended or gives control away; shows what is not shown yet."""
    if channel not in _channels and not _saved:
        return
    with _lock:
        if channel in _channels:
            _flush()
            _channels.remove(channel)
        _point()
        _drain(channel)


@absorbed
def announce(run: RunState) -> None:
    """Tells that a run begins: descriptors belong to the process, so runs side by side cannot be told apart by them."""
    global _crowded  # noqa: PLW0603
    with _lock:
        for channel in _channels.copy():
            if not _is_around(channel, run):
                channel.shared = True
                if not channel.insisted:
                    _crowded = True
                    _give_up(channel, "another run began beside this one")


def _is_around(channel: Channel, run: RunState) -> bool:
    state: RunState | None = run
    while state is not None:
        if state is channel._run:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            return True
        state = state.parent
    return False


def _give_up(channel: Channel, why: str) -> None:
    """Gives a run's descriptors back before it has ended."""
    channel.notes.append(f"What is written past Python's streams is in the log only in part: {why}.")
    leave(channel)


@absorbed
def finish(spool: Spool, channel: Channel) -> None:
    """Keeps a run's files for the next one, or lets them go; what children still write to them is shown."""
    channel.forget_run()
    writer, children = channel.writer, _has_children()
    silent = not children and not channel.foreign and (writer is None or writer.log_is_empty)
    for capture, descriptor in ((channel.capture, 1), (channel.errors, 2)):
        if capture is None or capture.descriptor < 0:
            continue
        if silent:
            spool.captures.give_back(capture)
            continue
        capture.skip()
        capture.let_go()
        if children and capture.is_in_use():
            with _lock:
                _lingering.append((capture, descriptor))
                _watch()
        elif capture is channel.errors or capture.is_clean():
            capture.remove()
        else:
            capture.close()


def _has_children() -> bool:
    if sys.platform == "linux":
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        except OSError:
            pass
    return True


def catch_up() -> None:
    """Shows what was written before what Python is about to print."""
    if _channels:
        _catch_up()


@absorbed
def _catch_up() -> None:
    with _lock:
        if _channels:
            _drain(_channels[-1])


def _flush() -> None:
    stdio.flush()
    ownstreams.flush()


def _point() -> None:
    """Leads the descriptors where they belong now; whoever is interrupted here may call it once more."""
    top = _channels[-1] if _channels else None
    if top is not None and not _saved:
        for descriptor in _DESCRIPTORS.values():
            if top.target(descriptor) is not None:
                _saved[descriptor] = _duplicate(descriptor)
        ownstreams.take(_saved)
        stdio.by_line()
    for descriptor, saved in list(_saved.items()):
        if descriptor in _led and _place(descriptor) != _led[descriptor]:
            continue  # The program has led it elsewhere meanwhile, which is its own affair.
        target = None if top is None else top.target(descriptor)
        _led.pop(descriptor, None)
        os.dup2(saved if target is None else target, descriptor)
        if top is not None and (place := top.place(descriptor)) is not None:
            _led[descriptor] = place
    if top is None and _saved:
        stdio.as_before(_saved.get(1, 1))
        ownstreams.release()
        _led.clear()
        while _saved:
            os.close(_saved.popitem()[1])


def _place(descriptor: int) -> tuple[int, int]:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _duplicate(descriptor: int) -> int:
    """Returns another descriptor for the same, and never one of the first three, should one of them be closed."""
    low: list[int] = []
    try:
        while (copy := os.dup(descriptor)) <= 2:  # noqa: PLR2004
            low.append(copy)
    finally:
        for one in low:
            os.close(one)
    return copy


def _drain(channel: Channel) -> None:
    """Shows what was written to a run's log by its descriptors, and was not shown yet."""
    writer = channel.writer
    if writer is None or writer.detached:
        return
    while data := writer.foreign_log():
        channel.foreign = True
        _pass_on(channel, data, 1)
    errors = channel.errors
    while errors is not None and errors.descriptor >= 0 and (data := errors.unseen()):
        channel.foreign = True
        writer.log(data)
        errors.moved(len(data))
        _pass_on(channel, data, 2)


def _pass_on(channel: Channel, data: bytes, descriptor: int) -> None:
    ownstreams.flush()
    _show(descriptor, data)
    for other in _channels:
        if other is not channel and other.writer is not None and not channel.is_within(other):
            channel.shared = other.shared = other.foreign = True
            other.writer.log(data)


def _show(descriptor: int, data: bytes) -> None:
    """Writes to where a descriptor led before; a place that takes nothing gets nothing, as without us."""
    if descriptor not in _saved and _saved:
        descriptor = 3 - descriptor  # Only one of the two is captured, and it led there.
    target = _saved.get(descriptor, descriptor)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            return


def _watch() -> None:
    """Has a thread show what is written, for as long as there is something to watch."""
    global _tail  # noqa: PLW0603
    if _tail is None or not _tail.is_alive():
        _stop.clear()
        _tail = threading.Thread(target=_watching, name="nxtrack-tail", daemon=True)
        _tail.start()


def _watching() -> None:
    global _tail  # noqa: PLW0603
    idle = 0.0
    while not _stop.wait(INTERVAL_SECONDS):
        with _lock:
            if _channels or _lingering:
                idle = 0.0
                _look()
            else:
                idle += INTERVAL_SECONDS
            if idle >= _IDLE_SECONDS or _tail is not threading.current_thread():
                break
    if _tail is threading.current_thread():
        _tail = None


@absorbed
def _look() -> None:
    global _looked  # noqa: PLW0603
    if _channels:
        top = _channels[-1]
        _drain(top)
        now = time.monotonic()
        if now - _looked > _LOOK_SECONDS:
            _looked = now
            _look_at_disk(top)
    for lingering in list(_lingering):
        capture, descriptor = lingering
        while data := capture.unseen():
            _show(descriptor, data)
        if not capture.is_in_use():
            _lingering.remove(lingering)
            capture.close()


def _look_at_disk(top: Channel) -> None:
    assert top.writer is not None
    if sys.platform != "win32":
        found = os.fstatvfs(top.capture.descriptor)
        if found.f_bavail * found.f_frsize < _LEAST_FREE_BYTES:
            for channel in _channels.copy():
                _give_up(channel, "the disk is nearly full")
    if top.writer.log_is_full:
        _give_up(top, "the log is longer than NXTRACK_MAX_LOG allows")


def _before_fork() -> None:
    """Has no thread of ours amid something while a child is forked, which would have no such thread."""
    global _tail  # noqa: PLW0603
    tail = _tail
    if tail is not None:
        _stop.set()
        tail.join(INTERVAL_SECONDS)
        if not tail.is_alive():
            _tail = None


def _after_fork() -> None:
    if _tail is None and (_channels or _lingering):
        _watch()


def forget() -> None:
    """Lets a forked child start without captured runs; what it writes goes on to its parent's run."""
    global _lock, _stop, _tail, _crowded  # noqa: PLW0603
    _lock = threading.RLock()
    _stop = threading.Event()
    _tail, _crowded = None, False
    ownstreams.release()
    for channel in _channels:
        for capture in (channel.capture, channel.errors):
            if capture is not None:
                capture.close()
    for capture, _ in _lingering:
        capture.close()
    _channels.clear()
    _lingering.clear()
    _led.clear()
    while _saved:
        with suppress(OSError):
            os.close(_saved.popitem()[1])


@absorbed
def _exit() -> None:
    """Shows what is not shown yet, and leads the descriptors back: a run may be open when the process ends."""
    with _lock:
        for channel in reversed(_channels.copy()):
            leave(channel)
        if _lingering:
            _look()


def prepare() -> None:
    """Has Python's streams and forks know of captured descriptors; for the first run of a process."""
    streams.show_first(catch_up)
    atexit.register(_exit)
    system.at_fork(forget, before=_before_fork, in_parent=_after_fork)
