"""What the acceptance tests share: the real local platform, and what really arrived there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.server.options import ServeOptions
from nxtrack.server.serve import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nxtrack.server.serve import RunningPlatform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[RunningPlatform]:
    with running(ServeOptions(port=0, data=tmp_path / "platform")) as served:
        yield served


@pytest.fixture
def application(platform: RunningPlatform) -> Iterator[Application]:
    with Client(api_key="key", endpoint=platform.url) as client:
        yield Application("routing", client)
