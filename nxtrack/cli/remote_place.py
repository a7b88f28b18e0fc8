"""Owns which run on the platform is meant by what was typed: its id there, or the id it has in the spool."""

from __future__ import annotations

import dataclasses
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nxtrack import settings as settings_module
from nxtrack.cli.output import complain, line
from nxtrack.cloud.application import Application
from nxtrack.cloud.client import Client
from nxtrack.cloud.limits import DEFAULT_LIMITS
from nxtrack.cloud.retries import HARMLESS
from nxtrack.errors import NotFound, RunNotFound, SettingsError
from nxtrack.spool import ids
from nxtrack.spool.store import spool

if TYPE_CHECKING:
    from collections.abc import Generator

    from nxtrack.cloud.limits import Limits
    from nxtrack.settings import Settings
    from nxtrack.spool.records import Posted

# Ids of the platform have a dash in them; those of the spool, and their beginnings, have none.
_OF_SPOOL = re.compile(r"[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{1,26}")


@dataclasses.dataclass(frozen=True)
class Place:
    """A run on the platform.

    Attributes:
        application: The way to it.
        run_id: Its id there.
        flags: What has to be typed behind the id to get there, besides what the settings say; perhaps empty.
    """

    application: Application
    run_id: str
    flags: str

    @property
    def way_back(self) -> str:
        """The command that waits for it, in quotes."""
        return f"`{self.command('result')} --wait`"

    def command(self, name: str) -> str:
        """Returns a command about it: `input`, `output` (which is called `result`), ..."""
        return f"nxtrack {'result' if name == 'output' else name} {self.run_id}{self.flags}"

    @contextmanager
    def asked(self) -> Generator[None]:
        """Has it told which run it was, when the platform does not have it or cannot be asked."""
        try:
            yield
        except NotFound as error:
            application = self.application
            raise NotFound(
                f"Application {application.id} on {application.client.endpoint} has no run {line(self.run_id, 100)} "
                f"({error.status}): look whether the id is right, or give `--app-id`.",
                status=error.status,
                detail=error.detail,
            ) from None
        except HARMLESS:
            complain(
                f"Nothing could be learned of run {line(self.run_id, 100)}, which is not affected: {self.way_back} "
                "comes back to it."
            )
            raise


@contextmanager
def application(app_id: str | None, limits: Limits = DEFAULT_LIMITS) -> Generator[Application]:
    """Gives the application that is meant, with a client for as long as the block lasts.

    Args:
        app_id: Its id, if it was typed.
        limits: What payloads may weigh.

    Raises:
        SettingsError: None is named, or there is no API key.
    """
    settings = settings_module.current()
    chosen = app_id or settings.app_id
    if not chosen:
        raise SettingsError("No application: set NEXTMV_APP_ID, or give `--app-id`.")
    with Client() as client:
        yield Application(chosen, client, limits=limits, default_instance_id=settings.instance_id)


@contextmanager
def found(text: str, app_id: str | None, limits: Limits = DEFAULT_LIMITS) -> Generator[Place]:
    """Gives the run that is meant, with a client for as long as the block lasts.

    Args:
        text: The run's id on the platform; or the id, or its beginning, of a run in the spool that was delivered.
        app_id: Its application, if it was typed; one of the spool has its own.
        limits: What payloads may weigh.

    Raises:
        RunNotFound: The spool has no such run, or the platform does not have it yet.
        SettingsError: No application is known, or the run was delivered to another platform.
    """
    settings = settings_module.current()
    posted = _delivered(text, settings)
    with application(posted.app_id if posted else app_id, limits) as chosen:
        if posted and posted.place != f"{chosen.client.endpoint}{chosen.endpoint}":
            raise SettingsError(f"Run {text} was delivered to {posted.place}: set NEXTMV_ENDPOINT to get there.")
        yield place(chosen, posted.run_id if posted else text)


def place(chosen: Application, run_id: str) -> Place:
    """Returns where a run of an application is."""
    known = settings_module.current().app_id == chosen.id
    return Place(chosen, run_id, "" if known else f" --app-id {chosen.id}")


def _delivered(text: str, settings: Settings) -> Posted | None:
    """Returns what the spool knows of a run's delivery; None for what is no id of the spool."""
    if not _OF_SPOOL.fullmatch(text):
        return None
    runs = spool(settings_module.spool_dir(settings))
    wanted = text.upper()
    if not ids.is_id(wanted) and not any(entry.run_id.startswith(wanted) for entry in runs.entries()):
        return None
    entry = runs.find(text)
    posted = runs.read(entry).posted
    if posted is None:
        raise RunNotFound(
            f"Run {entry.run_id} is {entry.state} in the spool and not known to be on the platform: `nxtrack flush` "
            f"delivers what is ready, `nxtrack show {entry.run_id}` has what was captured."
        )
    return posted
