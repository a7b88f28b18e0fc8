"""Owns the marker that tells a run again on the platform, and the search for it after an answer was lost.

The platform has no idempotency key. So every run carries its spool id in its description, and a run whose POST went
unanswered is looked for among the newest runs before it may be posted again.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nxtrack.errors import AnswerLost
from nxtrack.spool import owner

if TYPE_CHECKING:
    from nxtrack.cloud.application import Application
    from nxtrack.spool.records import Moment

_MARKER = re.compile(r"nxtrack:([0-9A-HJKMNP-TV-Z]{26})(?![0-9A-Za-z])")

MARGIN = timedelta(minutes=15)
"""How far the platform's clock may differ from ours before a run is searched for too short a way."""

LEAST_PAGES = 20
"""Pages of the platform's list that are looked through at least, whatever the clocks say."""

MOST_PAGES = 2000

PAGE = 50
"""Runs on a page of the platform's list, as far as seen."""


def marked(description: str | None, run_id: str) -> str:
    """Returns a description with the run's marker at its end."""
    marker = f"nxtrack:{run_id}"
    return f"{description}\n\n{marker}" if description else marker


def find(application: Application, wanted: dict[str, Moment]) -> dict[str, str]:
    """Looks for runs among the newest of an application.

    Args:
        application: Where they were posted.
        wanted: When each run, by its spool id, was posted.

    Returns:
        The platform's run id of each run that is there.

    Raises:
        CloudError: The list could not be read to its end, so nothing is known.
    """
    now = owner.moment()
    oldest = max(posted.age(now) for posted in wanted.values())
    horizon = datetime.now(UTC) - timedelta(seconds=oldest) - MARGIN
    found: dict[str, str] = {}
    number = 0
    for number, item in enumerate(application.list_runs(pages=MOST_PAGES)):
        for run_id in _MARKER.findall(item.description):
            if run_id in wanted:
                found.setdefault(run_id, item.id)
        if len(found) == len(wanted) or (number >= LEAST_PAGES * PAGE and _created(item.created_at, horizon) < horizon):
            return found
    if number + 1 >= MOST_PAGES * PAGE:
        raise AnswerLost(f"The list of runs of {application.id} is too long to be looked through.")
    return found


def _created(text: str, unknown: datetime) -> datetime:
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return unknown
    return created if created.tzinfo else created.replace(tzinfo=UTC)
