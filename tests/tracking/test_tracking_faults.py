"""Faults of our own: the solver's result and exception are unchanged, one warning is given, the lost run is counted."""

import contextlib
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nxtrack import current_run, track
from nxtrack.spool.store import Spool
from nxtrack.tracking import faults, ready
from nxtrack.tracking.faults import absorbed, describe, warn_once


@track
def solve(problem):
    """Uses everything that a run offers."""
    run = current_run()
    run.name = "x"
    run.log("logged")
    run.log_metric("gap", 1)
    print("solving", problem)
    if problem is None:
        raise LookupError("no problem")
    return {"solved": problem}


def goes_on(capsys, times=3):
    """Asserts that the solver works as if it were not tracked."""
    for number in range(times):
        assert solve(number) == {"solved": number}
    with pytest.raises(LookupError, match="no problem") as caught:
        solve(None)
    assert caught.value.__context__ is None
    with track(name="block") as run:
        run.output = 5
    assert current_run() is None
    expected = "".join(f"solving {number}\n" for number in (*range(times), None))
    assert capsys.readouterr().out == expected


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make such a folder")


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


def one_warning(warned, *texts):
    assert len(warned()) == 1, warned()
    for text in (*texts, "not recorded", "the solver is not affected"):
        assert text in warned()[0]


def test_the_path_is_a_file(spool, capsys, warned):
    spool.write_text("a file")
    goes_on(capsys)
    one_warning(warned, "test_tracking_faults.solve", str(spool), "1 lost so far")
    assert spool.read_text() == "a file"


def test_the_path_goes_through_a_file(spool, capsys, warned, monkeypatch):
    spool.write_text("a file")
    monkeypatch.setenv("NXTRACK_DIR", str(spool / "inner"))
    goes_on(capsys)
    one_warning(warned, "not a directory")


def test_others_may_write_to_it(spool, capsys, warned):
    spool.mkdir()
    spool.chmod(0o777)
    goes_on(capsys)
    one_warning(warned, "can be written by other users")
    assert list(spool.iterdir()) == []


@as_root
def test_it_is_somebody_elses(spool, capsys, warned):
    spool.mkdir(mode=0o700)
    os.chown(spool, 12345, 12345)
    goes_on(capsys)
    one_warning(warned, "belongs to another user")


def test_it_is_a_link_into_nothing(spool, capsys, warned):
    spool.symlink_to("/nowhere/at/all")
    goes_on(capsys)
    one_warning(warned)


def test_it_is_removed_between_runs(spool, recorded):
    assert solve(1) == {"solved": 1}
    shutil.rmtree(spool)
    assert solve(2) == {"solved": 2}
    assert [run.input for run in recorded()] == [2]


def test_it_is_removed_in_the_middle_of_a_run(spool, warned):
    @track
    def removing():
        shutil.rmtree(spool)
        print("log without a folder")
        return 5

    assert removing() == 5
    assert 1 <= len(warned()) <= 2
    assert any("not recorded" in sentence for sentence in warned())


UNPRIVILEGED = """
    import os, sys
    from nxtrack import track

    @track
    def solve(problem):
        print("solving", problem)
        return problem

    solve("as root")  # which may read what is loaded now
    os.setgid(12345)
    os.setuid(12345)
    os.environ["NXTRACK_DIR"] = sys.argv[1]
    assert [solve(number) for number in range(3)] == [0, 1, 2]
"""


@as_root
@pytest.mark.parametrize("mode", [0o500, 0o555])
def test_a_read_only_folder(python, mode):
    """In a process that is not root, which may write anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        spool = Path(folder) / "spool"
        spool.mkdir()
        os.chown(spool, 12345, 12345)
        spool.chmod(mode)
        done = python(UNPRIVILEGED, str(spool))
        assert list(spool.iterdir()) == []
    assert done.stdout == "solving as root\nsolving 0\nsolving 1\nsolving 2\n"
    assert done.stderr.count("not recorded: ") == 1
    assert "ermission denied" in done.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def test_a_full_disk(small_disk, capsys, warned, monkeypatch, recorded):
    spool = small_disk / "spool"
    monkeypatch.setenv("NXTRACK_DIR", str(spool))
    assert solve(0) == {"solved": 0}
    capsys.readouterr()
    fill(small_disk)
    goes_on(capsys)
    assert 1 <= len(warned()) <= 3
    assert any("no space left on device" in sentence for sentence in warned())
    assert Spool(str(spool)).summary().lost + len(recorded(spool)) == 6
    (small_disk / "filler").unlink()
    assert solve(9) == {"solved": 9}
    assert recorded(spool)[-1].input == 9


def test_a_disk_that_fills_while_the_solver_runs(small_disk, warned, monkeypatch, recorded):
    spool = small_disk / "spool"
    monkeypatch.setenv("NXTRACK_DIR", str(spool))

    @track
    def fills(problem):
        print("before")
        fill(small_disk)
        (small_disk / "filler").write_bytes(b"")
        (small_disk / "filler").write_bytes(b"x" * 30_000)
        return "x" * 60_000

    assert len(fills(1)) == 60_000
    [run] = recorded(spool)
    assert (run.state, run.status, run.output, run.input) == ("ready", "succeeded", None, 1)
    assert run.notes == ["The output could not be kept: no space left on device."]
    assert len(warned()) == 1
    assert "output of" in warned()[0]


def test_a_log_that_does_not_fit(small_disk, warned, monkeypatch, recorded, capsys):
    spool = small_disk / "spool"
    monkeypatch.setenv("NXTRACK_DIR", str(spool))

    @track
    def talks():
        for _ in range(100):
            print("x" * 2000)
        return 5

    assert talks() == 5
    assert len(capsys.readouterr().out) == 100 * 2001
    assert len(warned()) >= 1
    assert "could not write log" in warned()[0]


@contextlib.contextmanager
def no_descriptors():
    """Leaves the process without a free file descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_no_file_descriptors_from_the_start(capsys, warned, recorded):
    with no_descriptors():
        goes_on(capsys)
    one_warning(warned, "too many open files")
    assert solve(5) == {"solved": 5}
    assert recorded()[-1].input == 5


