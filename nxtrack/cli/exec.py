"""Owns `nxtrack exec`: from what was typed to a program that runs as a tracked run."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, cast

from nxtrack.cli.options import options_of
from nxtrack.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nxtrack.spool.records import Form


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """The options of `nxtrack exec` as they were typed; None for what was not.

    Attributes:
        command: The program and its arguments.
        options: `k=v` for each option of the run.
    """

    command: list[str]
    app_id: str | None = None
    instance_id: str | None = None
    name: str | None = None
    description: str | None = None
    options: Sequence[str] = ()
    input_file: str | None = None
    input_dir: str | None = None
    output_file: str | None = None
    output_dir: str | None = None
    form: str | None = None
    output_form: str | None = None


def execute(order: Order) -> int:
    """Runs a program as a tracked run.

    Returns:
        The program's exit status; 128 + n when signal n killed it.

    Raises:
        SettingsError: What was typed cannot be used; nothing was run.
        ProgramUnusable: The program cannot be executed.
    """
    options = options_of(order.options)
    for one, other in ((order.input_file, order.input_dir), (order.output_file, order.output_dir)):
        if one is not None and other is not None:
            raise SettingsError("A file and a folder for the same exclude each other, so nothing was run.")
    if sys.platform == "win32":
        raise SettingsError("nxtrack exec needs a POSIX system; on Windows, put `track` around what runs the program.")
    else:  # noqa: RET506  (so that mypy sees which half belongs to which system)
        from nxtrack.tracking.program import Program, run

        program = Program(
            command=order.command,
            input_file=order.input_file,
            input_dir=order.input_dir,
            output_file=order.output_file,
            output_dir=order.output_dir,
            input_form=cast("Form | None", order.form),
            output_form=cast("Form | None", order.output_form),
        )
        about = {name: getattr(order, name) for name in ("app_id", "instance_id", "name", "description")}
        return run(program, about, options)
