"""Owns a program as a tracked run: its streams or files are the input, output and logs, its exit status the outcome."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from nxtrack.errors import ProgramUnusable
from nxtrack.spool.records import Input, Output
from nxtrack.spool.system import READ
from nxtrack.tracking import children, pump
from nxtrack.tracking.faults import absorbed
from nxtrack.tracking.files import filled, packed
from nxtrack.tracking.plan import make
from nxtrack.tracking.recording import Recording
from nxtrack.tracking.run import utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from nxtrack.spool.records import Form
    from nxtrack.spool.writer import RunWriter
    from nxtrack.tracking.files import LeaveOut, Payload

assert sys.platform != "win32"  # tells type checkers for which systems to look at this module

_STDIN, _STDOUT, _STDERR = range(3)
_NONE: Final = -1
_PIECE: Final = 1 << 20
_LOOK_SECONDS = 0.1
_BOUND_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A program, and where what it takes and gives is to be found.

    Attributes:
        command: What to run, and its arguments.
        input_file: The file that is its input; by default its stdin.
        input_dir: The folder that is its input.
        output_file: The file that is its output; by default its stdout. With it, or a folder, stdout is log text.
        output_dir: The folder that is its output.
        input_form: The input's format; None to find out.
        output_form: The output's.
    """

    command: list[str]
    input_file: str | None = None
    input_dir: str | None = None
    output_file: str | None = None
    output_dir: str | None = None
    input_form: Form | None = None
    output_form: Form | None = None

    @property
    def prints_output(self) -> bool:
        """Whether stdout is the output."""
        return self.output_file is None and self.output_dir is None


def run(program: Program, arguments: Mapping[str, Any], options: Mapping[str, str]) -> int:
    """Runs a program as a tracked run. Where nothing can be recorded, this process becomes the program.

    Args:
        program: What to run.
        arguments: As `track` takes them: `app_id`, `name` and so on.
        options: The run's options.

    Returns:
        The program's exit status; 128 + n when signal n killed it.

    Raises:
        ProgramNotFound: There is no such program; a failed run tells so.
        ProgramUnusable: It cannot be executed; likewise.
    """
    streams = Streams(program)
    plan = make({**arguments, "capture": "off"})
    source = utf8(os.path.basename(program.command[0]) or "program")  # noqa: PTH119
    recording = Recording(plan, source, lambda: (None, dict(options)), files=streams)
    try:
        recording.begin()
        if not recording.is_recorded:
            children.become(program.command)
        return _recorded(program, recording, streams)
    except ProgramUnusable as error:
        recording.run.fail(str(error))
        recording.end()
        raise
    except BaseException as error:  # Ctrl-C before the program was started.
        recording.end(error)
        raise


def _recorded(program: Program, recording: Recording, streams: Streams) -> int:
    with children.signals() as signals:
        wires = streams.connect()
        try:
            pid = children.start(program.command, wires, signals.before)
        except ProgramUnusable:
            streams.let_go()
            streams.wait(signals.impatient)
            raise
        streams.let_go()
        with streams.bounded():
            status = signals.wait(pid)
        recording.stop()
        streams.wait(signals.impatient)
        if status:
            recording.run.fail(outcome(status))
        recording.end()
    return status if status >= 0 else 128 - status


