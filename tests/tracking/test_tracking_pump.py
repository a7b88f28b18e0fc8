"""The copying of a program's streams, in this process: what the pump does by itself is seen at its pipes' ends."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

import pytest

if sys.platform == "win32":
    pytest.skip("there is no exec on Windows", allow_module_level=True)

from nxtrack.tracking import pump


class Bench:
    """A pump of one stream, and the ends of all its pipes."""

    def __init__(self, tmp_path, name="log"):
        self.source, self.write_end = os.pipe()
        self.read_end, self.target = os.pipe()
        self.control, self.control_end = os.pipe()
        self.told_end, self.told = os.pipe()
        self.path = tmp_path / "kept"
        self.file = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        words = [str(self.control), str(self.told), f"{name}:{self.source}:{self.target}:{self.file}"]
        self.thread = threading.Thread(target=pump.main, args=(words,))

    def start(self):
        self.thread.start()
        return self

    def end(self):
        """Says that the program has ended."""
        os.write(self.control_end, b"e")

    def close(self):
        for descriptor in (self.write_end, self.read_end, self.control_end):
            with suppress(OSError):
                os.close(descriptor)
        self.thread.join(10)
        assert not self.thread.is_alive()
        for descriptor in (self.told_end, self.control, self.file, self.target):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(**more):
        made.append(Bench(tmp_path, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_stream_is_kept_and_passed_on_to_its_end(bench):
    one = bench().start()
    os.write(one.write_end, b"words")
    assert os.read(one.read_end, 9) == b"words"
    os.close(one.write_end)
    assert os.read(one.told_end, 99) == b"log\t0\n"
    assert os.read(one.told_end, 99) == b""
    assert one.path.read_bytes() == b"words"


def test_what_others_write_after_the_end_is_only_passed_on(bench):
    one = bench()
    os.write(one.write_end, b"before")
    one.end()
    one.start()
    assert os.read(one.told_end, 99) == b"log\t0\n"
    os.write(one.write_end, b"after")
    shown = b""
    while len(shown) < 11:
        shown += os.read(one.read_end, 99)
    assert shown == b"beforeafter"
    assert one.path.read_bytes() == b"before"


def test_the_death_of_the_tracking_process_ends_nothing(bench):
    one = bench().start()
    os.close(one.control_end)
    os.write(one.write_end, b"words")
    assert os.read(one.read_end, 9) == b"words"
    assert one.path.read_bytes() == b"words"


def test_the_input_ends_with_the_program(bench):
    one = bench(name="input").start()
    os.write(one.write_end, b"given")
    assert os.read(one.read_end, 9) == b"given"
    one.end()
    assert os.read(one.told_end, 99) == b"input\t0\n"
    assert os.read(one.read_end, 9) == b""


def test_input_that_stands_before_a_full_pipe_ends_with_the_program(bench):
    one = bench(name="input").start()
    with suppress(BlockingIOError):
        os.set_blocking(one.write_end, False)
        while True:
            os.write(one.write_end, b"x" * 65536)
    one.end()
    assert os.read(one.told_end, 99) == b"input\t0\n"


def test_a_target_that_somebody_made_not_to_block_gets_all(bench):
    one = bench()
    os.set_blocking(one.target, False)
    one.start()
    data = b"x" * 300_000
    writer = threading.Thread(target=lambda: (os.write(one.write_end, data), os.close(one.write_end)))
    writer.start()
    shown = 0
    while shown < len(data):
        shown += len(os.read(one.read_end, 65536))
    writer.join()
    assert os.read(one.told_end, 99) == b"log\t0\n"
    assert one.path.stat().st_size == len(data)


def test_without_a_reader_the_program_gets_no_reader_either(bench):
    one = bench().start()
    os.close(one.read_end)
    os.write(one.write_end, b"words")
    assert os.read(one.told_end, 99) == b"log\t0\n"
    one.thread.join(10)
    with pytest.raises(BrokenPipeError):
        os.write(one.write_end, b"more")
    assert one.path.read_bytes() == b"words"


def test_a_file_that_cannot_be_written_is_told_and_all_is_passed_on(bench, tmp_path):
    one = bench()
    reading = os.open(one.path, os.O_RDONLY)
    os.dup2(reading, one.file)
    os.close(reading)
    one.start()
    os.write(one.write_end, b"words")
    assert os.read(one.read_end, 9) == b"words"
    os.close(one.write_end)
    assert os.read(one.told_end, 99) == b"log\t9\n"  # EBADF
