"""Owns the threads that a flush works with: daemons, so that none of them ever holds up the end of a program."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")


class Done(NamedTuple, Generic[K]):
    """A finished task: what it was for, and what it gave or raised."""

    key: K
    result: object
    error: BaseException | None


class Workers(Generic[K]):
    """A fixed number of threads that take tasks in order; `done` gives back what became of each."""

    def __init__(self, number: int) -> None:
        """Starts no thread before there is a task for it."""
        self._number = number
        self._threads: list[threading.Thread] = []
        self._tasks: queue.SimpleQueue[tuple[K, Callable[[], object]] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Done[K]] = queue.SimpleQueue()

    def submit(self, key: K, task: Callable[[], object]) -> None:
        """Has a task done by the next free thread."""
        if len(self._threads) < self._number:
            thread = threading.Thread(target=self._work, name=f"nxtrack-{len(self._threads)}", daemon=True)
            thread.start()  # A Ctrl-C may come here, and only what was started can be joined.
            self._threads.append(thread)
        self._tasks.put((key, task))

    def done(self, timeout: float | None = None) -> Done[K] | None:
        """Waits for the next finished task, or None after `timeout` seconds."""
        try:
            return self._done.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self, patience: float) -> None:
        """Lets the threads end, and waits at most `patience` seconds for them."""
        for _ in range(self._number):
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(patience)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            key, action = task
            try:
                self._done.put(Done(key, action(), None))
            except BaseException as error:  # noqa: BLE001  (it goes to whoever asks what became of the task)
                self._done.put(Done(key, None, error))
