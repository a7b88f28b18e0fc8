"""Tracks decision models: captures solver runs on the local disk and delivers each to Nextmv Cloud, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nxtrack.delivery import background
from nxtrack.settings import configure
from nxtrack.tracking.ready import listeners
from nxtrack.tracking.state import current_run
from nxtrack.tracking.track import track

if TYPE_CHECKING:
    from nxtrack.delivery.report import FlushReport
    from nxtrack.tracking.run import Run

__all__ = ["FlushReport", "Run", "configure", "current_run", "flush", "track"]

# Tracking knows nothing of delivery; for `online` mode the two meet here.
listeners.append(background)


def __getattr__(name: str) -> object:
    # Names for annotations; what they need is loaded with the first run or flush.
    if name == "Run":
        from nxtrack.tracking.run import Run  # noqa: PLC0415

        return Run
    if name == "FlushReport":
        from nxtrack.delivery.report import FlushReport  # noqa: PLC0415

        return FlushReport
    raise AttributeError(f"module 'nxtrack' has no attribute {name!r}")


def flush(*, app_id: str | None = None, timeout: float | None = None, limit: int | None = None) -> FlushReport:
    """Delivers the runs that wait in the spool to Nextmv Cloud.

    Args:
        app_id: Deliver only runs of this application, and those that name none.
        timeout: Seconds after which no further run is begun.
        limit: How many runs to deliver at most.

    Returns:
        What was delivered, what the platform rejected, and how many runs wait still.

    Raises:
        SettingsError: No API key, or a setting that cannot be used; all runs are kept.
        SpoolError: The spool cannot be used.
    """
    # Here, as delivery needs requests, and whoever only tracks shall not pay for that.
    from nxtrack.delivery.flusher import flush_spool  # noqa: PLC0415
    from nxtrack.delivery.order import Order  # noqa: PLC0415

    return flush_spool(Order(app_id=app_id, timeout=timeout, limit=limit))
