"""Owns what becomes known of a solve whose process died: what the solver had said of it in the run's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from nxtrack import solverlogs
from nxtrack.errors import SpoolError
from nxtrack.spool import captures, logparts
from nxtrack.spool.artefacts import Source
from nxtrack.spool.records import Asset, Metric

if TYPE_CHECKING:
    from nxtrack.solverlogs.solve import Reading
    from nxtrack.spool.layout import Layout
    from nxtrack.spool.reader import RunRecord

KILLED = "killed"
"""The status of a solve that was going on when its process died."""


def found(paths: Layout, run: RunRecord, *, died: bool) -> list[Metric | Asset]:
    """Returns what the run's process would have recorded of its solver, had it come to that.

    Args:
        paths: Where things stand in the spool.
        run: The run.
        died: Its process died, rather than that it could not write how the run ended.
    """
    if run.start.unread or (run.output is not None and not run.output.growing):
        return []
    reading = _read(paths, run)
    if reading is None:
        return []
    metrics = dict(reading.metrics)
    if died and not reading.over and metrics["status"] == "unknown":
        metrics["status"] = KILLED
    known = {metric.name for metric in run.metrics}
    records: list[Metric | Asset] = [
        Metric(name=name, value=value) for name, value in metrics.items() if name not in known
    ]
    chart = reading.chart(solverlogs.NAMES)
    if chart is not None:
        records.append(Asset(data=msgspec.Raw(msgspec.json.encode(chart))))
    return records


def _read(paths: Layout, run: RunRecord) -> Reading | None:
    try:
        with Source(path=captures.path_of_log(paths, run.start)).open() as file:
            return solverlogs.read(logparts.ends(file.fileno(), solverlogs.MOST_READ, run.start.max_log))
    except (OSError, SpoolError):
        return None
    except Exception:  # noqa: BLE001  (a log may be anything; the run is delivered without what it says)
        return None
