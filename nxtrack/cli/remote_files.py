"""Owns the files of this machine that the payloads of remote runs come from and go to, and what is said of them."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from nxtrack.cli.output import complain, line, on_stdout
from nxtrack.cli.remote_bar import Transfer
from nxtrack.cli.signals import tidying_up
from nxtrack.cloud.retries import TRANSFER
from nxtrack.errors import FileUnusable, NoSpace, NotFound, NxtrackError
from nxtrack.spool.layout import reason

if TYPE_CHECKING:
    from collections.abc import Generator

    from nxtrack.cli.remote_place import Place

Kind = Literal["input", "output"]

ARCHIVES: Final = frozenset({"csv-archive", "multi-file"})
"""The formats that are folders."""

_PIECE = 2**18


@contextmanager
def local_file(name: str, *, written: bool = False) -> Generator[None]:
    """Has what goes wrong with a file of this machine told as a sentence.

    Args:
        name: The file's name.
        written: It is written. Where it is only read, what a full disk has no room for is a copy of it.

    Raises:
        FileUnusable: It cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        if full and not written:
            name = f"The folder for temporary files, {tempfile.gettempdir()},"
        kind = NoSpace if full else FileUnusable
        raise kind(f"{line(name)} cannot be used: {reason(error)}.") from error
    except ValueError as error:
        if isinstance(error, NxtrackError):
            raise
        raise FileUnusable(f"{line(name)} cannot be used: {str(error).lower()}") from error


def check_target(to: str | None, form: str | None = None) -> None:
    """Finds out what is wrong with a place for a payload before anything is done for it.

    Args:
        to: The file, or the folder to unpack an archive into; None for stdout.
        form: The payload's format, if it is known already.

    Raises:
        FileUnusable: It cannot be written there.
    """
    if to is None:
        return
    if not to:
        raise FileUnusable("--output is empty: name a file.")
    path, name = Path(to), line(to)
    if form is not None and form not in ARCHIVES and _is_folder(to):
        raise FileUnusable(f"{name} cannot be used: what is to be written is {form} and no archive, so name a file.")
    with local_file(to, written=True):
        if path.is_dir() and any(path.iterdir()):
            raise FileUnusable(f"{name} cannot be used: it is a folder with something in it; name a new one.")
        parent = Path(os.path.realpath(path)).parent
        if path.exists() and not (path.is_file() or path.is_dir()):
            return  # such as /dev/stdout
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise FileUnusable(f"{name} cannot be used: there is no folder {line(str(parent))} that may be written to.")


def save(place: Place, kind: Kind, to: str, form: str, *, silent: bool) -> None:
    """Writes a payload to a file, or unpacks it into a folder.

    Args:
        place: The run.
        kind: Which of its payloads.
        to: The file, or the folder.
        form: The payload's format.
        silent: Show no progress.

    Raises:
        FileUnusable: It cannot be written there.
        CloudError: It could not be fetched.
    """
    with _kept_there(place, kind), local_file(to, written=True):
        check_target(to, form)
        _fetch(place, kind, to, unpack=_is_folder(to), silent=silent)


@contextmanager
def _kept_there(place: Place, kind: Kind) -> Generator[None]:
    """Has it told, when this machine is at fault, that nothing is lost."""
    try:
        yield
    except FileUnusable:
        complain(f"The {kind} of run {place.run_id} is still on the platform: `{place.command(kind)}` fetches it.")
        raise


def _is_folder(to: str) -> bool:
    return to.endswith(("/", os.sep)) or Path(to).is_dir()


def _fetch(place: Place, kind: Kind, to: str, *, unpack: bool, silent: bool) -> None:
    get = place.application.run_output if kind == "output" else place.application.run_input
    with tidying_up(), Transfer("Downloading", silent=silent) as shown:
        try:
            get(place.run_id, to, unpack=unpack, progress=shown.progress)
        except NotFound as error:
            raise NotFound(
                f"Run {place.run_id} of {place.application.id} has no {kind}.",
                status=error.status,
                detail=error.detail,
            ) from None
        except TRANSFER:
            complain(f"The {kind} of run {place.run_id} could not be fetched, and nothing was kept of it: try again.")
            raise


def pour(place: Place, kind: Kind, form: str) -> None:
    """Prints a payload's bytes on stdout, once all of them are there."""
    if form in ARCHIVES and sys.stdout.isatty():
        raise FileUnusable(
            f"The {kind} of run {place.run_id} is an archive: give `--output` a file's name, or with a / at its end "
            "that of a folder to unpack it into."
        )
    with (
        tidying_up(),
        _kept_there(place, kind),
        local_file("A temporary file"),
        tempfile.TemporaryDirectory(prefix="nxtrack-") as folder,
    ):
        kept = Path(folder) / kind
        _fetch(place, kind, str(kept), unpack=False, silent=False)
        with kept.open("rb") as file:
            while piece := file.read(_PIECE):
                with on_stdout() as stdout:
                    stdout.buffer.write(piece)
