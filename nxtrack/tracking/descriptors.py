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
from functools import cache
from typing import TYPE_CHECKING, Any

from nxtrack.spool import system
from nxtrack.tracking import channels, endings, ownstreams, stdio, streams
from nxtrack.tracking.faults import absorbed, describe
from nxtrack.tracking.tail import Tail

if TYPE_CHECKING:
    from nxtrack.spool.captures import Capture
    from nxtrack.spool.store import Spool
    from nxtrack.tracking.channels import Channel
    from nxtrack.tracking.state import RunState

_IN_PART = "What is written past Python's streams is in the log only in part: {why}."
_CHUNK = 1 << 16
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 1.0
_OUT_OF_THE_WAY = 512
"""The least number of a descriptor that programs leave alone that close all they do not know."""
_lock = threading.RLock()
_channels: list[Channel] = []
_saved: dict[int, int] = {}
_led: dict[int, tuple[int, int]] = {}
_lingering: list[tuple[Capture, int]] = []
_tail: Tail | None = None
_looked = 0.0
_recent = b""
"""The last text that came by the descriptors, since Python last printed something."""
_process = 0
"""Whose descriptors are led to a log."""


@absorbed
def capture_descriptors(channel: Channel) -> None:
    """Leads the descriptors to a run's log, as its code is about to go on."""
    with _lock:
        if not channel.insisted and channel.has_company():
            channels.crowd()
            channel.notes.append(_IN_PART.format(why="another run began beside this one"))
            return
        if _channels:
            _flush()
            _drain(_channels[-1])
        else:
            _flush()
        for other in _channels:
            if channel.is_beside(other):
                channel.shared = other.shared = True
        _channels.append(channel)
        try:
            _point(channel)
        except OSError as error:
            channel.notes.append(_IN_PART.format(why=describe(error)))
            _channels.remove(channel)
            _point(_top())
            _close()
        _watch()


@absorbed
def restore_descriptors(channel: Channel) -> None:
    """Leads the descriptors back, as a run's code has ended or gives control away; shows what is not shown yet."""
    if channel not in _channels and not _saved:
        return
    with _lock:
        if channel in _channels:
            _flush()
            _channels.remove(channel)
        _point(_top())
        _drain(channel)
        _close()


@absorbed
def announce(run: RunState) -> None:
    """Tells that a run begins: descriptors belong to the process, so runs side by side cannot be told apart by them."""
    if channels.has_company(run):
        channels.crowd()
    with _lock:
        for channel in _channels.copy() if _channels else ():
            if not channel.is_around(run):
                channel.shared = True
                if not channel.insisted:
                    _give_up(channel, "another run began beside this one")


def _give_up(channel: Channel, why: str) -> None:
    """Gives a run's descriptors back before it has ended."""
    channel.notes.append(_IN_PART.format(why=why))
    restore_descriptors(channel)


@absorbed
def let_go_of_captures(spool: Spool, channel: Channel) -> None:
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


def before_print(stream: Any) -> bool:
    """Shows what was written before what Python is about to print; see `streams.heed_descriptors`."""
    global _recent  # noqa: PLW0603
    if not _channels:
        return False
    _catch_up()
    _recent = b""
    return stream is not None and not ownstreams.owns(stream)


@absorbed
def _catch_up() -> None:
    with _lock:
        if _channels:
            _drain(_channels[-1])


def came(text: bytes) -> bool:
    """Says whether what Python has just printed came by a descriptor; see `streams.heed_descriptors`."""
    _catch_up()
    return text in _recent


def _flush() -> None:
    # Whoever calls this holds the lock, without which our thread does nothing that could be amid a stream.
    tail, library = _tail, stdio.library()
    if library is not None:
        library.flush(0 if tail is None else tail.threads)
    ownstreams.flush()


def _top() -> Channel | None:
    return _channels[-1] if _channels else None


