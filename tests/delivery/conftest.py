"""What the delivery tests share: the real local platform, and a proxy before it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from support.proxy import Proxy

import nxtrack
from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running
from nxtrack.spool.store import spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nxtrack.server.serve import RunningPlatform
    from nxtrack.spool.store import Spool


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[RunningPlatform]:
    with running(ServeOptions(port=0, data=tmp_path / "platform")) as served:
        yield served


@pytest.fixture
def proxy(platform: RunningPlatform) -> Iterator[Proxy]:
    with contextlib.closing(Proxy(platform.url)) as proxy:
        nxtrack.configure(endpoint=proxy.url, api_key="key", rate=0, request_rate=0, backoff=0.02)
        yield proxy


@pytest.fixture
def runs(tmp_path: Path) -> Spool:
    nxtrack.configure(dir=tmp_path / "spool", durability="process")
    return spool(str(tmp_path / "spool"))


@pytest.fixture
def application(platform: RunningPlatform) -> Iterator[Application]:
    """The platform as it is behind the proxy, to see what it really took."""
    with Client(api_key="key", endpoint=platform.url) as client:
        yield Application("routing", client)
