"""Disks that are full, small, read-only or gone."""

from __future__ import annotations

from faults.tally import Kind

KINDS: tuple[Kind, ...] = ()
