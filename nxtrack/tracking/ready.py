"""Owns who is told, in the user's process and in mode `online`, that a run began or became ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nxtrack.settings import Settings


class Listener(Protocol):
    """Who is told. Both calls stand in the solver's way, so they must be quick."""

    def begun(self, settings: Settings) -> None:
        """A run is about to begin."""

    def ready(self, settings: Settings) -> None:
        """A run became ready for delivery."""


listeners: list[Listener] = []
