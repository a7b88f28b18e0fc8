"""Owns where things stand in a spool's folder, and the checks that it is ours.

<spool>/runs/<id>.<state>        a run: one append-only file of frames; its name tells its state, but for a run that is
                                 called active, and whose file `system.end_closing` marked: it is ready
<spool>/payloads/<id>.<what>     sidecars of a run: large payloads, what grows while it runs, and its log
<spool>/quarantine/              what was damaged, as it was found
<spool>/captures/<name>          what running processes write to their descriptors; see `captures`
<spool>/lost                     how many runs could not be recorded
<spool>/recovery.lock            held by who recovers
<spool>/size, <spool>/reserve    see `room`
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from nxtrack.errors import SpoolUnavailable
from nxtrack.spool import ids, system
from nxtrack.spool.system import check_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

State = Literal["active", "ready", "unconfirmed", "synced", "rejected"]
"""`active`: its process lives; `unconfirmed`: it was posted and the answer was lost."""

NO_FILE = frozenset({errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO})
"""What is said of a name that is none, a link, a folder or a socket; anything else that stops us may pass."""

LARGEST_FILE = 1 << 30
"""Bytes of the largest file that can be a run's own: its large payloads stand in files of their own."""

STATES: tuple[State, ...] = get_args(State)

_NAME = re.compile(rf"({ids.PATTERN})\.({'|'.join(STATES)})")


class Layout(NamedTuple):
    """The paths of one spool, as text: building a `pathlib.Path` costs more than the call it is for."""

    root: str
    runs: str
    payloads: str
    captures: str
    quarantine: str

    def run(self, run_id: str, state: State) -> str:
        """Returns the path of a run's file in a state."""
        return f"{self.runs}{os.sep}{run_id}.{state}"

    def has_ended(self, run_id: str) -> bool:
        """Says whether a run that is called active has ended by itself, and so is ready.

        Raises:
            OSError: It cannot be looked at.
        """
        try:
            return system.has_ended(os.lstat(self.run(run_id, "active")).st_mode)
        except FileNotFoundError:  # It has another name by now, or is gone: whoever opens it will see.
            return False

    def called(self, run_id: str, state: State) -> State:
        """Returns the state that the name of a run's file tells: one that is ready may still be called active.

        Raises:
            OSError: It cannot be looked at.
        """
        return "active" if state == "ready" and self.has_ended(run_id) else state

    def found(self, run_id: str, state: State) -> str:
        """Returns where the file of a run in a state is to be found; see `called`.

        Raises:
            OSError: It cannot be looked at.
        """
        return self.run(run_id, self.called(run_id, state))

    def payload(self, name: str) -> str:
        """Returns the path of a sidecar."""
        return f"{self.payloads}{os.sep}{name}"

    def capture(self, name: str) -> str:
        """Returns the path of what a process writes to its descriptors."""
        return f"{self.captures}{os.sep}{name}"

    @property
    def recovery_lock(self) -> str:
        """The path of the file that is locked by who recovers."""
        return f"{self.root}{os.sep}recovery.lock"

    def log(self, run_id: str) -> str:
        """Returns the path of a run's log."""
        return f"{self.payloads}{os.sep}{run_id}.log"


def layout(root: str) -> Layout:
    """Returns the paths of the spool in a folder."""
    return Layout(root, *(os.path.join(root, name) for name in ("runs", "payloads", "captures", "quarantine")))  # noqa: PTH118


def prepare(paths: Layout) -> None:
    """Makes a spool's folders, private to this user, and refuses a spool that others may write to.

    Raises:
        SpoolRefused: It is somebody else's, or others may write to it.
        SpoolUnavailable: It cannot be made.
    """
    try:
        os.makedirs(paths.root, mode=0o700, exist_ok=True)  # noqa: PTH103
        check_private(paths.root)
        for folder in paths[1:]:
            try:
                os.mkdir(folder, 0o700)  # noqa: PTH102
            except FileExistsError:
                check_private(folder)
    except OSError as error:
        raise SpoolUnavailable(f"The spool {paths.root} cannot be used: {reason(error)}.") from error


