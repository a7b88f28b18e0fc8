"""Owns a program as a child process: started as a shell would start it, passed the signals that come, waited for."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from nxtrack.errors import ProgramNotFound, ProgramUnusable
from nxtrack.tracking.faults import describe

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from types import FrameType

assert sys.platform != "win32"  # tells type checkers for which systems to look at this module

_PASSED_ON: Final = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTSTP,
        signal.SIGCONT,
        signal.SIGWINCH,
    }
)
_BY_KEY: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH})
_JOB_CONTROL: Final = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
# What Python has ignored since it started, and shells leave as it is.
_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)


class Signals:
    """The signals that come while a program runs; they are held back, and taken one by one."""

    def __init__(self, before: set[Any]) -> None:
        """Takes which signals were blocked before, and still are in the program."""
        self.before = before
        # What was ignored when we began, as `nohup` has it, the program ignores as well.
        passed = {number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN}
        self._passed = passed - before
        self._taken = self._passed | {signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, self._taken)

    def wait(self, pid: int) -> int:
        """Waits for a child process to end, and passes signals on to it.

        A key of the terminal sends its signal to the child as well, so it is not sent a second time. When the child
        stops, as by Ctrl-Z, this process does so too, so that the shell sees it, and has it go on with itself.

        Returns:
            The exit status, or -n when signal n killed it.
        """
        while True:
            number, by_terminal = self._next()
            if number != signal.SIGCHLD:
                if not by_terminal:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                continue
            ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if not ended:
                continue
            if not os.WIFSTOPPED(status):
                return os.waitstatus_to_exitcode(status)
            if os.WSTOPSIG(status) in _JOB_CONTROL:
                os.kill(os.getpid(), signal.SIGSTOP)
                os.kill(pid, signal.SIGCONT)

    def _next(self) -> tuple[int, bool]:
        if sys.platform == "linux":
            found = signal.sigwaitinfo(self._taken)
            return found.si_signo, found.si_code > 0
        else:  # noqa: RET505  (so that mypy sees which half belongs to which system)
            number = signal.sigwait(self._taken)
            return number, number in _BY_KEY and _in_foreground()

    def impatient(self) -> bool:
        """Says whether a signal came that would have ended the program."""
        return bool(signal.sigpending() & (self._passed - {signal.SIGCONT, signal.SIGWINCH, signal.SIGTSTP}))

    def end(self) -> None:
        """Lets signals come as before. Those that waited for a program that is no more are not for this process."""
        while pending := signal.sigpending() & self._taken:
            signal.sigwait(pending)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Handles SIGCHLD."""


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def signals() -> Generator[Signals]:
    """Holds the signals back that a program is to get."""
    child_before = signal.signal(signal.SIGCHLD, _nothing)  # Ignored, as it may be, it would tell nothing.
    found = Signals(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    try:
        yield found
    finally:
        found.end()
        signal.signal(signal.SIGCHLD, child_before)


def start(command: list[str], streams: Mapping[int, int], mask: set[Any]) -> int:
    """Starts a program with the environment, folder and descriptors of this process.

    Args:
        command: The program, looked for as a shell does, and its arguments.
        streams: Descriptors that stand in place of its 0, 1 and 2; what is not named is as here.
        mask: The signals that it has blocked.

    Returns:
        Its process id.

    Raises:
        ProgramNotFound: There is none of that name.
        ProgramUnusable: It cannot be executed.
    """
    changes = [(os.POSIX_SPAWN_DUP2, ours, its) for its, ours in streams.items()]

    def spawn(words: list[str]) -> int:
        return os.posix_spawnp(
            words[0], words, os.environ, file_actions=changes, setsigmask=mask, setsigdef=_PYTHONS_OWN
        )

    with _told(command[0] or "''"):
        try:
            return spawn(command)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
        return spawn(_as_script(command))


def become(command: list[str]) -> None:
    """Makes this process the program, as if it had been started in its place.

    Raises:
        ProgramNotFound: There is none of that name.
        ProgramUnusable: It cannot be executed.
    """
    for number in _PYTHONS_OWN:
        signal.signal(number, signal.SIG_DFL)
    try:
        with _told(command[0] or "''"):
            try:
                os.execvp(command[0], command)  # noqa: S606  (no shell is what is wanted)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
            words = _as_script(command)
            os.execv(words[0], words)  # noqa: S606
    finally:
        for number in _PYTHONS_OWN:
            signal.signal(number, signal.SIG_IGN)


def _as_script(command: list[str]) -> list[str]:
    """Returns the command for a script that does not say by what it is read: shells read it themselves."""
    return ["/bin/sh", shutil.which(command[0]) or command[0], *command[1:]]


@contextmanager
def _told(name: str) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno == errno.ENOENT:  # The first is said of an empty name.
            raise ProgramNotFound(f"{name} was not found, so nothing was run.") from error
        raise ProgramUnusable(f"{name} cannot be executed: {describe(error)}.") from error
