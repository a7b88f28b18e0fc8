"""Connections that break, stall and half-close at every byte."""

from __future__ import annotations

from faults.tally import Kind

KINDS: tuple[Kind, ...] = ()
