"""One platform: its options, store, payloads and signer, opened and closed together."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nxtrack.errors import ServerError
from nxtrack.server.database import Database
from nxtrack.server.files import Payloads
from nxtrack.server.signing import Signer, load_secret
from nxtrack.server.store import Store, StoredApplication

if TYPE_CHECKING:
    from pathlib import Path

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

    def close(self) -> None:
        """Closes the store."""
        self.store.close()


def open_platform(options: ServeOptions) -> Platform:
    """Opens, or makes, the data folder and all that is in it.

    Raises:
        ServerError: The folder cannot be used, or another platform is using it.
    """
    data = options.data.expanduser().absolute()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.chmod(0o700)
        store = Store(Database(data))
        try:
            platform = Platform(
                data=data,
                limits=options.limits,
                clock=options.clock,
                signer=Signer(load_secret(data / "secret"), options.clock),
                store=store,
                payloads=Payloads(data),
            )
            platform.sweep_uploads()
            platform.payloads.sweep(store.payloads())
        except BaseException:
            store.close()
            raise
    except OSError as error:
        raise ServerError(f"{data} cannot hold the platform's data: {error.strerror or error}.") from error
    return platform
