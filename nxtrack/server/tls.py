"""TLS: a certificate that is given, or one that the platform makes for itself, with the authority that signed it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nxtrack.errors import ServerError
from nxtrack.server.auth import is_loopback

if TYPE_CHECKING:
    from nxtrack.server.options import Tls

_LIFETIME = timedelta(days=397)  # browsers trust no longer ones
_RENEWED_AFTER = timedelta(days=300)
_EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104  (names to leave out, not addresses to bind)


@dataclass(frozen=True, kw_only=True)
class Secured:
    """What a listener needs to speak TLS, and what its clients need.

    Attributes:
        context: With the certificate and its key.
        authority: What clients are to trust, a PEM file, when the platform made its certificate; else None.
    """

    context: ssl.SSLContext
    authority: Path | None = None


def secure(tls: Tls, *, data: Path, host: str) -> Secured:
    """Loads the certificate, after making one when none is given.

    Args:
        tls: Which certificate.
        data: The platform's folder, below which its own certificate is kept.
        host: What it listens on: with `localhost` and the loopback addresses, the name that the certificate is for.

    Raises:
        ServerError: The certificate or its key cannot be used, or none can be made.
    """
    if tls.certificate is not None:
        return Secured(context=_context(tls.certificate, tls.key))
    try:
        folder = _own(data / "tls" / re.sub(r"[^A-Za-z0-9.-]", "_", host or "everywhere"), host)
    except OSError as error:
        raise ServerError(f"{data} cannot hold the platform's certificate: {error.strerror or error}.") from error
    return Secured(context=_context(folder / "certificate.pem", None), authority=folder / "authority.pem")


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    def refuse() -> str:
        raise ServerError(f"The key of {certificate} is encrypted: give one that is not by --certificate-key.")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, refuse)
    except ssl.SSLError as error:
        said = (error.reason or str(error)).replace("_", " ").lower()
        raise ServerError(
            f"The certificate {certificate} cannot be used ({said}): give it and its key as PEM files by "
            "--certificate and --certificate-key."
        ) from error
    except OSError as error:
        missing = certificate if key is None or not certificate.is_file() else key
        raise ServerError(f"The certificate cannot be read: {missing}: {error.strerror or error}.") from error
    return context


def _own(folder: Path, host: str) -> Path:
    """The folder that holds the platform's own certificate, which is made or renewed when it is time."""
    try:
        if time.time() - (folder / "authority.pem").stat().st_mtime < _RENEWED_AFTER.total_seconds():
            return folder
    except FileNotFoundError:
        pass
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        _make(made, host)
        # As a whole or not at all, so that the two files always fit.
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _make(folder: Path, host: str) -> None:
    try:
        import trustme  # noqa: PLC0415  (an extra that only this needs)
    except ModuleNotFoundError as error:
        raise ServerError(
            'A certificate of the platform\'s own needs trustme: run `pip install "nxtrack[tls]"`, or give one by '
            "--certificate."
        ) from error
    until = datetime.now(UTC).replace(tzinfo=None) + _LIFETIME
    # The authority's key is nowhere kept: whoever trusts it trusts this one certificate.
    authority = trustme.CA(organization_name="nxtrack", organization_unit_name="local platform")
    try:
        leaf = authority.issue_cert(*_names(host), organization_name="nxtrack", not_after=until)
    except (ValueError, UnicodeError) as error:
        raise ServerError(f"No certificate can be made for {host}: give one by --certificate.") from error
    content = leaf.private_key_and_cert_chain_pem.bytes()
    descriptor = os.open(folder / "certificate.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))


def _names(host: str) -> list[str]:
    names = {"localhost", "127.0.0.1", "::1"}
    if host not in _EVERYWHERE:
        names.add(host)
    if not is_loopback(host) and re.fullmatch(r"[A-Za-z0-9.-]+", socket.gethostname()):
        names.add(socket.gethostname())
    return sorted(names)
