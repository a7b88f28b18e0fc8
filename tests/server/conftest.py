"""A platform per test, over real HTTP on loopback, and a small client for it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import requests

from nxtrack.server.options import Limits, ServeOptions
from nxtrack.server.serve import running

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Clock:
    """A clock that tests move."""

    now: float = 1_800_000_000.0

    def __call__(self):
        return self.now


@dataclass
class Api:
    """Talks to one platform the way the guides do."""

    url: str
    data: Path
    clock: Clock
    app: str = "routing"
    key: str = "any"
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self):
        self.session.trust_env = False

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.key}"}

    def call(self, method, path, **more):
        """A request under `/v1`."""
        return self.session.request(method, f"{self.url}/v1{path}", headers=self.headers, timeout=30, **more)

    def runs(self, path="", *, app=None, method="GET", **more):
        """A request under `/v1/applications/{app}/runs`."""
        return self.call(method, f"/applications/{app or self.app}/runs{path}", **more)

    def upload_url(self, app=None):
        answer = self.runs("/uploadurl", app=app, method="POST")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, url, data, **more):
        return self.session.put(url, data=data, timeout=30, **more)

    def upload(self, data, app=None):
        """Uploads bytes, and gives the upload id."""
        made = self.upload_url(app)
        answer = self.put(made["upload_url"], data)
        assert (answer.status_code, answer.content) == (200, b""), answer.text
        return made["upload_id"]

    def post(self, body, *, app=None, instance=None):
        """Posts a run request as it is given."""
        return self.runs(app=app, method="POST", json=body, params={"instance_id": instance} if instance else {})

    def track(self, *, data=b'{"a": 1}', output=b'{"solution": 2}', logs=None, status="succeeded", app=None, **more):
        """Tracks a run, and gives its id."""
        result = {"status": status, "execution_duration": 1000, **more.pop("result", {})}
        if output is not None:
            result["output_upload_id"] = self.upload(output, app)
        if logs is not None:
            result["error_upload_id"] = self.upload(logs, app)
        answer = self.post({"upload_id": self.upload(data, app), "result": result, **more}, app=app, instance="latest")
        assert answer.status_code == 200, answer.text
        return answer.json()["run_id"]

    def page(self, path="/", **more):
        """A page for people."""
        return self.session.get(f"{self.url}{path}", timeout=30, **more)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def start(tmp_path, clock):
    """Starts platforms, all on the same data folder unless told otherwise, and stops them in the end."""
    with contextlib.ExitStack() as stack:

        def _start(*, limits=None, data=None, session_of=stack, **options):
            platform = session_of.enter_context(
                running(
                    ServeOptions(
                        port=0,
                        data=data or tmp_path / "data",
                        limits=Limits(**(limits or {})),
                        clock=clock,
                        **options,
                    )
                )
            )
            api = Api(platform.url, platform.data, clock)
            session_of.callback(api.session.close)
            return api

        yield _start


@pytest.fixture
def api(start):
    return start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One platform for all tests of a module that leave each other alone."""
    clock = Clock()
    options = ServeOptions(port=0, data=tmp_path_factory.mktemp("shared"), clock=clock)
    with running(options) as platform:
        api = Api(platform.url, platform.data, clock)
        with api.session:
            yield api
