"""Owns the POST of a new run outside of the spool: what it asks for, and that it is never blindly repeated.

A run whose answer was lost is looked for among the newest ones before it is sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from nxtrack.cloud import markers
from nxtrack.cloud.messages import ContentFormat, RunConfiguration, RunFormat
from nxtrack.cloud.payloads import json_of
from nxtrack.cloud.retries import UNDONE
from nxtrack.errors import AnswerLost, CloudError, Redirected, RunUnconfirmed, SettingsError

if TYPE_CHECKING:
    from nxtrack.cloud.application import Application
    from nxtrack.cloud.messages import Form, NewRun

POSTS: Final = 3
"""How often a run is posted at most, each time after the one before has not shown up."""

_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_logger = logging.getLogger("nxtrack")


def configured(
    configuration: RunConfiguration | Mapping[str, Any] | None, input_form: Form, output_form: Form
) -> RunConfiguration:
    """Returns the configuration of a new run, with formats.

    Args:
        configuration: What is asked for, whose formats win.
        input_form: The format of the input, as far as it shows in how it was given.
        output_form: The same of the output.

    Raises:
        SettingsError: What is asked for is no configuration.
    """
    try:
        chosen = msgspec.convert(configuration or {}, RunConfiguration)
    except ValueError as error:
        raise SettingsError(f"The configuration cannot be used ({error}).") from None
    formats = chosen.format or RunFormat(input=ContentFormat(type=input_form))
    output = formats.output or ContentFormat(type=output_form)
    return msgspec.structs.replace(chosen, format=msgspec.structs.replace(formats, output=output))


def options_of(options: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Returns a run's options as the platform takes them: text, and of all other values their JSON.

    Raises:
        Rejected: A value has none.
        TypeError: They are no mapping.
    """
    if not options:
        return None
    if not isinstance(cast("object", options), Mapping):
        raise TypeError(f"Options are a mapping of names to values, and no {type(options).__name__}.")
    return {
        str(name): value if isinstance(value, str) else json_of(value, f"Option {name}").decode()
        for name, value in options.items()
    }


def post_surely(application: Application, message: NewRun, instance_id: str | None, *, settle: float) -> str:
    """Posts a run so that the platform has it once.

    What surely had no effect is repeated. When an answer is lost, the newest runs are looked through for the run's
    marker, for as long as it is given to show up there, and only then it is posted again. After a redirect, which does
    not say what was done before, it is looked for as well, and not posted again.

    Args:
        application: Where to.
        message: The run; the marker is added to its description.
        instance_id: The instance, if it is not the application's default.
        settle: Seconds that it is given.

    Returns:
        The run's id.

    Raises:
        RunUnconfirmed: Whether the platform has it is not known.
        Redirected: The endpoint is not the platform's.
        CloudError: The platform surely has not taken it.
    """
    marker = markers.new_id()
    message = msgspec.structs.replace(message, description=markers.marked(message.description, marker))
    search = _Search(application, marker)
    patience = application.client.patience
    try:
        for _ in range(POSTS):
            try:
                return patience.repeat(lambda: application.post_run(message, instance_id=instance_id), UNDONE)
            except (AnswerLost, Redirected) as error:
                lost = error
            _logger.warning("%s Looking for the run, up to %.0f s, before it is sent again.", lost, settle)
            found = search.until(time.monotonic() + settle)
            if found is not None:
                return found
            if isinstance(lost, Redirected):
                raise lost
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(str(search.unconfirmed("The submission was interrupted")))
        raise
    raise search.unconfirmed(f"No answer came to any of {POSTS} tries to submit the run")


class _Search:
    """The search for one run, by its marker."""

    def __init__(self, application: Application, marker: str) -> None:
        self._application = application
        self._marker = marker
        self._began = time.monotonic()

    def until(self, end: float) -> str | None:
        """Returns the run's id, or None when it is not in a list that was begun after `end`.

        Raises:
            RunUnconfirmed: That list cannot be read.
            Redirected: No list is there either.
        """
        pause = max(_SHORTEST_PAUSE, self._application.client.patience.backoff)
        while True:
            is_last = time.monotonic() >= end
            try:
                found = self._look()
            except Redirected:
                raise
            except CloudError as error:
                if is_last:
                    raise self.unconfirmed(str(error).rstrip(".")) from None
            else:
                if found is not None or is_last:
                    return found
            if self._application.client.patience.sleep(min(pause, max(0.0, end - time.monotonic()))):
                raise self.unconfirmed("Its answer was lost, and there was no time to look for it")
            pause = min(2 * pause, _LONGEST_PAUSE)

    def unconfirmed(self, reason: str) -> RunUnconfirmed:
        marker = f"nxtrack:{self._marker}"
        return RunUnconfirmed(
            f"{reason}; the platform may have taken the run: look for {marker} in the descriptions of its newest runs "
            "before you submit it again.",
            marker=marker,
        )

    def _look(self) -> str | None:
        reach = timedelta(seconds=time.monotonic() - self._began) + markers.MARGIN
        return markers.Listing(self._application).find(self._marker, reach)
