"""Owns following a run's logs while they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nxtrack.cloud.messages import FINAL_STATUSES, LogEntry
from nxtrack.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.cloud.runs import Runs

SHORTEST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 20.0
_PAUSE = 2.0


def follow(runs: Runs, run_id: str) -> Iterator[LogEntry]:
    """Yields what a run logs; see `Runs.follow_logs`."""
    since = ""
    while True:
        try:
            page = runs.live_logs(run_id, since)
        except NotFound:
            if since:
                raise
            break
        yield from page.items
        if page.status_v2 in FINAL_STATUSES:
            return
        since = page.next_page_token
        runs.client.patience.sleep(min(max(page.next_available_in_seconds, SHORTEST_PAUSE), LONGEST_PAUSE))
    yield from _differences(runs, run_id)


def _differences(runs: Runs, run_id: str) -> Iterator[LogEntry]:
    """Yields the same of a platform that has no live logs, by what is new of all logs at each look."""
    shown = 0
    while True:
        metadata = runs.run_metadata(run_id).metadata  # before the logs, so that the last ones are not missed
        logs = runs.run_logs(run_id)
        if len(logs) > shown:
            yield LogEntry(timestamp="", log=logs[shown:])
            shown = len(logs)
        if metadata.is_final:
            return
        runs.client.patience.sleep(_PAUSE)
