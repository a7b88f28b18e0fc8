"""The local platform behind `nxtrack serve`: the Nextmv API for tracked and remote runs, and their history."""

from __future__ import annotations

from importlib.util import find_spec

from nxtrack.errors import ServerError

_EXTRA = ("jinja2", "starlette", "uvicorn")


def require_extra() -> None:
    """Checks, without importing them, that the packages of the extra `server` are installed.

    Raises:
        ServerError: One is missing; the message names the command that installs it.
    """
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise ServerError(
            f'The local platform needs {", ".join(missing)}: run `pip install "nxtrack[server]"`.',
        )
