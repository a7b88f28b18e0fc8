"""Owns the search for spooled runs whose POST went unanswered: which reading of the platform's list tells of them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from nxtrack.cloud import markers
from nxtrack.spool import owner

if TYPE_CHECKING:
    from nxtrack.cloud.application import Application
    from nxtrack.spool.records import Moment

REBOOT_MARGIN = timedelta(days=1)
"""`markers.MARGIN` when the machine was started again meanwhile: then only the wall clock tells the age, and may be
set."""


class Listing:
    """One reading of the newest runs of an application; see `markers.Listing`.

    Attributes:
        began: When it began.
    """

    def __init__(self, application: Application) -> None:
        """Reads nothing yet."""
        self.began = owner.moment()
        self._runs = markers.Listing(application)

    def find(self, run_id: str, posted: Moment) -> str | None:
        """Looks for a run.

        Args:
            run_id: Its id in the spool.
            posted: When it was posted.

        Returns:
            The platform's id of it, or None when it is not there.

        Raises:
            CloudError: The list could not be read as far back as needed, so nothing is known.
        """
        now = owner.moment()
        margin = markers.MARGIN if posted.boot and posted.boot == now.boot else REBOOT_MARGIN
        return self._runs.find(run_id, timedelta(seconds=posted.age(now)) + margin)


class Listings:
    """The listing of one application that is in use, shared by the runs that are looked for."""

    def __init__(self) -> None:
        """Has none yet."""
        self._lock = threading.Lock()
        self._current: Listing | None = None

    def since(self, application: Application, posted: Moment) -> Listing:
        """Returns a listing that began after a run was posted."""
        with self._lock:
            listing = self._current
            if listing is None or not posted.is_before(listing.began):
                listing = self._current = Listing(application)
            return listing

    def forget(self, listing: Listing) -> None:
        """Has the next one begin anew: this one broke off, or is too early to tell."""
        with self._lock:
            if self._current is listing:
                self._current = None
