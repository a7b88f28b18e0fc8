"""The rate limit: token buckets for each API key, and the middleware that refuses what goes beyond."""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from nxtrack.server.refusals import api_answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from nxtrack.server.options import Clock

_RUN_POST = re.compile(r"/v1/applications/[^/]+/runs")
_MINUTE = 60.0
# Who makes up keys, where any will do, makes us forget the oldest, not fill the memory.
_MOST_KEYS = 1_000


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


class Rate:
    """So many requests a second for each key, after a first burst: a token bucket each."""

    def __init__(self, *, per_second: float, burst: float, clock: Clock) -> None:
        """Takes the requests a second, how many may come at once after a pause, and what tells the seconds."""
        self._per_second = per_second
        self._burst = max(1.0, burst)
        self._clock = clock
        self._buckets: OrderedDict[bytes, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: bytes) -> float:
        """Lets one request of a key through, or gives the seconds until the next one may come."""
        with self._lock:
            now = self._clock()
            bucket = self._buckets.setdefault(key, _Bucket(self._burst, now))
            self._buckets.move_to_end(key)
            if len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
            # A clock that was set back must not lock anybody out.
            passed = max(0.0, now - bucket.filled_at)
            bucket.tokens = min(self._burst, bucket.tokens + passed * self._per_second)
            bucket.filled_at = now
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return 0.0
            return (1 - bucket.tokens) / self._per_second


class RateLimit:
    """Stands behind the guard and before every route of the API; what else the platform has goes through."""

    def __init__(self, app: ASGIApp, *, runs_per_second: float, requests_per_minute: float, clock: Clock) -> None:
        """Takes both limits, each for one key, and what tells the seconds."""
        self._app = app
        self._runs = Rate(per_second=runs_per_second, burst=runs_per_second, clock=clock)
        self._requests = Rate(per_second=requests_per_minute / _MINUTE, burst=requests_per_minute, clock=clock)
        self._said = (
            f"There are more than {runs_per_second:g} run requests a second",
            f"There are more than {requests_per_minute:g} requests a minute",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it with 429."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        key = hashlib.sha256(Headers(scope=scope).get("authorization", "").encode("utf-8", "surrogatepass")).digest()
        said, wait = self._said[1], self._requests.take(key)
        if not wait and scope["method"] == "POST" and _RUN_POST.fullmatch(path):
            said, wait = self._said[0], self._runs.take(key)
        if not wait:
            await self._app(scope, receive, send)
            return
        seconds = math.ceil(wait)
        refusal = api_answer(
            HTTPStatus.TOO_MANY_REQUESTS, f"{said}: try again in {seconds} s.", {"Retry-After": str(seconds)}
        )
        await refusal(scope, receive, send)
