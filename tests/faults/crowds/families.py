"""What a process does that forks in the middle of a tracked solve, in each way there is, and what its child does."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, NamedTuple

from faults.crowds.callers import call, hush, open_diary, tell

GO_SECONDS = 30.0


class Story(NamedTuple):
    """What a family does.

    Attributes:
        diary: Where it tells it.
        death: Who dies: "parent", "child", "both", or "parent later", when its child has left.
        leave: How the child leaves the solver it was forked in: "return", "_exit" or "raise".
        go: The file that tells an orphan to go on.
        number: The number of the parent's solve; its child's come next.
    """

    diary: str
    death: str
    leave: str
    go: str
    number: int


def family(way: str, *told: Any) -> None:
    """Solves a problem whose solver forks, and then goes by the story that is told."""
    story = Story(*told)
    open_diary(story.diary)
    call(story.number, lambda: WAYS[way](story))
    tell("parent", "ended")


def child(parent: int, *told: Any) -> None:
    """Solves two problems of its own; the parent may die between them, and it in the second."""
    story = Story(*told)
    open_diary(story.diary)
    call(story.number + 1)
    if story.death in {"parent", "both"}:
        os.kill(parent, signal.SIGKILL)
        tell("orphan", os.getpid())
        _wait_for(story.go)
    call(story.number + 2, (lambda: os.kill(os.getpid(), signal.SIGKILL)) if story.death in {"child", "both"} else None)
    hush()
    if story.leave == "_exit":
        os._exit(0)
    if story.leave == "raise":
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (else it would rightly be in the log of its parent's run)
        raise RuntimeError("the child's own error")


def _forked(story: Story) -> None:
    parent = os.getpid()
    if (pid := os.fork()) == 0:
        child(parent, *story)  # Unless it leaves there, it goes on as if it were the parent.
        return
    _survive(story, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _survive(story: Story, status: int | None) -> None:
    """Goes on after the child's end, unless the parent is to die as well."""
    tell("child", status)
    if story.death == "parent later":
        os.kill(os.getpid(), signal.SIGKILL)


def _multiprocessing(method: str, story: Story) -> None:
    process = multiprocessing.get_context(method).Process(target=child, args=(os.getpid(), *story))
    process.start()
    process.join()
    _survive(story, process.exitcode)


def _pool(story: Story) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        done = pool.submit(child, os.getpid(), *story._replace(leave="_exit"))
        (process,) = pool._processes.values()
        with suppress(BrokenProcessPool):
            done.result()
    _survive(story, process.exitcode)


def _program(story: Story) -> None:
    code = f"from faults.crowds.families import child; child(*{(os.getpid(), *story)!r})"
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | paths, check=False, close_fds=False)
    _survive(story, done.returncode)


def _unnoticed(story: Story) -> None:
    """Forks past Python, as a library in C may: nobody tells nxtrack, and the child keeps the run's lock."""
    pid = ctypes.PyDLL(None).fork()  # which keeps the GIL: a thread that the child does not have may hold it else
    if pid == 0:
        _wait_for(story.go)
        os._exit(0)
    if story.death == "child":
        os.kill(pid, signal.SIGKILL)
        tell("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return
    tell("orphan", pid)
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for(path: str) -> None:
    patience = time.monotonic() + GO_SECONDS
    while not os.path.exists(path) and time.monotonic() < patience:
        threading.Event().wait(0.01)


WAYS = {
    "os.fork": _forked,
    "multiprocessing fork": lambda story: _multiprocessing("fork", story),
    "process pool": _pool,
    "fork in C": _unnoticed,
    "multiprocessing spawn": lambda story: _multiprocessing("spawn", story),
    "subprocess": _program,
}
