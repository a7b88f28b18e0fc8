"""Every error a system call may give, at each system call of a solve and of a flush."""

from __future__ import annotations

from faults.tally import Kind

KINDS: tuple[Kind, ...] = ()
