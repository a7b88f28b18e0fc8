"""Owns delivery from inside the user's process (`NXTRACK_MODE=online`): one thread, never in a solver's way.

The solver's thread only sets an event. What this thread does not get done before the program ends waits in the spool
for the next flush, as if it had never been tried.
"""

from __future__ import annotations

import atexit
import codecs
import importlib
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nxtrack.delivery.flusher import Flusher
    from nxtrack.settings import Settings

LONGEST_PAUSE = 60.0
"""Seconds between two tries, at most, while the platform takes nothing."""


class _Background:
    """The delivering thread of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._flusher: Flusher | None = None
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="nxtrack-online", daemon=True)

    def notify(self, settings: Settings) -> None:
        self._settings = settings
        self._wake.set()
        if not self._thread.is_alive() and not self._stop.is_set():
            with self._lock:
                if self._thread.ident is None:
                    self._thread.start()

    def stop(self) -> None:
        """Delivers what can be delivered while the settings let a program's end wait; failures are not repeated."""
        settings = self._settings
        if self.pid != os.getpid() or settings is None or self._thread.ident is None:
            return
        self._stop.set()
        if self._flusher is not None:
            self._flusher.hurry.set()
        self._wake.set()
        self._thread.join(settings.exit_wait)
        if self._flusher is not None:
            self._flusher.stop()

    def _work(self) -> None:
        pause = 0.0
        while True:
            self._wake.wait(pause or None)
            self._wake.clear()
            last = self._stop.is_set()  # asked before the flush: what becomes ready later wakes us once more
            left = self._flush()
            pause = min(LONGEST_PAUSE, max(1.0, pause * 2)) if left else 0.0
            if last:
                return

    def _flush(self) -> int:
        """Flushes once; returns how many runs are left."""
        from nxtrack.delivery.flusher import Flusher, spool_of  # noqa: PLC0415  (loaded by `begun`)

        assert self._settings is not None
        try:
            self._flusher = Flusher(spool_of(self._settings), self._settings)
            if self._stop.is_set():
                self._flusher.hurry.set()
            report = self._flusher.run()
        except Exception as error:  # noqa: BLE001  (this is the user's process: nothing may come out but a warning)
            self._warn_once(type(error).__name__, str(error) or type(error).__name__)
            return 1
        for problem in report.problems:
            self._warn_once(problem, problem)
        return report.pending

    def _warn_once(self, kind: str, sentence: str) -> None:
        import logging  # noqa: PLC0415  (importing nxtrack shall not bring it)

        if kind not in self._told:
            self._told.add(kind)
            logging.getLogger("nxtrack").warning("%s", sentence)


_background: _Background | None = None


def begun(settings: Settings) -> None:
    """Loads what delivery needs, before the first run begins.

    Not in the delivering thread: a program that forks while a thread of ours is importing would leave its child with
    modules that never get ready.
    """
    del settings
    if "nxtrack.delivery.flusher" not in sys.modules:
        for module in ("yaml", "nxtrack.delivery.flusher"):
            importlib.import_module(module)
        codecs.lookup("idna")  # which looking up a host's address does


def ready(settings: Settings) -> None:
    """Has the runs of the spool delivered soon, by this process's own thread."""
    global _background  # noqa: PLW0603  (one thread a process)
    if _background is None or _background.pid != os.getpid():
        # After a fork the parent's thread is not in the child, so the child gets one of its own.
        _background = _Background()
        atexit.register(_background.stop)
    _background.notify(settings)
