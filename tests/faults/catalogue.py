"""All kinds of faults, in the order of the table."""

from __future__ import annotations

from faults import answers, corruption, crowds, disks, errnos, kills, machine, power, wire
from faults.tally import Kind

KINDS: tuple[Kind, ...] = (
    *kills.KINDS,
    *errnos.KINDS,
    *disks.KINDS,
    *power.KINDS,
    *corruption.KINDS,
    *wire.KINDS,
    *answers.KINDS,
    *crowds.KINDS,
    *machine.KINDS,
)
