"""Owns waiting for a remote run, through a network that comes and goes, and what a bad end of it raises."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from nxtrack.cloud.failures import one_line
from nxtrack.cloud.polling import GaveUp, PollingOptions, poll
from nxtrack.cloud.retries import HARMLESS
from nxtrack.errors import (
    AnswerLost,
    CloudError,
    NotFound,
    RunCanceled,
    RunEnded,
    RunFailed,
    StillRunning,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from nxtrack.cloud.application import Application
    from nxtrack.cloud.messages import RunInformation

_BLIND_LOOKS = 10
"""Looks in a row without an answer before waiting ends: with the default options some minutes."""


def wait_for_run(
    application: Application,
    run_id: str,
    options: PollingOptions,
    polled: Callable[[RunInformation], object] | None = None,
) -> RunInformation:
    """Waits until a run has ended; see `Application.wait_for_run`."""
    last: RunInformation | None = None
    blind = 0

    def look() -> RunInformation | None:
        nonlocal last, blind
        try:
            information = application.run_metadata(run_id)
        except HARMLESS:
            blind += 1
            if last is None or blind >= _BLIND_LOOKS:  # Who was never there is not waited for.
                raise
            return None
        last, blind = information, 0
        if polled is not None:
            polled(information)
        return information if information.metadata.is_final else None

    try:
        return poll(options, look)
    except GaveUp as reason:
        status = "not known to be over" if last is None else f"still {one_line(last.metadata.outcome, 20)}"
        error = StillRunning(
            f"Run {run_id} was {status} when waiting for it ended ({reason}), and goes on: `nxtrack result {run_id}` "
            "comes back to it.",
            run_id=run_id,
        )
    raise error


@contextlib.contextmanager
def way_back(run_id: str) -> Generator[None]:
    """Has what breaks off the waiting, be it a Ctrl-C or the network, tell how to come back to the run."""
    try:
        yield
    except (StillRunning, NotFound):  # The one tells it itself, and to the other there is no way.
        raise
    except (KeyboardInterrupt, CloudError) as error:
        error.add_note(f"Run {run_id} is not affected: `nxtrack result {run_id}` comes back to it.")
        raise


def bad_end(application: Application, information: RunInformation) -> RunEnded | None:
    """Returns the error of a run that has ended without a result, with what the platform's error log says."""
    run_id, metadata = one_line(information.id, 100), information.metadata
    if metadata.outcome not in {"failed", "canceled"}:
        return None
    log = ""
    try:
        said = application.run_error_log(information.id)
        if said is not None:
            log = "\n".join(text.rstrip("\n") for text in (said.error, said.stdout, said.stderr) if text)
    except (AnswerLost, TooLarge):
        pass  # It cannot be read or is too long, and that is no reason to keep silent about the run.
    if metadata.outcome == "canceled":
        return RunCanceled(f"Run {run_id} was canceled.", run_id=run_id, log=log)
    reason = one_line(metadata.error or (log.splitlines() or ["no reason given"])[-1]).rstrip(".")
    return RunFailed(f"Run {run_id} failed ({reason}): `nxtrack logs {run_id}` shows its log.", run_id=run_id, log=log)
