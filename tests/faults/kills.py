"""Processes killed at every system call, and in every other way."""

from __future__ import annotations

from faults.tally import Kind

KINDS: tuple[Kind, ...] = ()
