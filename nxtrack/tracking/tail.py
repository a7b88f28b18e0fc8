"""Owns the thread that looks, again and again, whether there is something to be shown; it ends when nobody needs it."""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock

INTERVAL_SECONDS = 0.05
"""How long text may wait before it is shown."""

_IDLE_SECONDS = 1.0


class Tail:
    """One such thread. Not one of `threading`'s, whose start waits for ever as the process ends.

    Attributes:
        is_over: It looks no more; set under its user's lock, unless it is ended or cannot begin.
        threads: 1 for as long as its thread is surely there, else 0.
    """

    def __init__(self, lock: RLock, look: Callable[[], bool | None]) -> None:
        """Begins.

        Args:
            lock: Held while it looks.
            look: Shows what there is, and says whether more may come.
        """
        # Bare locks: a Ctrl-C amid what `threading.Event` does would leave it locked.
        self._wait, self._gone = _thread.allocate_lock(), _thread.allocate_lock()
        self._wait.acquire()
        self._gone.acquire()
        self._lock = lock
        self._look = look
        self.is_over = False
        self.threads = 1
        try:
            _thread.start_new_thread(self._watch, ())
        except RuntimeError:  # The process ends, or takes no more threads: what is written is shown later.
            self.is_over = True
            self.threads = 0

    def _watch(self) -> None:
        idle = 0.0
        try:
            while not self.is_over and not self._wait.acquire(timeout=INTERVAL_SECONDS):
                with self._lock:
                    idle = 0.0 if self._look() else idle + INTERVAL_SECONDS
                    self.is_over = idle > _IDLE_SECONDS
        finally:
            self.is_over = True
            self.threads = 0
            self._gone.release()

    def end(self) -> bool:
        """Ends the thread; says whether it could be waited for."""
        if self._wait.locked():
            self._wait.release()
        return self._gone.acquire(timeout=INTERVAL_SECONDS)
