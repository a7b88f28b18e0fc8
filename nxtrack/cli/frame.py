"""Owns the frame of the command line: the program's own help and version, and what several commands take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(
    name="nxtrack",
    help="Delivers tracked runs of decision models to Nextmv Cloud, and looks after those that wait on this machine.",
    epilog="Exit status: 0 done; 1 a run was rejected; 2 usage, configuration or authentication; 75 left for later.",
    add_completion=False,
    no_args_is_help=True,
    # Plain help needs none of rich, which would cost each command its start-up.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


class State(StrEnum):
    """The states of a run in the spool."""

    ACTIVE = "active"
    READY = "ready"
    UNCONFIRMED = "unconfirmed"
    SYNCED = "synced"
    REJECTED = "rejected"


class Form(StrEnum):
    """The formats of an input or output."""

    JSON = "json"
    TEXT = "text"
    CSV_ARCHIVE = "csv-archive"
    MULTI_FILE = "multi-file"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from nxtrack.cli.output import say

        say(f"nxtrack {version('nxtrack')}")
        raise typer.Exit


@app.callback()
def _nxtrack(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
