"""The programs that execute remote runs: how they are registered, and which one a request means."""

from __future__ import annotations

import re
import shlex
import shutil
from typing import TYPE_CHECKING

from nxtrack.errors import ServerError
from nxtrack.server.ids import is_id
from nxtrack.server.options import Instance

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Names that every application of the platform has from its beginning (the public SDK's command line, 1.13, on
# `--instance-id`; `devint` is what it was called before). Here they mean the application's default.
_GENERIC = frozenset({"latest", "devint", "default"})
_SHOWN = 20


class NoInstance(Exception):  # an answer, not an error of the tree
    """No registered instance is the one that a request means; the message says so in one sentence."""


def parse_instance(text: str, folder: Path) -> Instance:
    """Reads `NAME=COMMAND`.

    The command is split into words as a shell does it, and never given to one. Programs run in folders of their own,
    so words that name files in `folder` become absolute paths.

    Raises:
        ServerError: It is no such text, or its program is not there.
    """
    name, equals, rest = text.partition("=")
    if not equals or not is_id(name):
        raise ServerError(f"The instance {text[:64]!r} is not of the form NAME=COMMAND: change --instance.")
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise ServerError(f"The command of instance {name} cannot be read ({error}): change --instance.") from error
    if not words:
        raise ServerError(f"The instance {name} has no command: give one by --instance {name}=COMMAND.")
    program = shutil.which(_absolute(words[0], folder) if re.search(r"[/\\]", words[0]) else words[0])
    if program is None:
        raise ServerError(f"The instance {name} has no program {words[0]!r} that can be run: change --instance.")
    # `which` may give a path that is relative, when PATH has such an entry.
    command = (_absolute(program, folder), *(_absolute(word, folder) for word in words[1:]))
    return Instance(name=name, command=command)


def _absolute(word: str, folder: Path) -> str:
    try:
        return str(folder / word) if word and (folder / word).is_file() else word
    except (OSError, ValueError):  # no path at all
        return word


class Instances:
    """All registered instances.

    Raises:
        ServerError: Two have one name.
    """

    def __init__(self, instances: Iterable[Instance]) -> None:
        self._instances: dict[str, Instance] = {}
        for instance in instances:
            if instance.name in self._instances:
                raise ServerError(f"The instance {instance.name} is given twice: change one --instance.")
            self._instances[instance.name] = instance

    @property
    def names(self) -> list[str]:
        """Their names, in the order they were given."""
        return list(self._instances)

    def get(self, name: str) -> Instance | None:
        """The instance of that name."""
        return self._instances.get(name)

    def choose(self, asked: str | None, default: str | None) -> Instance:
        """The instance that a request means.

        The one it names; without a name the application's default; without that the only one there is. `latest`,
        `devint` and `default`, when nothing is registered under them, count as no name.

        Raises:
            NoInstance: There is none, or more than one.
        """
        if not self._instances:
            raise NoInstance(
                "result: it is missing, and no instance is registered here to execute the run; start the platform "
                "with --instance NAME=COMMAND, or send the result of a run made elsewhere."
            )
        for name in (asked, default):
            if name is None:
                continue
            if name in self._instances:
                return self._instances[name]
            if name not in _GENERIC:
                raise NoInstance(f"instance_id: no instance {name} is registered here; there are {self._listed()}.")
        if len(self._instances) > 1:
            raise NoInstance(f"instance_id: it is missing, so say which instance is meant: {self._listed()}.")
        return next(iter(self._instances.values()))

    def _listed(self) -> str:
        names = self.names
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more
