"""Owns the entry point: it runs a command, and is the one place where errors become sentences and exit statuses.

0     done, nothing left
1     at least one run rejected, or damaged; a remote run that failed or was canceled; a replay that differs
2     usage, configuration or authentication
70    a fault of nxtrack's own
75    left for later: network, rate, quota, a remote run that goes on, a disk that is full, also where stdout leads to
126   `exec`: the command cannot be executed
127   `exec`: there is no such command; any other status is the command's own
130   stopped by Ctrl-C before there was anything to keep
141   whoever read the output stopped reading
"""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from typing import TYPE_CHECKING

from nxtrack.cli.output import Unwritable, complain, lead_nowhere, on_stderr, plain, say
from nxtrack.errors import (
    AccessRefused,
    ArchiveRefused,
    CloudError,
    NoSpace,
    NotFound,
    NxtrackError,
    ProgramNotFound,
    ProgramUnusable,
    Redirected,
    Rejected,
    RunBusy,
    RunCorrupt,
    RunEnded,
    SpoolUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE = 0
REJECTED = 1
USAGE = 2
FAULT = 70
LATER = 75
INTERRUPTED = 130
NOT_EXECUTABLE = 126
NOT_FOUND = 127
BROKEN_PIPE = 141

_NUMBER = re.compile("[1-9][0-9]{0,8}")

# The first line that fits counts; what fits none is a matter of usage or configuration.
_STATUSES: tuple[tuple[tuple[type[NxtrackError], ...], int], ...] = (
    ((Rejected, RunCorrupt, RunEnded, ArchiveRefused), REJECTED),
    ((AccessRefused, NotFound, Redirected), USAGE),
    ((ProgramNotFound,), NOT_FOUND),
    ((ProgramUnusable,), NOT_EXECUTABLE),
    ((CloudError, SpoolUnavailable, RunBusy, NoSpace), LATER),
)


def main(args: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        args: The command and its arguments; by default those of the process.

    Returns:
        The exit status.
    """
    status = INTERRUPTED
    try:
        _open_what_is_closed()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name or a path may hold what the terminal's encoding cannot show; that is no reason to fail.
                stream.reconfigure(errors="backslashreplace")
        status = _run(list(sys.argv[1:] if args is None else args))
        say()  # flushes what others than us have printed
    except Unwritable as error:
        lead_nowhere(sys.stdout)
        if isinstance(error.__cause__, BrokenPipeError):
            return BROKEN_PIPE
        complain(str(error))
        return LATER
    except KeyboardInterrupt:  # What is through keeps its status.
        return status
    return status


def _open_what_is_closed() -> None:
    """Has the standard streams that were closed when the process began, as daemons have them, lead nowhere."""
    # In this order each gets the descriptor it should have, which no file of the spool may get instead.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115


def _run(args: list[str]) -> int:
    try:
        status = _answer(args)
        return _command(args) if status is None else status
    except KeyboardInterrupt:
        return INTERRUPTED
    except Unwritable:
        raise
    except NxtrackError as error:
        complain(str(error))
        return status_of(error)
    except Exception as error:  # noqa: BLE001  (this is where nobody is left to handle it)
        if isinstance(error, OSError):
            say("")  # If this fails as well, then it was stdout that failed click, which prints the help.
        return _fault(error)


def _answer(args: list[str]) -> int | None:
    """Answers what prompts and scripts ask again and again, without typer: that takes longer to load than to answer.

    Returns:
        The exit status; None for what is not asked as plainly, or is wrong.
    """
    match args:
        case ["status"] | ["status", "--json"]:
            from nxtrack.cli.status import status

            return status(as_json="--json" in args)
        case ["list"] | ["list", "--json"]:
            limit = None
        case ["list", "--limit", number] | ["list", "--limit", number, "--json"] if _NUMBER.fullmatch(number):
            limit = int(number)
        case _:
            return None
    from nxtrack.cli.runs import list_runs

    return list_runs(None, limit=limit, as_json="--json" in args)


def _command(args: list[str]) -> int:
    from importlib import import_module

    import typer

    from nxtrack.cli.frame import app

    # Each adds its commands, in the order in which help lists them.
    for module in ("commands", "commands_remote", "commands_serve"):
        import_module(f"nxtrack.cli.{module}")

    try:
        # Not `app()`: it would turn signals and broken pipes into statuses of its own.
        command = typer.main.get_command(app)
        with command.make_context("nxtrack", args) as context:
            return command.invoke(context) or DONE
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        with on_stderr():  # click's errors of usage, whichever click typer brings along
            show()
        return USAGE


def status_of(error: NxtrackError) -> int:
    """Returns the exit status of a command that ended with an error."""
    return next((status for kinds, status in _STATUSES if isinstance(error, kinds)), USAGE)


def _fault(error: Exception) -> int:
    if os.environ.get("NXTRACK_DEBUG", "").strip() not in {"", "0"}:
        complain(plain("".join(traceback.format_exception(error)).rstrip("\n")))
    else:
        text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
        complain(
            f"nxtrack failed: {text}. Runs are kept as they were. "
            "Please report it, with the traceback that NXTRACK_DEBUG=1 shows."
        )
    return FAULT
