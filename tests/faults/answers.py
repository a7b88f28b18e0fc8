"""Platforms and stores that refuse, fail, lag and babble."""

from __future__ import annotations

from faults.tally import Kind

KINDS: tuple[Kind, ...] = ()