def create(path: str) -> int:
    """Makes a file of the spool; its folder was there when the spool was made, and is made again if it is gone.

    Raises:
        OSError: It cannot be made, or is there already.
    """
    try:
        return os.open(path, system.CREATE, 0o600)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), 0o700)  # noqa: PTH102, PTH120
        return os.open(path, system.CREATE, 0o600)


def open_file(path: str, flags: int) -> int:
    """Opens a file of the spool; whatever else somebody put in its place is refused, and waited for by nobody.

    Raises:
        OSError: It cannot be opened, or is no file: then its `errno` is one of `NO_FILE`.
    """
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EISDIR, "Is no file")
    return descriptor


def reason(error: OSError) -> str:
    """Returns what the system said, as part of a sentence."""
    text = error.strerror or type(error).__name__
    return text[0].lower() + text[1:]


def split_name(name: str) -> tuple[str, State] | None:
    """Returns the id and state that a name in `runs` tells, or None for a file that is not ours."""
    found: Any = _NAME.fullmatch(name)
    return None if found is None else found.groups()


def ours(names: Iterable[str]) -> list[str]:
    """Returns those names that runs have, in their order."""
    return list(filter(_NAME.fullmatch, names))


def listed(paths: Layout) -> list[str]:
    """Lists the names in `runs`, those that are not ours too; sorted, so that the oldest run comes first.

    Raises:
        SpoolUnavailable: The spool cannot be read. A spool that does not exist holds no runs.
    """
    try:
        found = os.listdir(paths.runs)  # noqa: PTH208
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SpoolUnavailable(f"The spool {paths.root} cannot be read: {reason(error)}.") from error
    found.sort()
    return found


def waiting(paths: Layout) -> list[str]:
    """Lists the names of the files of runs that can be delivered, sorted; see `Layout.called`.

    Raises:
        SpoolUnavailable: The spool cannot be read. A spool that does not exist holds no runs.
    """
    return _chosen(paths, (".ready", ".unconfirmed"), ended=True)


def unended(paths: Layout) -> list[str]:
    """Lists the names of the files of runs that have not ended by themselves, sorted.

    Raises:
        SpoolUnavailable: The spool cannot be read. A spool that does not exist holds no runs.
    """
    return _chosen(paths, (), ended=False)


def _chosen(paths: Layout, ends: tuple[str, ...], *, ended: bool) -> list[str]:
    """Lists names that end so, and those of runs that are called active and have ended, or have not."""
    names: list[str] = []
    try:
        with os.scandir(paths.runs) as found:
            for file in found:
                name = file.name
                if name.endswith(".active"):
                    try:
                        mode = file.stat(follow_symlinks=False).st_mode
                    except FileNotFoundError:  # A flush took it while we looked.
                        continue
                    if system.has_ended(mode) == ended:
                        names.append(name)
                elif name.endswith(ends):
                    names.append(name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SpoolUnavailable(f"The spool {paths.root} cannot be read: {reason(error)}.") from error
    names.sort()
    return names


def files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yields the files in a folder, with what the system tells of each; a folder that is not there holds none.

    Raises:
        SpoolUnavailable: It cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            for file in found:
                try:
                    status = file.stat(follow_symlinks=False)
                except FileNotFoundError:  # It was pruned, or changed its state, while we looked.
                    continue
                yield file.name, status
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SpoolUnavailable(f"The spool's folder {folder} cannot be read: {reason(error)}.") from error


def folder_size(folder: str) -> tuple[int, int]:
    """Counts the files in a folder, and their bytes.

    Raises:
        SpoolUnavailable: It cannot be read.
    """
    number = size = 0
    for _, found in files(folder):
        number += 1
        size += found.st_size
    return number, size


def names(paths: Layout, *states: State) -> list[tuple[str, State]]:
    """Lists the runs in the given states, oldest first, by their names alone.

    Raises:
        SpoolUnavailable: The spool cannot be read. A spool that does not exist holds no runs.
    """
    wanted = frozenset(states or STATES)
    runs = map(split_name, listed(paths))
    return [run for run in runs if run is not None and run[1] in wanted]
