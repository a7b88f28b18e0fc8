"""Owns what a flush is asked to do, and who is told how it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nxtrack.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a flush is asked to do.

    Attributes:
        app_id: Deliver only runs of this application, and those that name none.
        timeout: Seconds after which no further run is begun.
        limit: How many runs to deliver at most.
        other_hosts: Take unfinished runs of other machines for dead.
    """

    app_id: str | None = None
    timeout: float | None = None
    limit: int | None = None
    other_hosts: bool = False

    def __post_init__(self) -> None:
        """Checks what is asked.

        Raises:
            SettingsError: It makes no sense.
        """
        try:
            sensible = (self.timeout is None or self.timeout >= 0) and (self.limit is None or self.limit >= 0)
        except TypeError:
            sensible = False
        if not sensible:
            raise SettingsError("A flush takes timeout as seconds and limit as a number of runs, both from 0 up.")


class Progress(Protocol):
    """Who is told how a flush goes on; called in the thread that flushes."""

    def found(self, number: int) -> None:
        """Told how many runs wait."""

    def settled(self, number: int) -> None:
        """Told how many of them are dealt with."""


class Silent:
    """Nobody is told."""

    def found(self, number: int) -> None:
        """Takes it, and says nothing."""

    settled = found