def outcome(status: int) -> str:
    """Returns what a program's end other than by 0 is called."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = f" ({signal.Signals(-status).name})"
    except ValueError:
        name = ""
    return f"killed by signal {-status}{name}"


class Streams:
    """A program's streams and files on their way into its run; the `Files` of its recording."""

    has_input = True
    has_output = True

    def __init__(self, program: Program) -> None:
        """Looks at nothing yet."""
        self._program = program
        self._leave_out: LeaveOut = lambda _what, _fault: None
        self._writer: RunWriter | None = None
        self._input: Payload | None = None
        self._output: Payload | None = None
        self._files: dict[str, int] = {}
        self._seen: object = None
        self._pipes: list[int] = []
        self._control = self._told = _NONE
        self._faults: dict[str, int] = {}
        self._lanes = 0

    def begin(self, writer: RunWriter, leave_out: LeaveOut) -> None:
        """Records the input as far as it is there, and makes the files that the streams are copied to."""
        self._leave_out, self._writer = leave_out, writer
        self._try("logs", lambda: self._keep("log", writer.log_descriptor()))
        self._try("input", lambda: self._begin_input(writer))
        if self._program.prints_output:
            self._try("output", lambda: self._begin_output(writer))
        elif self._program.output_file is not None:
            self._seen = _state_of(self._program.output_file)

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as fault:  # noqa: BLE001  (files are the user's, and ours shall not stop the program)
            self._leave_out(what, fault)

    def _keep(self, name: str, descriptor: int) -> None:
        self._files[name] = descriptor

    def _begin_input(self, writer: RunWriter) -> None:
        program, wished = self._program, self._program.input_form
        if program.input_dir is not None:
            writer.append(packed(writer, Input, program.input_dir, wished))
        elif program.input_file is not None:
            writer.append(_copied(writer, Input, program.input_file, wished))
        elif _is_kind(_STDIN, stat.S_ISREG):
            start = os.lseek(_STDIN, 0, os.SEEK_CUR)
            writer.append(_copied(writer, Input, _STDIN, wished, start=start))
        elif _is_kind(_STDIN, stat.S_ISFIFO, stat.S_ISSOCK):
            self._input, descriptor = writer.sidecars.grow(Input, wished)
            self._keep("input", descriptor)
            writer.append(self._input)

    def _begin_output(self, writer: RunWriter) -> None:
        self._output, descriptor = writer.sidecars.grow(Output, self._program.output_form)
        self._keep("output", descriptor)
        writer.append(self._output)

    def connect(self) -> dict[int, int]:
        """Has the streams copied from now on; returns what the program gets in place of its own."""
        wires: dict[int, int] = {}
        lanes: list[str] = []

        def wire(stream: int, name: str, file: int) -> None:
            reading, writing = os.pipe()
            self._pipes += [reading, writing]
            if stream == _STDIN:
                wires[stream] = reading
                lanes.append(f"{name}:{_STDIN}:{writing}:{file}")
            else:
                wires[stream] = writing
                lanes.append(f"{name}:{reading}:{stream}:{file}")

        try:
            if "input" in self._files:
                wire(_STDIN, "input", self._files["input"])
            stdout = "output" if self._program.prints_output else "log"
            wire(_STDOUT, stdout, self._files.get(stdout, _NONE))
            if stdout == "log" and _is_same(_STDOUT, _STDERR):
                wires[_STDERR] = wires[_STDOUT]  # One pipe keeps the order of what goes to one place.
            else:
                wire(_STDERR, "log", self._files.get("log", _NONE))
            self._start_pump(lanes)
        except OSError as fault:
            self._give_up(fault)
            return {}
        return wires

    def _start_pump(self, lanes: Sequence[str]) -> None:
        heard, self._control = os.pipe()
        self._told, telling = os.pipe()
        self._pipes += [heard, telling]
        descriptors = [heard, telling, *(int(text) for lane in lanes for text in lane.split(":")[1:])]
        pumping = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", pump.__file__, str(heard), str(telling), *lanes],
            stdin=None if "input" in self._files else subprocess.DEVNULL,
            pass_fds=sorted({number for number in descriptors if number > _STDERR}),
            start_new_session=True,
        )
        # It ends by itself, perhaps long after us: when nobody has the program's streams open any more.
        _pumps.append(pumping)
        self._lanes = len(lanes)

    def _give_up(self, fault: Exception) -> None:
        """Lets the program have its streams as they are, as they cannot be copied."""
        for name in self._files:
            self._leave_out("logs" if name == "log" else name, fault)
        self.let_go()

    @contextmanager
    def bounded(self) -> Generator[None]:
        """Keeps the log within its bound for as long as the program runs: who writes it knows of none."""
        writer, ended = self._writer, threading.Event()

        @absorbed
        def bound() -> None:
            while writer is not None and not ended.wait(_BOUND_SECONDS):
                writer.bound_log()

        thread = threading.Thread(target=bound, name="nxtrack-bound", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @absorbed
    def let_go(self) -> None:
        """Lets go of what belongs to the program and the pump now, so that each sees when the other is gone."""
        for descriptor in (*self._pipes, *self._files.values()):
            os.close(descriptor)
        if "input" in self._files and self._lanes:
            nowhere = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nowhere, _STDIN)
            os.close(nowhere)
        self._pipes.clear()
        self._files.clear()

    @absorbed
    def wait(self, impatient: Callable[[], bool]) -> None:
        """Waits until all that the program wrote is kept, and passed on; not for who else has its streams open."""
        said = b""
        if self._told == _NONE:
            return
        with suppress(BrokenPipeError):  # All streams had come to their end before.
            os.write(self._control, b"e" * self._lanes)
        poll = select.poll()
        poll.register(self._told, select.POLLIN)
        while not impatient():
            if poll.poll(_LOOK_SECONDS * 1000):
                piece = os.read(self._told, 4096)
                if not piece:
                    for pumping in _pumps:
                        pumping.poll()
                    break
                said += piece
        for line in said.decode().splitlines():
            name, _, number = line.partition("\t")
            self._faults[name] = self._faults.get(name, 0) or int(number)
        os.close(self._told)
        os.close(self._control)

    def end(self, writer: RunWriter) -> Iterable[Payload]:
        """Finds out what was copied, and takes the output from where it was put."""
        self._end_log()
        payloads = [self._settled(writer, "input", self._input), self._settled(writer, "output", self._output)]
        program, wished = self._program, self._program.output_form
        with_output: Callable[[], Payload] | None = None
        if program.output_dir is not None:
            with_output = partial(packed, writer, Output, program.output_dir, wished)
        elif program.output_file is not None:
            if self._seen is not None and self._seen == _state_of(program.output_file):
                self._leave_out("output", OSError("its file is as it was before"))
            else:
                with_output = partial(_copied, writer, Output, program.output_file, wished)
        if with_output is not None:
            self._try("output", lambda: payloads.append(with_output()))
        return [payload for payload in payloads if payload is not None]

    def _end_log(self) -> None:
        fault = self._faults.get("log")
        if self._lanes and (fault is None or fault):
            self._leave_out("rest of the logs", _fault(fault))

    def _settled(self, writer: RunWriter, name: str, record: Payload | None) -> Payload | None:
        if record is None:
            return None
        fault = self._faults.get(name) if self._lanes else 0
        if fault is None:  # What was copied was passed on, so it is worth keeping.
            self._leave_out(f"rest of the {name}", _fault(None))
        try:
            if fault:
                raise _fault(fault)
            return writer.sidecars.settle(record)
        except OSError as error:
            self._leave_out(name, error)
        writer.sidecars.drop(record)
        return msgspec.structs.replace(record, growing=False, wished=None, size=0)


