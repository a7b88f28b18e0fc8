"""One platform: its limits, store, payloads, runner and signer, opened and closed together."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from nxtrack.cloud.messages import FINAL_STATUSES
from nxtrack.errors import ServerError
from nxtrack.server.data.database import Database
from nxtrack.server.data.files import Payloads
from nxtrack.server.data.queue import RunQueue
from nxtrack.server.data.store import Store, StoredApplication
from nxtrack.server.execution.instances import Instances
from nxtrack.server.execution.livelogs import LiveLogs, read_logs, read_part
from nxtrack.server.execution.runner import Runner
from nxtrack.server.signing import Signer, load_secret

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from nxtrack.server.data.records import Run
    from nxtrack.server.options import Clock, Limits, ServeOptions

_SWEEP_SECONDS = 3600


@dataclass(kw_only=True)
class Platform:
    """What every endpoint works with."""

    data: Path
    limits: Limits
    clock: Clock
    signer: Signer
    store: Store
    payloads: Payloads
    instances: Instances
    runner: Runner
    _swept: float = 0.0
    _sweeping: threading.Lock = field(default_factory=threading.Lock)

    def application(self, name: str) -> StoredApplication:
        """What an application is when it is made by its first use."""
        return StoredApplication(
            id=name, name=name, description="", default_instance=None, created_at=self.microseconds()
        )

    def microseconds(self) -> int:
        """The time in microseconds since 1970."""
        return int(self.clock() * 1_000_000)

    def sweep_uploads(self) -> None:
        """Forgets uploads that expired an hour ago and more; looks once an hour, however often it is called."""
        now = self.clock()
        with self._sweeping:
            if now < self._swept + _SWEEP_SECONDS:
                return
            self._swept = now
        self.payloads.remove(self.store.expire_uploads(int(now) - _SWEEP_SECONDS))

    def instance_names(self) -> list[str]:
        """The instances that are registered."""
        return self.instances.names

    def cancel(self, run: Run) -> bool:
        """Cancels a queued or running run, and waits until it is final and its processes are gone, bounded.

        Returns:
            Whether it is canceled now and was not final before.
        """
        return self.runner.cancel(run)

    def remove(self, run: Run) -> None:
        """Forgets a run and its payloads; one that is queued or running is canceled first."""
        if run.status not in FINAL_STATUSES:
            self.cancel(run)
        self.payloads.remove(self.store.remove_run(run))

    def cancel_all(self, application: str) -> None:
        """Cancels all queued and running runs of an application, in the manner of `cancel`."""
        self.runner.cancel_all(application)

    def logs(self, run: Run, *, last: int | None = None) -> bytes:
        """A run's logs so far, or only their `last` bytes, whether it is running or final."""
        return read_logs(self.runner, run, last=last)

    def live_logs(self, run: Run, since: int) -> LiveLogs:
        """The next part of a run's logs from an offset in bytes on; the run as it was before the call."""
        return read_part(self.runner, run, since)

    def close(self) -> None:
        """Stops what runs, then closes the store."""
        self.runner.close()
        self.store.close()


def platform_of(request: Request) -> Platform:
    """The platform that serves a request."""
    return cast("Platform", request.app.state.platform)


def open_platform(options: ServeOptions) -> Platform:
    """Opens, or makes, the data folder and all that is in it.

    Raises:
        ServerError: The folder cannot be used, or another platform is using it.
    """
    data = options.data.expanduser().absolute()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.chmod(0o700)
        # Before the data is opened: instances that cannot be used leave it alone.
        instances = Instances(options.instances)
        database = Database(data)
        store = Store(database)
        try:
            payloads = Payloads(data)
            runner = Runner(
                queue=RunQueue(database),
                payloads=payloads,
                instances=instances,
                limits=options.limits,
                clock=options.clock,
                jobs=options.jobs,
                time_limit=options.time_limit,
            )
            platform = Platform(
                data=data,
                limits=options.limits,
                clock=options.clock,
                signer=Signer(load_secret(data / "secret"), options.clock),
                store=store,
                payloads=payloads,
                instances=instances,
                runner=runner,
            )
            # What ran when a platform was killed had written drafts, which the sweep would take.
            runner.recover()
            platform.sweep_uploads()
            payloads.sweep(store.payloads())
            runner.resume()
        except BaseException:
            store.close()
            raise
    except OSError as error:
        raise ServerError(f"{data} cannot hold the platform's data: {error.strerror or error}.") from error
    return platform
