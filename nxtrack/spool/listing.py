"""Owns what a spool is seen to hold: its runs by their names, those that wait, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nxtrack.spool import layout

if TYPE_CHECKING:
    from datetime import datetime

    from nxtrack.spool.layout import State


class Entry(NamedTuple):
    """A run as the spool's listing knows it.

    Attributes:
        died: Its process died and recovery has not yet spoken for it; `state` is already what recovery will make it.
    """

    run_id: str
    state: State
    died: bool = False


class Waiting:
    """Runs that can be delivered, held as the names of their files: a hundred thousand of them take 10 MB."""

    def __init__(self, names: list[str]) -> None:
        """Takes the names of their files, oldest first."""
        # What is unconfirmed comes last: whatever makes it so must not keep the others waiting.
        unconfirmed = [name for name in names if name.endswith(".unconfirmed")]
        ready = [name for name in names if not name.endswith(".unconfirmed")]
        self._names = [name for name in (*ready, *unconfirmed) if layout.split_name(name)]

    def __len__(self) -> int:
        """Counts them."""
        return len(self._names)

    def __getitem__(self, index: int) -> Entry:
        """Returns one of them, by its place in the order in which they are to be delivered."""
        run = layout.split_name(self._names[index])
        assert run is not None
        return Entry(run[0], "unconfirmed" if run[1] == "unconfirmed" else "ready")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a spool holds: runs by state, quarantined files, lost runs, bytes, and the age of the oldest ready run.

    Attributes:
        counts: Number of runs in each state.
        died: How many of the ready runs are of processes that died, and wait for recovery.
        quarantined: Damaged runs that were set aside.
        lost: Runs that could not be recorded.
        size: Bytes of all files.
        oldest_ready: When the oldest ready run began.
        oldest_active: When the oldest active run began.
    """

    counts: dict[State, int]
    died: int
    quarantined: int
    lost: int
    size: int
    oldest_ready: datetime | None
    oldest_active: datetime | None
