"""Power cuts."""

from __future__ import annotations

from faults.tally import Kind

KINDS: tuple[Kind, ...] = ()