def _point(top: Channel | None) -> None:
    """Leads the descriptors to a run's log or back; whoever is interrupted here may call it once more."""
    global _process  # noqa: PLW0603
    if top is not None and not _saved:
        for descriptor in (1, 2):
            if top.capture_of(descriptor) is not None:
                _saved[descriptor] = system.duplicate(descriptor, _OUT_OF_THE_WAY)
        ownstreams.take(_saved)
        if (library := stdio.library()) is not None:
            library.by_line()
        _prepare_to_end()
        _process = _process or os.getpid()
    for descriptor, saved in list(_saved.items()):
        if descriptor in _led and _place(descriptor) != _led[descriptor]:
            continue  # The program has led it elsewhere meanwhile, which is its own affair.
        capture = None if top is None else top.capture_of(descriptor)
        _led.pop(descriptor, None)
        os.dup2(saved if capture is None else capture.shared, descriptor)
        if capture is not None:
            _led[descriptor] = capture.place


def _close() -> None:
    """Lets go of where the descriptors led, when they lead there again."""
    if not _channels and _saved:
        if (library := stdio.library()) is not None:
            library.as_before(_saved.get(1, 1))
        in_use = ownstreams.release()
        _led.clear()
        while _saved:
            saved = _saved.popitem()[1]
            if saved not in in_use:  # Else its number might soon be another file's.
                try:  # noqa: SIM105  (for every run, where a context manager costs as much again)
                    os.close(saved)
                except OSError:  # It is closed even then, and the other one must be as well.
                    pass


def _place(descriptor: int) -> tuple[int, int]:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


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
        errors.moves(len(data), writer.log_size)
        writer.log(data)
        errors.moved(len(data))
        _pass_on(channel, data, 2)


def _pass_on(channel: Channel, data: bytes, descriptor: int) -> None:
    global _recent  # noqa: PLW0603
    _recent = _recent[-_CHUNK:] + data
    ownstreams.flush()
    _show(descriptor, data)
    for other in _channels:
        if other.writer is not None and channel.is_beside(other):
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
    if _tail is None or _tail.is_over:
        _tail = Tail(_lock, _look)


@absorbed
def _look() -> bool:
    """Shows what was written; says whether there is still something to watch."""
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
    return bool(_channels or _lingering)


def _look_at_disk(top: Channel) -> None:
    assert top.writer is not None
    if channels.is_short(top.capture.descriptor):
        for channel in _channels.copy():
            _give_up(channel, "the disk is nearly full")
    if top.writer.log_is_full:
        _give_up(top, "the log is longer than NXTRACK_MAX_LOG allows")


def _before_fork() -> None:
    """Has no thread of ours amid something while a child is forked, which would have no such thread."""
    global _tail  # noqa: PLW0603
    if _tail is not None and _tail.end():
        _tail = None


def _after_fork() -> None:
    if _channels or _lingering:
        _watch()


def forget() -> None:
    """Lets a forked child start without captured runs; what it writes goes on to its parent's run."""
    global _lock, _tail, _process  # noqa: PLW0603
    _lock = threading.RLock()
    _tail = None
    _process = 0
    channels.forget()
    stdio.forget()
    ownstreams.forget()
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


@cache
def _prepare_to_end() -> None:
    endings.before(_before_end, _after_end)


@absorbed
def _before_end() -> None:
    """Shows what is not shown yet, and leads the descriptors back, as the process is about to end in an instant."""
    # In a child that was forked in C, which nobody was told of, locks may be held by threads that it does not have.
    if _saved and _process == os.getpid() and _lock.acquire(timeout=_PATIENCE_SECONDS):
        try:
            if _channels:
                _drain(_channels[-1])
            _point(None)
        finally:
            _lock.release()


@absorbed
def _after_end() -> None:
    """Goes on as before: the process did not end."""
    if _saved and _process == os.getpid():
        with _lock:
            _point(_top())


@absorbed
def _exit() -> None:
    """Shows what is not shown yet, and leads the descriptors back: a run may be open when the process ends."""
    with _lock:
        for channel in reversed(_channels.copy()):
            restore_descriptors(channel)
        if _lingering:
            _look()


def prepare() -> None:
    """Has Python's streams and forks know of captured descriptors; for the first run of a process."""
    streams.heed_descriptors(before_print, came, ownstreams.comes_by_descriptor)
    atexit.register(_exit)
    system.at_fork(forget, before=_before_fork, in_parent=_after_fork)
