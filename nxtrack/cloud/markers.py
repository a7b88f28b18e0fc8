"""Owns the marker that tells a run again on the platform, and the search for it after an answer was lost.

The platform has no idempotency key. So every run that we post carries an id of ours in its description, and one whose
POST went unanswered is looked for among the newest runs before it may be posted again.
"""

from __future__ import annotations

import re
import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from nxtrack.errors import CloudError

if TYPE_CHECKING:
    from nxtrack.cloud.application import Application

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
_MARKER = re.compile(rf"nxtrack:([{_LETTERS}]{{{_LENGTH}}})(?![0-9A-Za-z])")

MARGIN: Final = timedelta(minutes=15)
"""How much farther back than a run's age it is looked for."""

LEAST_PAGES: Final = 20
"""Pages of the platform's list that are looked through at least, whatever the clocks say."""

MOST_PAGES: Final = 2000

PAGE: Final = 50
"""Runs on a page of the platform's list, as far as seen."""

_NO_TIME = datetime.max.replace(tzinfo=UTC)


def new_id() -> str:
    """Returns an id for a run that has none in the spool; of the same form, and random all through."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def marked(description: str | None, run_id: str) -> str:
    """Returns a description with the run's marker at its end."""
    marker = f"nxtrack:{run_id}"
    return f"{description}\n\n{marker}" if description else marker


class Listing:
    """The newest runs of an application, read once and only as far as somebody has to look.

    Several runs may be looked for at once, in any threads; a run that was posted after the reading began needs a new
    listing.
    """

    def __init__(self, application: Application) -> None:
        """Reads nothing yet."""
        self._items = application.list_runs(pages=MOST_PAGES)
        self._lock = threading.Lock()
        self._found: dict[str, str] = {}
        self._read = 0
        self._newest: datetime | None = None
        self._oldest = _NO_TIME
        self._whole = False
        self._broken: CloudError | None = None

    def find(self, run_id: str, reach: timedelta) -> str | None:
        """Looks for a run.

        Args:
            run_id: The id in its marker.
            reach: How far back from the newest run, by the platform's own clock.

        Returns:
            The platform's id of it, or None when it is not there.

        Raises:
            CloudError: The list could not be read as far back as needed, so nothing is known.
        """
        with self._lock:
            while run_id not in self._found and not self._whole and not self._is_past(reach):
                self._read_on()
            return self._found.get(run_id)

    def _is_past(self, reach: timedelta) -> bool:
        # By the platform's own times alone: our clock may be years off, and its newest run is no later than its now.
        if self._read < LEAST_PAGES * PAGE or self._newest is None:
            return False
        return self._newest - self._oldest > reach

    def _read_on(self) -> None:
        if self._broken is not None:
            # An iterator that raised is at its end from then on, which must not pass for the end of the list.
            raise self._broken
        try:
            item = next(self._items, None)
        except CloudError as error:
            self._broken = error
            raise
        if item is None:
            self._whole = True
            return
        self._read += 1
        self._oldest = _created(item.created_at, self._oldest)
        if self._newest is None and self._oldest is not _NO_TIME:
            self._newest = self._oldest
        for run_id in _MARKER.findall(item.description):
            self._found.setdefault(run_id, item.id)


def _created(text: str, unknown: datetime) -> datetime:
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return unknown
    return created if created.tzinfo else created.replace(tzinfo=UTC)
