"""Owns the copying of a program's streams on their way: to where they went before, and to the run's files.

It is run as a script, in a process and a session of its own, and knows nothing of the rest: no kill of the tracking
process, or of the program's process group, takes it along, so no pipe of the program's breaks by a fault of ours, and
what the program wrote last is still read. It ends when nobody has the program's streams open any more.

Its arguments are descriptors: `control`, `told`, then for each stream `name:source:target:file`; a file
of -1 is none. On `control` it gets one byte a stream when the program has ended; from then on no more is kept than
what stands in the pipes, and the input is left alone. On `told` it says `name, tab, number, newline` when all of a
stream is kept: 0, or the `errno` of what was not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import sys
import termios
import threading

assert sys.platform != "win32"  # tells type checkers for which systems to look at this module

_PIECE = 1 << 16
_ENDED = b"e"


class _File:
    """A file of the run's that takes a copy; the first failure is the last try."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self.fault = 0

    def keep(self, data: bytes) -> None:
        with self._lock:
            if self._descriptor < 0 or self.fault:
                return
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                self.fault = error.errno or errno.EIO


class _Stream:
    """One stream of the program's, and the thread's work to carry it."""

    def __init__(self, name: str, source: int, target: int, file: _File, pump: Pump) -> None:
        self._name = name
        self._source = source
        self._target = target
        self._file: _File | None = file
        self._pump = pump
        self._left: int | None = None
        self._passing = True
        self._heard = False
        if name == "input":
            os.set_blocking(target, False)  # The program may end without reading it, and leave others who could.

    def carry(self) -> None:
        """Carries it to its end."""
        goes_on = True
        while goes_on:
            self._wait(self._source, select.POLLIN)
            goes_on = self._name != "input" if self._left == 0 else self._carry_piece()
            if self._left == 0:
                self._tell()
        self._tell()
        if self._name == "input":
            os.close(self._target)  # So the program comes to the end of its input.
        os.close(self._source)

    def _wait(self, descriptor: int, event: int) -> None:
        """Waits until a descriptor is ready, or the end of the program is told of."""
        poll = select.poll()
        poll.register(descriptor, event)
        if not self._heard:
            poll.register(self._pump.control, select.POLLIN)
        if any(ready == self._pump.control for ready, _ in poll.poll()):
            self._heard = True
            # When nothing is said, the tracking process died; the program goes on.
            if os.read(self._pump.control, 1) == _ENDED:
                self._left = 0 if self._name == "input" else _waiting_in(self._source)

    def _carry_piece(self) -> bool:
        """Carries what is there; returns whether there may be more."""
        try:
            data = os.read(self._source, _PIECE if self._left is None else min(_PIECE, self._left))
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self._file is not None:
            self._file.keep(data)
        if self._left is not None:
            self._left -= len(data)
        return bool(data) and (not self._passing or self._pass_on(data))

    def _pass_on(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._target, data) :]
            except BlockingIOError:  # Of a terminal, somebody made it so.
                self._wait(self._target, select.POLLOUT)
                if self._name == "input" and self._left == 0:
                    return False
            except OSError:
                # Who read is gone, or the disk is full: the program's own next write shall fail as well. A terminal
                # that hung up is a matter of signals, which the program got itself.
                self._passing = False
                return os.isatty(self._target)
        return True

    def _tell(self) -> None:
        """Tells, once, that all that is to be kept is."""
        file, self._file, self._left = self._file, None, None
        if file is not None:
            self._pump.tell(self._name, file.fault)


def _waiting_in(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


class Pump:
    """All streams of one program.

    Attributes:
        control: Where it gets to know that the program has ended.
    """

    def __init__(self, control: int, told: int, streams: list[str]) -> None:
        """Takes what the module says, as numbers."""
        self.control = control
        self._told = told
        self._lock = threading.Lock()
        self._untold = len(streams)
        files: dict[int, _File] = {}
        self._streams: list[_Stream] = []
        for text in streams:
            name, *descriptors = text.split(":")
            source, target, file = map(int, descriptors)
            kept = files.setdefault(file, _File(file))
            self._streams.append(_Stream(name, source, target, kept, self))

    def run(self) -> None:
        """Carries all streams, each by a thread, so that none waits for another."""
        threads = [threading.Thread(target=stream.carry) for stream in self._streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def tell(self, name: str, fault: int) -> None:
        """Tells the tracking process that all of a stream is kept."""
        with self._lock:
            with contextlib.suppress(OSError):  # It is gone.
                os.write(self._told, f"{name}\t{fault}\n".encode())
            self._untold -= 1
            if not self._untold:
                os.close(self._told)


def main(arguments: list[str]) -> None:
    """Runs the script."""
    control, told = map(int, arguments[:2])
    Pump(control, told, arguments[2:]).run()


if __name__ == "__main__":
    main(sys.argv[1:])
