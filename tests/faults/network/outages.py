"""Networks that are down, proxies that refuse, and TLS that fails; then everything is well again."""

from __future__ import annotations

import os
import re
import socket
import threading
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from faults.bench import Solve
from faults.network.attempts import delivered, flushed, wrong
from faults.network.babble import answer
from faults.network.breaker import UPLOAD_URL, Breaker, Edit, Reply, Request
from faults.network.tunnel import Break, Tunnel
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.bench import Bench, Trial

REQUESTS = 7
"""Requests of one run's delivery: three upload URLs, three uploads, one POST."""


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Sets variables that requests looks at, for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _down_and_up(trial: Trial, url: str, healed: Callable[[], str], told: str = "", **settings: object) -> None:
    """Flushes while something is down, which has to be told, and again when it is up."""
    trial.record(Solve(1))
    report = flushed(trial, url, **settings)
    if report.pending != 1 or told not in " ".join(report.problems):
        wrong(trial, f"nothing was reached, and the flush reports {report}, not {told!r}")
    delivered(trial, trial.drain(healed(), jobs=1), trial.judge(Solve(1)))


def _refused(bench: Bench, after: int) -> None:
    """The platform goes away with the answer to the `after`-th request, and refuses connections."""
    with closing(Breaker(bench.url)) as breaker, bench.trial() as trial:
        came = []

        def watch(request: Request, content: bytes) -> None:
            came.append(request)
            if len(came) == after:
                threading.Thread(target=breaker.down).start()
                # The answer is lost with it.
                gone.wait(5)

        gone = threading.Event()
        down = breaker.down

        def down_and_tell() -> None:
            down()
            gone.set()

        breaker.down = down_and_tell
        breaker.watch = watch
        if not after:
            breaker.down()

        def healed() -> str:
            breaker.up()
            return breaker.url

        _down_and_up(trial, breaker.url, healed)
        bench.tally.injections += gone.is_set()


def _no_name(bench: Bench, jobs: int) -> None:
    """The platform's name is not resolved."""
    with bench.trial() as trial:
        _down_and_up(trial, "https://platform.invalid", lambda: bench.url, "name not resolved", jobs=jobs)
        bench.tally.injections += 1


def _no_store(bench: Bench, place: str) -> None:
    """The store that an upload URL names cannot be reached."""
    with closing(Breaker(bench.url)) as breaker, bench.trial() as trial:
        moved = Edit(
            method="POST",
            path=UPLOAD_URL,
            times=-1,
            change=lambda _, body: re.sub(rb"127.0.0.1:\d+", place.encode(), body),
        )
        breaker.add(moved)

        def healed() -> str:
            moved.times = 0
            return breaker.url

        _down_and_up(trial, breaker.url, healed, "Could not reach the object store")
        bench.tally.injections += moved.happened > 0


