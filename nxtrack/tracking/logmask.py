"""Owns what is masked in the log of one run: line by line by the functions of `redact`, then by its patterns and names.

Functions are the program's own. They may take their time, print and log, so none of our locks is held while one runs,
and what it prints or logs meanwhile is in no run's log: else it would get that as well, and so on for ever.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from nxtrack.spool.masks import MASK
from nxtrack.tracking import streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.tracking.values import Redaction

_MOST_REMEMBERED = 1 << 16
"""Lines that are known again; each takes some hundred bytes."""


class _Busy(threading.local):
    """Whether this thread is in a function of `redact`."""

    value = False


_busy = _Busy()


class LogMask:
    """Masks the text of one run's log.

    Attributes:
        failed: How many lines were masked as a function failed on them.
    """

    __slots__ = ("_lock", "_redaction", "_remembered", "failed")

    def __init__(self, redaction: Redaction) -> None:
        """Takes what to look for."""
        self.failed = 0
        self._redaction = redaction
        self._remembered: set[int] | None = None
        self._lock = threading.RLock()

    def remember(self) -> None:
        """Has lines that are masked known again by `again`, so that no function gets what it has already changed."""
        if self._redaction.functions:
            self._remembered = set()

    def text(self, text: str) -> str:
        """Masks a text of whole lines; of what a function logs itself nothing is left."""
        if self._redaction.functions:
            text = self._by_functions(text, ())
        text = self._redaction.log_text(text)
        remembered = self._remembered
        if remembered is not None and len(remembered) < _MOST_REMEMBERED:
            remembered.update(map(hash, text.split("\n")))
        return text

    def again(self, data: bytes) -> bytes:
        """Masks whole lines of the log itself, some of which were masked before they were written."""
        text = data.decode("utf-8", "surrogateescape")
        if self._redaction.functions:
            text = self._by_functions(text, self._remembered or ())
        return self._redaction.log_text(text).encode("utf-8", "surrogateescape")

    def _by_functions(self, text: str, known: set[int] | tuple[()]) -> str:
        if _busy.value:
            return ""
        *lines, rest = text.split("\n")
        _busy.value = True
        try:
            with streams.unheard():
                masked = [line if hash(line) in known else self._line(line) for line in lines]
                masked.append(rest if not rest or hash(rest) in known else self._line(rest))
        finally:
            _busy.value = False
        return "\n".join(masked)

    def _line(self, line: str) -> str:
        body = line.rstrip("\r")  # the other half of a newline, or where a progress bar goes on
        # Bytes that are no UTF-8 would be no text to a function: it gets them as people do.
        given = body.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        try:
            kept = _kept(given, self._redaction.functions)
        except Exception:  # noqa: BLE001  (a function of the user's)
            with self._lock:
                self.failed += 1
            return MASK + line[len(body) :]
        return line if kept == given else kept + line[len(body) :]


def _kept(line: str, functions: tuple[Callable[[object], object], ...]) -> str:
    """Returns what functions leave of a line.

    Raises:
        Exception: One of them failed, or left no text.
    """
    document: Any = {"log": line}
    for function in functions:
        document = function(document)
    # By way of the class, as the text may be of a subclass with ideas of its own; this fails when it is no text at all.
    return str.encode(document["log"], "utf-8", "backslashreplace").decode()
