"""Debian's Chromium, driven by Playwright, before a platform on loopback.

`NXTRACK_CHROMIUM` names another browser than the first Chromium on the path, `NXTRACK_SHOTS` a folder that keeps the
screenshots, `NXTRACK_AXE` the file `axe.min.js` of axe-core. Without a browser these tests are skipped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from server.conftest import Api

from nxtrack.server.options import Limits, ServeOptions
from nxtrack.server.serve import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Read before a test's own environment begins.
_CHROMIUM = os.environ.get("NXTRACK_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_SHOTS = os.environ.get("NXTRACK_SHOTS")
_AXE = os.environ.get("NXTRACK_AXE")
_PATIENCE = 20_000
"""Milliseconds; machines that test are slow at times."""


@pytest.fixture(scope="module")
def chromium():
    """One browser for a module. It finds no host but this machine.

    Not for the whole session: while it lives, Playwright's event loop runs in this thread, and no test elsewhere
    could run one of its own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
    if _CHROMIUM is None:
        pytest.skip("no Chromium on the path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=_CHROMIUM,
            timeout=60_000,
            args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"],
        )
        yield browser
        browser.close()


@pytest.fixture
def start(tmp_path):
    """Starts platforms that go by the machine's clock, and stops them in the end."""
    with contextlib.ExitStack() as stack:

        def _start(*, limits=None, session_of=stack, **options):
            given = {"port": 0, "data": tmp_path / "data", "limits": Limits(**(limits or {}))} | options
            platform = session_of.enter_context(running(ServeOptions(**given)))
            api = Api(platform.url, platform.data, time.time)
            session_of.callback(api.session.close)
            return api

        yield _start


@pytest.fixture
def api(start):
    return start()


@pytest.fixture
def console():
    """What pages complained about: a test fails in the end unless this is empty, so take out what you expect."""
    return []


@pytest.fixture
def open_page(chromium: Browser, console: list[str]):
    """Opens empty pages; every error on them fails the test."""
    with contextlib.ExitStack() as stack:

        def _open(*, colour="light", width=1280, height=900, javascript=True, **more) -> Page:
            context = chromium.new_context(
                color_scheme=colour,
                viewport={"width": width, "height": height},
                java_script_enabled=javascript,
                timezone_id="Asia/Tokyo",  # Pages are in UTC, wherever they are read.
                **more,
            )
            stack.callback(context.close)
            context.set_default_timeout(_PATIENCE)
            page = context.new_page()
            page.on("console", lambda said: console.append(said.text) if said.type in {"error", "warning"} else None)
            page.on("pageerror", lambda error: console.append(str(error)))
            page.on("request", lambda asked: _stays_here(asked.url, console))
            return page

        yield _open
    assert not console


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def shot(tmp_path: Path, request: pytest.FixtureRequest):
    """Keeps a screenshot of the whole page; every one must show something."""

    def _shot(page: Page, name: str) -> Path:
        folder = Path(_SHOTS) if _SHOTS else tmp_path
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        page.screenshot(path=path, full_page=True, animations="disabled")
        assert path.stat().st_size > 5_000
        return path

    return _shot


@pytest.fixture
def axe():
    """Asks axe-core about a page: nothing may be serious or critical. Skips the test where axe-core is not there."""
    if _AXE is None or not Path(_AXE).is_file():
        pytest.skip("NXTRACK_AXE names no axe.min.js")
    script = Path(_AXE).read_text(encoding="utf-8")

    def _axe(page: Page) -> None:
        page.evaluate(f"() => {{ {script} }}")
        found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        told = [
            f"{violation['id']} ({violation['impact']}): {violation['help']}: {node['html'][:200]}"
            for violation in found["violations"]
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"][:3]
        ]
        assert not told, "\n".join(told)
        assert found["passes"] is not None

    return _axe


def _stays_here(url: str, console: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
        console.append(f"A page asked for {url}")
