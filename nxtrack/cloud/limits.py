"""Owns the platform's limits on payloads: settings with the documented defaults, as plans differ and change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from nxtrack.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What payloads may weigh, in bytes. The defaults are those of the guide "Large payloads".

    Attributes:
        inline: An input or output in a request or an answer; a larger one takes the way over a presigned URL.
        upload: One upload.
        download: One download.

    Raises:
        SettingsError: One of them is no number of bytes.
    """

    inline: int = 5_000_000
    upload: int = 500_000_000
    download: int = 100_000_000

    def __post_init__(self) -> None:
        """Checks them."""
        sizes: tuple[object, ...] = dataclasses.astuple(self)
        for size in sizes:
            if not isinstance(size, int) or size < 0:
                raise SettingsError(f"Limits are numbers of bytes, from 0 up, and not {size!r:.40}.")


DEFAULT_LIMITS: Final = Limits()
