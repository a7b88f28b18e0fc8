"""What the local platform can be told: where it listens, where it keeps its data, and its limits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from platformdirs import user_data_path

if TYPE_CHECKING:
    from pathlib import Path

Clock = Callable[[], float]
"""Gives the time in seconds since 1970, UTC."""


def default_data_folder() -> Path:
    """Where the platform keeps its data when it is not told: the user's own data folder."""
    return user_data_path("nxtrack", appauthor=False) / "platform"


def default_jobs() -> int:
    """How many programs may run at once when it is not said: one for each processor that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505  (so that mypy sees which half belongs to which system)
        return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The platform's limits. Sizes in bytes, times in seconds.

    The defaults are those of the guide "Large payloads", except where a comment says otherwise.
    """

    # The guide says 5 MB and the public SDK (1.13) takes that as 5 * 1024 * 1024: below it, it asks for no URL.
    inline: int = 5 * 1024 * 1024
    upload: int = 500_000_000
    download: int = 100_000_000
    url_seconds: int = 15 * 60
    page: int = 50
    # What clients may ask for when the rate limit is on.
    runs_per_second: float = 5
    requests_per_minute: float = 2000
    # Ours: a larger output is stored and handed out, but not searched for metrics and assets.
    inspected: int = 64 * 1024 * 1024
    # Ours: an upload that sends nothing for so long is given up, and a request whose head takes so long.
    idle_seconds: float = 60.0
    head_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A registered program: the words of its command, the first of which is the path of the program."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tls:
    """With which certificate to speak TLS.

    Attributes:
        certificate: A PEM file with the certificate and those that lead to its authority; None to have one made.
        key: A PEM file with its key; None when that stands in the same file.
    """

    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to run the platform.

    Attributes:
        host: A name or address to listen on; anything but loopback needs a `key`.
        port: The TCP port; 0 takes a free one.
        data: The folder that holds everything; made, for its owner only, when it is missing.
        key: The only API key that is let in. None lets any key in, on loopback.
        tls: With which certificate to speak TLS; None for plain HTTP.
        limits: Sizes and times.
        rate_limit: Whether to refuse, by 429, more requests than `limits` allow.
        instances: The programs that execute remote runs.
        jobs: How many of them may run at once.
        time_limit: How many seconds each may take.
        clock: What tells the time.
    """

    host: str = "127.0.0.1"
    port: int = 8770
    data: Path = field(default_factory=default_data_folder)
    key: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    limits: Limits = field(default_factory=Limits)
    rate_limit: bool = False
    instances: tuple[Instance, ...] = ()
    jobs: int = field(default_factory=default_jobs)
    time_limit: float = 300.0
    clock: Clock = time.time