def _silent(bench: Bench, backlog: int) -> None:
    """The platform's port answers no connection: the queue of those that wait to be taken is full."""
    with ExitStack() as stack, bench.trial() as trial:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        for _ in range(backlog + 3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        _down_and_up(trial, url, lambda: bench.url, "timed out", answer_wait=0.1)
        bench.tally.injections += 1


def _proxied(bench: Bench, content: bytes, then: str, place: tuple[str, str]) -> None:
    """A proxy for plain HTTP refuses one kind of request; then it passes everything on."""
    host = bench.url.removeprefix("http://")
    with closing(Breaker(bench.url, host=host)) as breaker, bench.trial() as trial:
        fault = Reply(method=place[0], path=place[1], content=content, times=-1, then=then)
        breaker.add(fault)

        def healed() -> str:
            fault.times = 0
            return "http://platform"

        with _environment(http_proxy=breaker.url, no_proxy=""):
            _down_and_up(trial, "http://platform", healed)
        bench.tally.injections += fault.happened > 0


def _no_proxy(bench: Bench, variable: str) -> None:
    """There is no proxy where the environment names one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    endpoint = {"http_proxy": "http://platform", "https_proxy": "https://platform.invalid"}[variable]
    with bench.trial() as trial, _environment(**{variable: f"http://127.0.0.1:{port}", "no_proxy": ""}):
        _down_and_up(trial, endpoint, lambda: bench.url, "through the proxy: connection refused")
        bench.tally.injections += 1


def _tunnelled(bench: Bench, content: bytes, how: str) -> None:
    """A proxy refuses to open a tunnel to the platform; then it opens it, and TLS goes through."""
    with Secured(bench, "platform.invalid") as secured, bench.trial() as trial:
        tunnel = secured.enter_context(closing(Tunnel(secured.breaker.port, proxy=True)))
        refuse = Break(times=100, side="connect", content=content, how=how)
        tunnel.breaks.append(refuse)

        def healed() -> str:
            tunnel.breaks.clear()
            return "https://platform.invalid"

        with _environment(https_proxy=tunnel.url, no_proxy=""):
            _down_and_up(trial, "https://platform.invalid", healed, answer_wait=0.2 if how == "stall" else 60.0)
        bench.tally.injections += refuse.happened > 0


def _network(bench: Bench, size: int) -> None:
    """The network is down in one of many ways: the run is kept and that is told; it arrives when all is well."""
    refusals = [answer(status) for status in (403, 407, 500, 502, 503, 504)] + [b"", b"garbage\r\n\r\n"]
    ways: list[Callable[[Bench], None]] = [partial(_refused, after=after) for after in range(REQUESTS)] * 3
    ways += [partial(_no_name, jobs=jobs) for jobs in (1, 2, 4)]
    ways += [partial(_no_store, place=place) for place in ("store.invalid", "store.invalid:9", "127.0.0.1:9")]
    ways += [partial(_silent, backlog=backlog) for backlog in (0, 1, 2)]
    ways += [partial(_no_proxy, variable=variable) for variable in ("http_proxy", "https_proxy")]
    ways += [
        partial(_proxied, content=content, then="close", place=("POST", UPLOAD_URL))
        for content in [answer(407), answer(500), answer(502), answer(503), answer(504), b"", b"garbage\r\n\r\n"]
    ]
    ways += [partial(_tunnelled, content=content, how=how) for content, how in product(refusals, ("close", "reset"))]
    ways += [partial(_tunnelled, content=b"", how="stall"), partial(_tunnelled, content=b"HTTP/1.1 2", how="stall")]
    for way in spread(ways, size):
        way(bench)


class Secured(ExitStack):
    """A platform behind TLS.

    Attributes:
        breaker: Takes the connections; its `tls` may be changed.
        trusted: A certificate authority that the flushes trust, as long as this lasts.
    """

    def __init__(self, bench: Bench, name: str = "127.0.0.1") -> None:
        super().__init__()
        import trustme

        self.trusted = trustme.CA()
        self.name = name
        self.good = context(self.trusted, name)
        host = "127.0.0.1:1" if name != "127.0.0.1" else ""
        self.breaker = self.enter_context(closing(Breaker(bench.url, tls=self.good, host=host)))
        bundle = self.enter_context(self.trusted.cert_pem.tempfile())
        self.enter_context(_environment(REQUESTS_CA_BUNDLE=bundle))
        self.breaker.add(Edit(method="POST", path=UPLOAD_URL, times=-1, change=self._by_tls))

    def _by_tls(self, request: Request, body: bytes) -> bytes:
        """Makes an upload URL lead through TLS too."""
        secure = body.replace(b'"http://', b'"https://')
        return secure if self.name == "127.0.0.1" else re.sub(rb"127.0.0.1:1/", self.name.encode() + b"/", secure)


def context(authority, name: str, **more: object):
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **more).configure_cert(made)
    return made


def _distrusted(bench: Bench, size: int) -> None:
    """The platform's certificate is not to be trusted, from some request on: the run is kept, and arrives later."""
    import trustme

    yesterday = datetime.now(UTC) - timedelta(days=1)
    with Secured(bench) as secured:
        breaker = secured.breaker
        bad = {
            "unknown": context(trustme.CA(), "127.0.0.1"),
            "expired": context(
                secured.trusted, "127.0.0.1", not_before=yesterday - timedelta(days=9), not_after=yesterday
            ),
            "another name": context(secured.trusted, "other.example"),
        }
        for (_, tls), after in spread(list(product(bad.items(), range(REQUESTS))), size):
            with bench.trial() as trial:
                breaker.tls = tls if not after else secured.good
                came: list[Request] = []

                def watch(request: Request, content: bytes, tls=tls, after=after, came=came) -> None:
                    came.append(request)
                    if len(came) == after:
                        breaker.tls = tls
                        raise OSError  # which ends the connection, and the answer with it

                breaker.watch = watch

                def healed() -> str:
                    breaker.tls = secured.good
                    breaker.watch = lambda request, content: None
                    return breaker.url

                _down_and_up(trial, breaker.url, healed, "TLS certificate is not trusted")
                bench.tally.injections += 1


def _cut_tls(bench: Bench, size: int) -> None:
    """A TLS connection breaks at a byte of the handshake or after it, once or again and again: the run arrives once."""
    with Secured(bench) as secured:
        tunnel = secured.enter_context(closing(Tunnel(secured.breaker.port, scheme="https")))
        with bench.trial() as trial:
            trial.record(Solve(1))
            trial.flush(tunnel.url, jobs=1)
            carried = tunnel.carried
        plans = [
            Break(times=times, side=side, at=at, how=how)
            for side in ("client", "server")
            for at in spread(range(carried[side]), max(2, size // 6))
            for times, how in ((1, "reset"), (3, "close"), (2, "stall"))
        ]
        for chosen in spread(plans, size):
            with bench.trial() as trial:
                trial.record(Solve(1))
                tunnel.breaks.append(chosen)
                report = flushed(trial, tunnel.url, answer_wait=0.3)
                tunnel.breaks.clear()
                report = trial.drain(tunnel.url, jobs=1) if report.pending else report
                bench.tally.injections += chosen.happened > 0
                delivered(trial, report, trial.judge(Solve(1)))


def _mixed_up(bench: Bench, size: int) -> None:
    """Plain HTTP where TLS is expected, and the reverse: the run is kept, and that is told."""
    with Secured(bench) as secured, closing(Breaker(bench.url)) as plain:
        urls = (plain.url.replace("http:", "https:"), secured.breaker.url.replace("https:", "http:"))
        for number in range(size):
            with bench.trial() as trial:
                _down_and_up(trial, urls[number % 2], lambda: secured.breaker.url, answer_wait=0.1)
                bench.tally.injections += 1


def _needs_trustme() -> str:
    try:
        import trustme  # noqa: F401
    except ImportError:
        return "trustme is not installed"
    return ""


KINDS: tuple[Kind, ...] = (
    Kind("network down, proxies that refuse; then up again", _network, 6, 80, _needs_trustme),
    Kind("TLS: unknown authority, expired, another name", _distrusted, 3, 21, _needs_trustme),
    Kind("TLS: reset and close amid the handshake and after it", _cut_tls, 4, 240, _needs_trustme),
    Kind("TLS: plain HTTP where TLS is expected, and the reverse", _mixed_up, 2, 10, _needs_trustme),
)
