"""Owns `nxtrack serve`: from options to the local platform in the foreground."""

from __future__ import annotations

from pathlib import Path

from nxtrack.errors import ServerError
from nxtrack.server import require_extra


def run_platform(*, host: str, port: int, data: str | None, key: str | None) -> int:
    """Runs the local platform until SIGINT or SIGTERM.

    Args:
        host: A name or address to listen on.
        port: The port; 0 takes a free one.
        data: The folder for its data; by default the user's data folder.
        key: The only API key that is let in.

    Returns:
        The exit status.

    Raises:
        ServerError: The extra `server` is missing, or the address, the folder or the key cannot be used.
    """
    require_extra()
    from nxtrack.server.auth import is_loopback
    from nxtrack.server.options import ServeOptions, default_data_folder
    from nxtrack.server.serve import serve

    if key is None and not is_loopback(host):
        # The platform would say so as well, but for this advice: a key in the list of processes is none.
        where = host or "all addresses"
        raise ServerError(f"Listening on {where} lets other machines in: set NXTRACK_SERVE_KEY to the key they need.")
    place = default_data_folder() if data is None else Path(data)
    return serve(ServeOptions(host=host, port=port, data=place, key=key))
