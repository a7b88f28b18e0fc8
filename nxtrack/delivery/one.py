"""Owns the delivery of one run: what is still to do by its journal, its uploads, its post, and each outcome's name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, get_args

from nxtrack.cloud.markers import marked
from nxtrack.cloud.messages import ContentFormat, ExternalResult, Form, NewRun, RunConfiguration, RunFormat
from nxtrack.cloud.retries import MAX_BACKOFF, TRANSFER, UNDONE
from nxtrack.delivery.pacing import Aborted
from nxtrack.errors import AnswerLost, CloudError, NotReached, RateLimited, Redirected, Refused
from nxtrack.spool import owner
from nxtrack.spool.artefacts import Source
from nxtrack.spool.records import Absent, Artefact, Posted, Posting, Unsent, Uploaded, now

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from nxtrack.cloud.application import Application
    from nxtrack.cloud.retries import Patience
    from nxtrack.delivery import reconcile
    from nxtrack.delivery.pacing import Pacer
    from nxtrack.spool.claims import ClaimedRun

UPLOAD_FRESH_SECONDS = 600.0
"""An upload is used again after a crash for so long; its URL is valid for 15 minutes ("Track runs", step 1)."""

_MEDIA_TYPES: Final[dict[Form, str]] = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "csv-archive": "application/gzip",
    "multi-file": "application/gzip",
}

NO_INPUT = Source(data=b"{}")
"""What stands for the input of a run that had none: the platform wants one ("Track runs", step 5)."""


class Unconfirmed(Exception):
    """The run was posted, and whether the platform took it is not known yet."""


class Unsettled(Unconfirmed):
    """That is so for no fault of the platform's: it is too early to tell, or another platform has to be asked."""


@dataclass(frozen=True, slots=True)
class Line:
    """What deliveries share: how to reach the platform, and how fast.

    Attributes:
        place: Endpoint and application, as the journal names them.
        settle: Seconds that a posted run is given to show up in the platform's list.
        patience: How requests that surely or harmlessly failed are repeated.
        durable: Journal frames that a power cut must not undo are fsynced.
        posts: The pace of run posts.
        abort: Set when the flush is to stop at once.
        listings: The platform's list of runs, as far as it was read.
    """

    application: Application
    place: str
    settle: float
    patience: Patience
    durable: bool
    posts: Pacer
    abort: threading.Event
    listings: reconcile.Listings


class Delivery:
    """One claimed run on its way. Each step may run in another thread; the steps of a run never overlap but uploads.

    Attributes:
        claimed: The run.
        line: Where it goes.
    """

    def __init__(self, claimed: ClaimedRun, line: Line) -> None:
        """Takes a run that only this process may deliver."""
        self.claimed = claimed
        self.line = line

    def prepare(self) -> list[Callable[[], None]]:
        """Finds what is still to do.

        Returns:
            The uploads to make, side by side, before `post`; none when the run is posted already.

        Raises:
            Unconfirmed: It was posted, is not in the platform's list, and may still show up there.
            CloudError: The platform's list could not be read, so whether it was taken is still not known.
            RunCorrupt: An artefact is not what was recorded.
        """
        run = self.claimed.run
        if run.posting is not None:
            self._reconcile(run.posting)
        if run.posted is not None:
            return []
        uploads: list[Callable[[], None]] = []
        moment = owner.moment()
        for kind in get_args(Artefact):
            known = run.uploads.get(kind)
            if known and known.place == self.line.place and known.moment.age(moment) < UPLOAD_FRESH_SECONDS:
                continue
            run.uploads.pop(kind, None)
            source = self.claimed.artefact(kind) or (NO_INPUT if kind == "input" else None)
            if source is not None:
                uploads.append(partial(self._upload, kind, source))
        return uploads

    def post(self) -> Posted:
        """Posts the run, once; a POST that surely had no effect is repeated.

        Raises:
            Unconfirmed: The answer was lost: the platform may have taken it.
            Refused: The platform said no.
            NotReached: The platform cannot be reached.
        """
        if self.claimed.run.posted is not None:
            return self.claimed.run.posted
        message = self.message()
        return self.line.patience.repeat(lambda: self._post_once(message), UNDONE)

    def message(self) -> NewRun:
        """Returns the body of the POST ("Track runs", step 5)."""
        run = self.claimed.run
        start, end = run.start, run.end
        ids = {kind: upload.upload_id for kind, upload in run.uploads.items()}
        assert end is not None
        return NewRun(
            upload_id=ids["input"],
            name=start.name or start.source or None,
            description=marked(start.description, start.id),
            options=start.options or None,
            configuration=RunConfiguration(
                format=RunFormat(
                    input=ContentFormat(type=run.form("input")), output=ContentFormat(type=run.form("output"))
                )
            ),
            batch_experiment_id=start.batch_experiment_id,
            result=ExternalResult(
                status=end.status,
                output_upload_id=ids.get("output"),
                error_upload_id=ids.get("logs"),
                error_message=end.error if end.status == "failed" else None,
                execution_duration=end.duration_ms,
                metrics_upload_id=ids.get("metrics"),
                assets_upload_id=ids.get("assets"),
            ),
        )

    def _reconcile(self, posting: Posting) -> None:
        run_id, line = self.claimed.run_id, self.line
        if posting.place not in {"", line.place}:
            raise Unsettled(f"Run {run_id} may have been taken by {posting.place}: flush there again.")
        listing = line.listings.since(line.application, posting.moment)
        try:
            found = listing.find(run_id, posting.moment)
        except CloudError:
            line.listings.forget(listing)
            raise
        if found is not None:
            self._posted(found)
        elif posting.moment.age(listing.began) < line.settle:
            line.listings.forget(listing)
            raise Unsettled(f"Run {run_id} may have been taken; the next flush looks before sending again.")
        else:
            self.claimed.checkpoint(Absent(), durable=line.durable)

    def _upload(self, kind: Artefact, source: Source) -> None:
        media_type = _MEDIA_TYPES[self.claimed.run.form(kind)]

        def once() -> Uploaded:
            application = self.line.application
            where = application.upload_url()
            with source.open() as file:
                application.client.put(where.upload_url, file, source.size, content_type=media_type)
            return Uploaded(artefact=kind, upload_id=where.upload_id, place=self.line.place, moment=owner.moment())

        # An upload may be repeated at will: it has no effect before the run is posted with its id.
        record = self.line.patience.repeat(once, TRANSFER)
        self.claimed.checkpoint(record)

    def _post_once(self, message: NewRun) -> Posted:
        line, claimed = self.line, self.claimed
        line.posts.wait(line.abort)
        claimed.checkpoint(Posting(place=line.place, moment=owner.moment()), durable=line.durable)
        try:
            run_id = line.application.post_run(message, instance_id=claimed.run.start.instance_id)
        except (AnswerLost, Redirected) as error:
            raise Unconfirmed(str(error)) from error
        except RateLimited as error:
            claimed.checkpoint(Unsent())
            line.posts.refused(min(error.retry_after or 0.0, MAX_BACKOFF))
            raise
        except (NotReached, Refused, Aborted):
            # Not connected, refused, or stopped before: the platform surely has not taken it.
            claimed.checkpoint(Unsent())
            raise
        line.posts.accepted()
        return self._posted(run_id)

    def _posted(self, run_id: str) -> Posted:
        record = Posted(run_id=run_id, app_id=self.line.application.id, place=self.line.place, at=now())
        self.claimed.checkpoint(record)
        return record
