"""All kinds of faults, in the order of the table.

| folder | what is broken there |
|---|---|
| `processes` | users' processes and flushers: killed at every system call, and each call answered by every error |
| `storage` | the disk: full, small, read-only, gone, cut from power |
| `files` | the spool's files: flipped, cut, joined, replaced by something foreign |
| `network` | what is between a flush and the platform, the platform's answers, the object store |
| `crowds` | many at once, clocks that jump, online mode, the watch |

`bench` has the platform that all of them deliver to and the judge of what arrived, `tally` what is counted, `machine`
faults in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults import machine
from faults.crowds import crowds
from faults.files import corruption
from faults.network import answers, payloads, wire
from faults.processes import errnos, kills
from faults.storage import disks, power

if TYPE_CHECKING:
    from faults.tally import Kind

KINDS: tuple[Kind, ...] = (
    *kills.KINDS,
    *errnos.KINDS,
    *disks.KINDS,
    *power.KINDS,
    *corruption.KINDS,
    *wire.KINDS,
    *answers.KINDS,
    *payloads.KINDS,
    *crowds.KINDS,
    *machine.KINDS,
)
