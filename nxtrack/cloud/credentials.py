"""Owns where the API key and the endpoint come from: the settings, then the profile file, then the default.

The profile file is the one that the platform's own tools write, `~/.nextmv/config.yaml`: the top-level keys `apikey`
and `endpoint` are the default profile, every other top-level mapping is a named one (public Python SDK 1.13).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import yaml

from nxtrack.errors import CredentialsMissing, SettingsError

if TYPE_CHECKING:
    from nxtrack.settings import Settings

DEFAULT_ENDPOINT = "https://api.cloud.nextmv.io"
"""The platform's address when nothing else is set."""

_MISSING = "No API key: set NEXTMV_API_KEY, or a profile in ~/.nextmv/config.yaml."
_LARGEST_FILE = 1 << 20
_SHOWN = "~/.nextmv/config.yaml"


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, and where.

    Attributes:
        endpoint: The platform's address, with scheme and without a trailing slash.
        api_key: The API key; it is left out of the `repr`.
    """

    endpoint: str
    api_key: str = dataclasses.field(repr=False)


def credentials(settings: Settings, *, home: Path | None = None) -> Credentials:
    """Finds the endpoint and the API key, each from the first source that has it.

    Args:
        settings: The settings in force; they win over the profile file, which is read only for what they lack.
        home: The home folder, instead of the user's own.

    Returns:
        An endpoint and a key that are fit to be used.

    Raises:
        CredentialsMissing: No source has a key.
        SettingsError: The key, the endpoint, the profile's name or the profile file cannot be used.
    """
    endpoint, key = settings.endpoint, settings.api_key
    if not (endpoint and key):
        profile = _profile(settings.profile, home)
        endpoint = endpoint or _text(profile, "endpoint")
        key = key or _text(profile, "apikey")
        if not key and str(profile.get("auth_type", "")).lower() == "pkce":
            raise CredentialsMissing(
                f"{_titled(settings.profile)} in {_SHOWN} signs in with a browser (auth_type: pkce) and holds no API "
                "key: set NEXTMV_API_KEY, or choose a profile that has one."
            )
    if not key:
        raise CredentialsMissing(_MISSING)
    return Credentials(endpoint=_endpoint(endpoint or DEFAULT_ENDPOINT), api_key=_key(key))


def _titled(name: str | None) -> str:
    return f"Profile {name!r}" if name else "The default profile"


def _key(key: str) -> str:
    if re.fullmatch(r"[!-~]+", key) is None:
        raise SettingsError("The API key holds a space or a character that no key has: copy it again.")
    return key


def _endpoint(text: str) -> str:
    """Returns the address in its one form, or refuses it; a refusal never shows what may be a password."""
    if re.fullmatch(r"[!-~]+", text) is None:
        raise SettingsError("The endpoint holds a space or a character that no address has: write it as https://host.")
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SettingsError("The endpoint is no address: write it as https://host or https://host:port.") from None
    if "@" in parts.netloc:
        raise SettingsError("The endpoint holds a user name or password: give only the address, the key goes apart.")
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise SettingsError("The endpoint is no http or https address: write it as https://host or https://host:port.")
    if parts.query or parts.fragment:
        raise SettingsError(f"The endpoint on {host} holds a query or a fragment: give only the address.")
    if parts.scheme == "http" and not _is_near(host):
        raise SettingsError(f"The endpoint http://{host} would send the API key unencrypted: use https.")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _is_near(host: str) -> bool:
    """Says whether a host is this machine or on its own network, where plain http is the user's affair."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_private or address.is_loopback
    try:
        socket.inet_aton(host)
    except OSError:
        return "." not in host.removesuffix(".") or host.endswith((".localhost", ".localhost."))
    return False  # an IPv4 address in one of its old spellings, such as 134744072


def _profile(name: str | None, home: Path | None) -> dict[str, Any]:
    """Returns the named profile, or the default one: the top-level keys, or nothing where there is no file."""
    name = None if name is None or name.lower() == "default" else name
    content = _read(home)
    if name is None:
        return content
    found = content.get(name)
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    known = sorted(key for key, value in content.items() if isinstance(value, dict))
    among = f"there are {', '.join(known)}" if known else "it names none"
    raise SettingsError(f"There is no profile {name!r} in {_SHOWN}: {among}.")


def _read(home: Path | None) -> dict[str, Any]:
    try:
        path = (home or Path.home()) / ".nextmv" / "config.yaml"
        if not stat.S_ISREG(path.stat().st_mode):
            raise SettingsError(f"{_SHOWN} is no regular file: put the profiles there, or set NEXTMV_API_KEY.")
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # RuntimeError: this user has no home
        return {}
    except OSError as error:
        raise SettingsError(f"{_SHOWN} cannot be read ({error.strerror}): make it readable to you.") from None
    if len(raw) > _LARGEST_FILE:
        raise SettingsError(f"{_SHOWN} is larger than 1 MiB: it holds something else than profiles.")
    try:
        content: object = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an impossible date, bytes not UTF-8
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise SettingsError(f"{_SHOWN} is not valid YAML{where}: repair it, or set NEXTMV_API_KEY.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{_SHOWN} holds no mapping: it should have a line such as `apikey: ...`.")
    return {str(key): value for key, value in cast("dict[object, Any]", content).items()}


def _text(profile: dict[str, Any], key: str) -> str | None:
    value = profile.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise SettingsError(f"`{key}` in {_SHOWN} is no text: put it in quotes.")
    return value.strip() or None