def _fault(number: int | None) -> OSError:
    return OSError("it was not copied to its end") if number is None else OSError(number, os.strerror(number))


def _copied(
    writer: RunWriter, kind: type[Input | Output], source: str | int, wished: Form | None, *, start: int = 0
) -> Payload:
    """Records what a file holds, whose position stays as it is.

    Raises:
        OSError: It cannot be read, or is no file.
    """
    # What is no file, such as a FIFO, is not waited for.
    opened = os.open(source, READ & ~os.O_NOFOLLOW) if isinstance(source, str) else os.dup(source)

    def fill(file: BinaryIO) -> None:
        place = start
        while piece := os.pread(opened, _PIECE, place):
            place += file.write(piece)

    try:
        if not _is_kind(opened, stat.S_ISREG):
            raise OSError("it is no file")
        record, descriptor = writer.sidecars.grow(kind, wished)
        return filled(writer, record, descriptor, fill, os.path.basename(source) if isinstance(source, str) else "")  # noqa: PTH119
    finally:
        os.close(opened)


def _is_kind(descriptor: int, *kinds: Callable[[int], bool]) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return any(kind(mode) for kind in kinds)


def _is_same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _state_of(path: str) -> object:
    """Returns what changes when a file is written; None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


# Kept, as a `Popen` that is forgotten complains that its process lives.
_pumps: list[subprocess.Popen[bytes]] = []
