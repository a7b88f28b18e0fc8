"""Owns the options of a run as they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nxtrack.cli.output import line
from nxtrack.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence


def options_of(texts: Sequence[str]) -> dict[str, str]:
    """Returns a run's options from texts such as `limit=10`.

    Raises:
        SettingsError: One is no such text, or there twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals or name in found:
            why = "it is given twice" if name in found else "give it as name=value"
            raise SettingsError(f"--option {line(text, 80)}: {why}.")
        found[name] = value
    return found
