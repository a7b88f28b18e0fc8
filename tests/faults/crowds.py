"""Many writers and flushers at once, clocks that jump, online mode, the watch."""

from __future__ import annotations

from faults.tally import Kind

KINDS: tuple[Kind, ...] = ()
