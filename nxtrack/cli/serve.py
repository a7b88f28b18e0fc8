"""Owns `nxtrack serve`: from options to the local platform in the foreground."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nxtrack import settings
from nxtrack.cli import retention
from nxtrack.errors import ServerError, SettingsError
from nxtrack.server import require_extra

if TYPE_CHECKING:
    from nxtrack.server.options import Limits, ServeOptions, Tls

_LONGEST_SECONDS = 100 * 366 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The options of `nxtrack serve` as they were typed.

    Attributes:
        data: The folder for the data; None for the one in the user's data folder.
        key: The only API key that is let in.
        tls: Whether to speak TLS although no certificate is given.
        certificate: A PEM file to speak TLS with; `certificate_key` is its key, when that is not in there.
        instances: `NAME=COMMAND` for each program that executes remote runs.
        jobs: How many of them at once; None for one for each processor.
        time_limit: How long a remote run may take, such as `300` or `30m`.
        url_lifetime: How long signed URLs are valid, in the same way.
        max_inline: A size such as `5MiB`; so are `max_upload` and `max_download`.
    """

    host: str = "127.0.0.1"
    port: int = 8770
    data: str | None = None
    key: str | None = field(default=None, repr=False)
    tls: bool = False
    certificate: str | None = None
    certificate_key: str | None = None
    instances: tuple[str, ...] = ()
    jobs: int | None = None
    time_limit: str = "300"
    max_inline: str = "5MiB"
    max_upload: str = "500MB"
    max_download: str = "100MB"
    url_lifetime: str = "15m"
    rate_limit: bool = False


def run_platform(wishes: Wishes) -> int:
    """Runs the local platform until SIGINT or SIGTERM.

    Returns:
        The exit status.

    Raises:
        ServerError: The extra `server` is missing, or the address, the folder, the key or a program cannot be used.
        SettingsError: A size or a time is none, or there is a key without a certificate.
    """
    require_extra()
    from nxtrack.server.auth import is_loopback
    from nxtrack.server.serve import serve

    if wishes.key is None and not is_loopback(wishes.host):
        # The platform would say so as well, but for this advice: a key in the list of processes is none.
        where = wishes.host or "all addresses"
        raise ServerError(f"Listening on {where} lets other machines in: set NXTRACK_SERVE_KEY to the key they need.")
    return serve(_options(wishes))


def _options(wishes: Wishes) -> ServeOptions:
    from nxtrack.server.execution.instances import parse_instance
    from nxtrack.server.options import ServeOptions, default_data_folder, default_jobs

    here = Path.cwd()
    return ServeOptions(
        host=wishes.host,
        port=wishes.port,
        data=default_data_folder() if wishes.data is None else Path(wishes.data),
        key=wishes.key,
        tls=_tls(wishes),
        limits=_limits(wishes),
        rate_limit=wishes.rate_limit,
        instances=tuple(parse_instance(text, here) for text in wishes.instances),
        jobs=default_jobs() if wishes.jobs is None else wishes.jobs,
        time_limit=_seconds("--time-limit", wishes.time_limit),
    )


def _tls(wishes: Wishes) -> Tls | None:
    from nxtrack.server.options import Tls

    if wishes.certificate is None:
        if wishes.certificate_key is not None:
            raise SettingsError("--certificate-key: give the certificate that it belongs to by --certificate.")
        return Tls() if wishes.tls else None
    key = wishes.certificate_key
    return Tls(certificate=Path(wishes.certificate), key=None if key is None else Path(key))


def _limits(wishes: Wishes) -> Limits:
    from nxtrack.server.options import Limits

    return Limits(
        inline=_size("--max-inline", wishes.max_inline),
        upload=_size("--max-upload", wishes.max_upload),
        download=_size("--max-download", wishes.max_download),
        url_seconds=max(1, int(_seconds("--url-lifetime", wishes.url_lifetime))),
    )


def _size(option: str, text: str) -> int:
    try:
        size = settings.parse_bytes(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text[:64]}: {error}.") from error
    if not size:
        raise SettingsError(f"{option} {text[:64]}: it would let nothing through; give a size such as 50MB.")
    return size


def _seconds(option: str, text: str) -> float:
    with contextlib.suppress(SettingsError):
        seconds = retention.seconds(text)
        if 0 < seconds <= _LONGEST_SECONDS:
            return seconds
    raise SettingsError(f"{option} {text[:64]}: give a time such as 90, 15m or 2h.")