def test_no_file_descriptors_between_runs(capsys, warned, spool, recorded):
    solve(0)
    capsys.readouterr()
    with no_descriptors():
        goes_on(capsys)
    one_warning(warned, "too many open files", "1 lost so far")
    solve(1)
    assert len(recorded()) == 2


def test_no_file_descriptors_within_a_run(warned, recorded):
    @track(capture="sys")
    def hungry(problem):
        with no_descriptors():
            current_run().log("unseen")
            print("unseen")
            return problem

    assert hungry(5) == 5
    assert recorded()[0].output == {"solution": 5}
    assert 1 <= len(warned()) <= 2


def test_a_setting_without_sense(capsys, warned, monkeypatch, recorded):
    monkeypatch.setenv("NXTRACK_CAPTURE", "bogus")
    goes_on(capsys)
    assert len(warned()) == 1
    assert "NXTRACK_CAPTURE is 'bogus'" in warned()[0]
    assert len(recorded()) == 5


def test_a_logging_handler_that_raises(capsys, spool):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("broken handler")

    handler = Broken()
    logging.getLogger("nxtrack").addHandler(handler)
    try:
        spool.write_text("a file")
        goes_on(capsys)
    finally:
        logging.getLogger("nxtrack").removeHandler(handler)


def test_a_warning_does_not_go_round_in_circles(warned, spool, capsys, monkeypatch):
    """A handler on the captured stream prints the warning about the log that cannot be written."""
    handler = logging.StreamHandler()
    logging.getLogger("nxtrack").addHandler(handler)
    try:

        @track(capture="sys")
        def unlogged():
            shutil.rmtree(spool / "payloads")
            (spool / "payloads").write_text("in the way")
            print("x")
            print("y", file=sys.stderr)
            return 5

        assert unlogged() == 5
    finally:
        logging.getLogger("nxtrack").removeHandler(handler)
    out, err = capsys.readouterr()
    assert out == "x\n"
    assert err.count("could not write log") == 1
    assert err.endswith("y\n")


def test_a_stream_that_cannot_be_stood_in_for(warned, monkeypatch, only):
    class Handler(logging.StreamHandler):
        @property
        def stream(self):
            return self.__dict__["stream"]

        @stream.setter
        def stream(self, value):
            if "stream" in self.__dict__:
                raise RuntimeError("no other stream")
            self.__dict__["stream"] = value

    handler = Handler()
    with track() as run:
        run.output = 5
    assert only().output == {"solution": 5}
    assert len(warned()) == 1
    assert "could not capture streams: no other stream" in warned()[0]
    del handler


class Listener:
    def begun(self, settings):
        raise RuntimeError("listener")

    ready = begun


def test_a_listener_that_raises(warned, monkeypatch, recorded):
    monkeypatch.setenv("NXTRACK_MODE", "online")
    monkeypatch.setattr(ready, "listeners", [Listener()])
    for _ in range(3):
        assert solve(5) == {"solved": 5}
    assert len(warned()) == 2
    assert [run.status for run in recorded()] == ["succeeded"] * 3


def test_absorbed(warned):
    @absorbed
    def fail_at_this(value):
        """Fails."""
        raise ValueError(value)

    assert fail_at_this(5) is None
    assert (fail_at_this.__name__, fail_at_this.__doc__) == ("fail_at_this", "Fails.")
    with pytest.raises(KeyboardInterrupt):
        absorbed(lambda: (_ for _ in ()).throw(KeyboardInterrupt))()


def test_a_fault_is_told_once(warned):
    for _ in range(3):
        warn_once("kind", "A sentence with %s in it.")
    warn_once("other", "Another.")
    assert warned() == ["A sentence with %s in it.", "Another."]
    faults._told.clear()
    warn_once("kind", "Again.")
    assert warned()[-1] == "Again."


class Mute(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "no space left on device"),
        (OSError("odd"), "odd"),
        (ValueError("two\nlines"), "two lines"),
        (ValueError(), "ValueError"),
        (Mute(), "Mute"),
        (ValueError("x" * 1000), "x" * 300),
    ],
)
def test_describing_an_error(error, text):
    assert describe(error) == text
