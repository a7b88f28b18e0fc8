"""What is written past Python's streams is in the log, and on the terminal as without nxtrack."""

import collections
import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from nxtrack import track
from nxtrack.tracking import channels, descriptors
from nxtrack.tracking.streams import SHARED_NOTE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such descriptors")

PROLOGUE = """
    import contextlib, ctypes, os, signal, subprocess, sys, threading, time
    if os.environ.get("BARE"):
        def track(*args, **kwargs):
            return args[0] if args else contextlib.nullcontext()
    else:
        from nxtrack import track
    libc = ctypes.CDLL(None)
    def c(text):
        libc.printf(b"%s", text.encode())
"""

MIXED = """
    print("python 1")
    with track(input=1):
        c("c 1\\n")
        print("python 2")
        os.write(2, b"descriptor 2\\n")
        c("c 2\\n")
        subprocess.run(["sh", "-c", "echo child; echo child error >&2"])
        print("python 3", file=sys.stderr)
        sys.stdout.buffer.write(b"buffer\\n")
        sys.stdout.flush()
        c("c 3\\n")
    print("python 4")
    c("c 4\\n")
"""
OUT = ["c 1", "python 2", "c 2", "child", "buffer", "c 3"]
LOGGED = ["c 1", "python 2", "descriptor 2", "c 2", "child", "child error", "python 3", "buffer", "c 3"]
TO_ERR = ["descriptor 2", "child error", "python 3"]


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Starts a program with its descriptors where the test wants them: `program(text, stdout=..., env={...})`."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    numbers = iter(range(100))
    with contextlib.ExitStack() as stack:

        def start(text, *, env=(), **options):
            script = tmp_path / f"solver{next(numbers)}.py"
            script.write_text(textwrap.dedent(PROLOGUE) + textwrap.dedent(text), encoding="utf-8")
            line = [sys.executable, str(script)]
            return stack.enter_context(subprocess.Popen(line, env=os.environ | dict(env), cwd=tmp_path, **options))

        yield start


@pytest.fixture
def on_pipes(program):
    """Runs a program with a pipe for each of its streams; returns both outputs."""

    def run(text, *, status=0, **env):
        process = program(text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        out, err = process.communicate(timeout=50)
        assert process.returncode == status, err.decode()
        return out.decode(), err.decode(errors="backslashreplace")

    return run


@pytest.fixture
def in_one_file(program, tmp_path):
    """Runs a program with both streams in one file, as `> file 2>&1` does, and returns what that holds."""

    def run(text, *, status=0, **env):
        path = tmp_path / "output"
        with path.open("wb") as file:
            assert program(text, stdout=file, stderr=subprocess.STDOUT, env=env).wait(50) == status, path.read_text()
        return path.read_bytes().decode()

    return run


@pytest.fixture
def on_a_terminal(program):
    """Runs a program on a terminal; returns what that shows, up to where `until` appears or the program ends."""

    def run(text, *, until=None, **env):
        ours, theirs = pty.openpty()
        process = program(text, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
        os.close(theirs)
        shown, end = b"", time.monotonic() + 50
        with contextlib.suppress(OSError):  # which is how the end of a terminal's last user shows
            while time.monotonic() < end and (until is None or until not in shown):
                if select.select([ours], [], [], 0.1)[0]:
                    data = os.read(ours, 65536)
                    if not data:
                        break
                    shown += data
        if until is not None:
            process.kill()
        process.wait(50)
        os.close(ours)
        return shown.decode().replace("\r\n", "\n")

    return run


def spooled(tmp_path):
    """Returns all that the spool's files hold."""
    return b"".join(path.read_bytes() for path in sorted((tmp_path / "spool").rglob("*")) if path.is_file())


# -- in the log, in order, and shown -----------------------------------------------------------------------


def test_a_terminal_shows_what_it_showed_and_the_log_has_all_of_it(on_a_terminal, only):
    bare = on_a_terminal(MIXED, BARE="1")
    assert bare.splitlines() == ["python 1", *LOGGED, "python 4", "c 4"]
    assert on_a_terminal(MIXED) == bare
    assert only().logs.splitlines() == LOGGED
    assert only().notes == []


def test_a_file_for_both_streams_has_them_in_order(in_one_file, only):
    bare = in_one_file(MIXED, BARE="1")
    shown = in_one_file(MIXED)
    assert sorted(shown.splitlines()) == sorted(bare.splitlines())
    assert shown.splitlines() == ["python 1", *LOGGED, "python 4", "c 4"]  # which without us C's buffer would disturb
    assert only().logs.splitlines() == LOGGED


def test_two_pipes_each_get_what_they_got(on_pipes, only):
    bare_out, bare_err = on_pipes(MIXED, BARE="1")
    out, err = on_pipes(MIXED)
    assert sorted(out.splitlines()) == sorted(bare_out.splitlines())
    assert err == bare_err
    assert out.splitlines() == ["python 1", *OUT, "python 4", "c 4"]
    logged = only().logs.splitlines()
    assert [line for line in logged if line not in TO_ERR] == OUT
    assert [line for line in logged if line in TO_ERR] == TO_ERR


@pytest.mark.parametrize(("streams", "expected"), [("stdout", OUT), ("stderr", TO_ERR)])
def test_only_what_is_chosen_is_in_the_log(on_a_terminal, only, streams, expected):
    shown = on_a_terminal(MIXED, NXTRACK_STREAMS=streams).splitlines()
    assert sorted(shown) == sorted(["python 1", *LOGGED, "python 4", "c 4"])
    assert only().logs.splitlines() == expected


@pytest.mark.parametrize("capture", ["sys", "off"])
def test_capture_that_is_not_wanted(on_pipes, only, capture):
    on_pipes(MIXED, NXTRACK_CAPTURE=capture)
    assert "c 1" not in only().logs


def test_text_is_shown_as_it_comes(on_a_terminal):
    text = """
        with track():
            c("begun\\n")
            time.sleep(60)
    """
    began = time.monotonic()
    assert on_a_terminal(text, until=b"begun") == "begun\n"
    assert time.monotonic() - began < 20


def test_c_code_that_holds_the_interpreter_while_it_writes(on_pipes, only):
    out, _ = on_pipes("""
        held = ctypes.PyDLL(None)  # which lets no other thread of Python run meanwhile
        with track():
            for _ in range(100):
                held.write(1, b"x" * 9_999 + b"\\n", 10_000)
    """)
    assert len(out) == 1_000_000
    assert only().logs == out


def test_a_terminal_is_still_one_for_python(on_a_terminal, only):
    shown = on_a_terminal(
        """
        import fcntl, shutil, termios
        fcntl.ioctl(1, termios.TIOCSWINSZ, b"\\x1e\\0\\x4d\\0" + bytes(4))
        def look():
            return sys.stdout.isatty(), sys.stderr.isatty(), sys.stdout.fileno(), shutil.get_terminal_size().columns
        before = look()
        with track():
            print("same" if look() == before == (True, True, 1, 77) else (look(), before))
        print("ended", sys.stdout.fileno(), sys.stderr.fileno(), sys.__stdout__.name, vars(sys.__stdout__))
    """,
        COLUMNS="0",
        LINES="0",
    )
    assert shown == "same\nended 1 2 <stdout> {'mode': 'w'}\n"
    assert only().logs == "same\n"


def test_who_would_open_a_streams_descriptor_anew_and_hold_lines_back_gets_none(on_a_terminal, recovered, tmp_path):
    # As Pyomo does: it writes to the stream when that has no descriptor, and by a buffer of its own when it has.
    (tmp_path / "pyomo.py").write_text(
        textwrap.dedent("""
            import os, sys
            def tee(text):
                try:
                    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w")
                except OSError:
                    stream = sys.stdout
                stream.write(text)
                return stream
        """)
    )
    shown = on_a_terminal("""
        import pyomo
        with track():
            held = pyomo.tee("within\\n")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert shown == "within\n"
    assert recovered().logs == "within\n"


@pytest.mark.skipif(sys.platform != "linux", reason="how much a stream holds is asked of glibc")
def test_what_c_prints_from_a_signal_handler_takes_no_memory(on_pipes):
    # Gurobi prints at Ctrl-C; if that comes amid `malloc`, memory for its line would be waited for without end.
    out, _ = on_pipes("""
        stdout = ctypes.c_void_p.in_dll(libc, "stdout")
        libc.__fbufsize.restype = ctypes.c_size_t
        before = libc.__fbufsize(stdout)
        with track():
            print(before, libc.__fbufsize(stdout) > 0)
    """)
    assert out == "0 True\n"


def test_under_the_capture_of_a_test(capfd, only):
    with track(input=1):
        os.write(1, b"descriptor\n")
        print("python")
        os.write(2, b"error\n")
    assert capfd.readouterr() == ("descriptor\npython\n", "error\n")
    assert sorted(only().logs.splitlines()) == ["descriptor", "error", "python"]


# -- whoever holds what ------------------------------------------------------------------------------------


def test_a_stream_that_was_taken_hold_of_before_is_heard_once(on_pipes, only):
    out, err = on_pipes("""
        held, error = sys.stdout, sys.stderr
        with track():
            print("held", file=held)
            held.writelines(["lines\\n"])
            print("held error", file=error)
            print("not held")
    """)
    assert (out, err) == ("held\nlines\nnot held\n", "held error\n")
    assert only().logs.splitlines() == ["held", "lines", "held error", "not held"]


def test_a_stream_that_writes_to_another_is_heard_once(on_pipes, only):
    out, _ = on_pipes("""
        class Tee:
            def __init__(self, stream):
                self.stream = stream
            def write(self, text):
                return self.stream.write(text.upper())
            def flush(self):
                self.stream.flush()
        sys.stdout = Tee(sys.stdout)
        with track():
            print("text")
            c("c\\n")
    """)
    assert out == "TEXT\nc\n"
    assert only().logs == "text\nc\n"


def test_a_stream_of_the_programs_own_make_is_heard_once(on_pipes, only):
    out, _ = on_pipes("""
        class Bare:
            def write(self, text):
                return os.write(1, text.encode())
            def flush(self):
                pass
        sys.stdout = Bare()
        with track():
            print("bare", 1)
            c("c\\n")
            print("bare", 2)
    """)
    assert out == "bare 1\nc\nbare 2\n"
    assert only().logs == out


def test_a_program_that_leads_its_descriptors_elsewhere_itself(on_pipes, only, tmp_path):
    out, _ = on_pipes("""
        with track():
            os.write(1, b"before\\n")
            kept = os.dup(1)
            with open("elsewhere", "wb") as file:
                os.dup2(file.fileno(), 1)
            os.write(1, b"own\\n")
            os.dup2(kept, 1)
            os.write(1, b"after\\n")
            with open("elsewhere", "ab") as file:
                os.dup2(file.fileno(), 1)
        os.write(1, b"still own\\n")
    """)
    assert out == "before\nafter\n"
    assert (tmp_path / "elsewhere").read_text() == "own\nstill own\n"
    assert only().logs == "before\nafter\n"


def test_a_closed_descriptor_is_no_obstacle(in_one_file, recorded):
    assert (
        in_one_file("""
        os.close(2)
        with track():
            print("goes on", flush=True)
        os.close(1)
        with track():
            os.write(0, b"") if False else None
    """)
        == "goes on\n"
    )
    assert [run.logs for run in recorded()] == ["goes on\n", ""]


def test_nothing_is_left_open(on_pipes):
    out, _ = on_pipes("""
        @track
        def solve(loud):
            if loud:
                c("loud\\n")
                print("louder", file=sys.stderr)
        solve(True), solve(False)
        before = sorted(os.listdir("/proc/self/fd")), os.fstat(1).st_ino, os.fstat(2).st_ino
        for number in range(41):
            solve(number % 3 == 0)
        after = sorted(os.listdir("/proc/self/fd")), os.fstat(1).st_ino, os.fstat(2).st_ino
        print("same" if before == after else (before, after))
    """)
    assert out.splitlines()[-1] == "same"


def test_silent_runs_share_one_file_and_leave_none(on_pipes, tmp_path, recorded):
    out, _ = on_pipes("""
        solve = track(lambda problem: problem)
        folder = os.path.join(os.environ["NXTRACK_DIR"], "captures")
        seen = set()
        for number in range(10):
            solve(number)
            seen.update(os.listdir(folder))
        print(len(seen))
    """)
    assert int(out) == 2  # one for each of the two pipes
    assert os.listdir(tmp_path / "spool" / "captures") == []
    assert os.listdir(tmp_path / "spool" / "payloads") == []
    assert len(recorded()) == 10


# -- ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["pipes", "file"])
def test_all_is_in_the_log_of_a_killed_process(on_pipes, in_one_file, recovered, place):
    run = on_pipes if place == "pipes" else in_one_file
    run(
        """
        with track(input={"stops": 3}):
            for number in range(1000):
                c(f"c {number}\\n")
                os.write(2, b"error %d\\n" % number)
                print("python", number)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        status=-signal.SIGKILL,
    )
    found = recovered()
    assert (found.status, found.died, found.input) == ("failed", False, {"stops": 3})
    lines = found.logs.splitlines()
    for kind in ("c", "error", "python"):
        assert [line for line in lines if line.startswith(kind)] == [f"{kind} {number}" for number in range(1000)]
    assert len(lines) == 3000


def test_the_traceback_of_a_crash_is_in_the_log(in_one_file, recovered):
    in_one_file(
        """
        import faulthandler
        faulthandler.enable()
        with track():
            c("last\\n")
            ctypes.string_at(0)
        """,
        status=-signal.SIGSEGV,
    )
    assert recovered().logs.startswith("last\nFatal Python error: Segmentation fault\n")


def test_a_run_that_is_open_when_the_program_ends_is_shown(on_pipes, recovered):
    out, _ = on_pipes("""
        tracker = track()
        tracker.__enter__()
        c("last words\\n")
    """)
    assert out == "last words\n"
    assert recovered().logs == "last words\n"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os._exit(4)", 4),
        ("os.abort()", -signal.SIGABRT),
        ("os.execv('/bin/sh', ['sh', '-c', 'echo another; echo program >&2; exit 3'])", 3),
        ("os.execlp('sh', 'sh', '-c', 'echo another; echo program >&2; exit 3')", 3),
    ],
)
def test_last_words_before_a_process_ends_in_an_instant(on_pipes, recovered, end, status):
    text = """
        with track():
            print("python", flush=True)
            os.write(1, b"last\\n")
            os.write(2, b"words\\n")
            END
        """.replace("END", end)
    bare = on_pipes(text, status=status, BARE="1")
    assert on_pipes(text, status=status) == bare
    assert bare[0].startswith("python\nlast\n")
    assert sorted(recovered().logs.splitlines()) == ["last", "python", "words"]


def test_a_program_that_cannot_be_started_leaves_the_capture_as_it_was(on_pipes, only):
    out, _ = on_pipes("""
        with track():
            os.write(1, b"before\\n")
            try:
                os.execv("nothing-there", ["nothing-there"])
            except FileNotFoundError:
                os.write(1, b"after\\n")
    """)
    assert out == only().logs == "before\nafter\n"


def test_an_exception_is_as_without_us(on_a_terminal, only):
    text = """
        with track():
            c("c\\n")
            raise ValueError("no")
    """
    bare = on_a_terminal(text, BARE="1")
    assert on_a_terminal(text).replace("solver1.py", "solver0.py") == bare
    assert only().logs.replace("solver1.py", "solver0.py") == bare


def test_a_child_that_outlives_the_run_is_not_waited_for_and_still_shown(on_pipes, only):
    out, _ = on_pipes("""
        began = time.monotonic()
        with track():
            child = subprocess.Popen(["sh", "-c", "echo within; sleep 3; echo later"])
            time.sleep(1)
        print("quick" if time.monotonic() - began < 2.5 else "slow", flush=True)
        child.wait()
        time.sleep(0.3)
    """)
    assert out == "within\nquick\nlater\n"
    assert only().logs == "within\n"


def test_a_forked_child_writes_to_the_run_it_was_forked_in(on_pipes, recorded):
    out, _ = on_pipes("""
        @track(name="inner")
        def inner():
            c("inner c\\n")
            print("inner python")

        with track(name="outer"):
            c("parent\\n")
            if os.fork() == 0:
                c("child c\\n")
                libc.fflush(None)
                print("child python", flush=True)
                inner()
                sys.stdout.flush()
                os._exit(0)
            os.wait()
            print("parent again")
    """)
    by = {run.name: run for run in recorded()}
    assert by["inner"].logs == "inner c\ninner python\n"
    assert by["outer"].logs.splitlines() == [
        *("parent", "child c", "child python", "inner c", "inner python", "parent again"),
    ]
    assert out == by["outer"].logs


# -- several runs ------------------------------------------------------------------------------------------


def test_a_run_inside_a_run_has_its_text_alone(on_pipes, recorded):
    out, _ = on_pipes("""
        with track(name="outer"):
            c("outer 1\\n")
            with track(name="inner"):
                c("inner\\n")
            c("outer 2\\n")
        c("outside\\n")
    """)
    by = {run.name: run for run in recorded()}
    assert out == "outer 1\ninner\nouter 2\noutside\n"
    assert (by["outer"].logs, by["inner"].logs) == ("outer 1\nouter 2\n", "inner\n")
    assert by["outer"].notes == by["inner"].notes == []


def test_what_a_consumer_writes_is_no_text_of_the_generator(on_pipes, only):
    out, _ = on_pipes("""
        @track
        def anytime():
            for number in range(3):
                c(f"step {number}\\n")
                yield number
        for number in anytime():
            c(f"consumer {number}\\n")
    """)
    assert out.splitlines() == [f"{who} {number}" for number in range(3) for who in ("step", "consumer")]
    assert only().logs == "step 0\nstep 1\nstep 2\n"


SIDE_BY_SIDE = """
    barrier, lock = threading.Barrier(2), threading.Lock()
    def solve(name):
        with track(name=name, capture=CAPTURE):
            barrier.wait()
            c(f"c of {name}\\n")
            print(f"python of {name}\\n", end="")
            barrier.wait()
    if MAIN:
        thread = threading.Thread(target=solve, args=("b",))
        thread.start()
        solve("a")
        thread.join()
    else:
        threads = [threading.Thread(target=solve, args=(name,)) for name in "ab"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    time.sleep(0.1)
    with track(name="later", capture=CAPTURE):
        c("c later\\n")
"""


def test_runs_side_by_side_share_what_cannot_be_told_apart_and_say_so(on_pipes, recorded):
    out, _ = on_pipes(SIDE_BY_SIDE.replace("CAPTURE", "'fd'").replace("MAIN", "False"))
    by = {run.name: run for run in recorded()}
    assert sorted(out.splitlines()) == ["c later", "c of a", "c of b", "python of a", "python of b"]
    for name in "ab":
        assert {"c of a", "c of b", f"python of {name}"} == set(by[name].logs.splitlines())
        assert SHARED_NOTE in by[name].notes
    assert (by["later"].logs, by["later"].notes) == ("c later\n", [])


@pytest.mark.parametrize("main", [True, False])
def test_by_itself_nothing_is_captured_where_runs_are_side_by_side(on_pipes, recorded, main):
    out, _ = on_pipes(SIDE_BY_SIDE.replace("CAPTURE", "None").replace("MAIN", str(main)))
    by = {run.name: run for run in recorded()}
    assert sorted(out.splitlines()) == ["c later", "c of a", "c of b", "python of a", "python of b"]
    for name in "ab":
        assert by[name].logs == f"python of {name}\n"
    assert by["later"].logs == ""  # as it may happen again


def test_coroutines_are_captured_by_python_alone(on_pipes, recorded):
    out, _ = on_pipes("""
        import asyncio
        @track
        async def solve(name):
            c(f"c {name}\\n")
            print("python", name)
            await asyncio.sleep(0.01)
        async def main():
            await asyncio.gather(solve("a"), solve("b"))
            with track(input="block"):
                print("python block")
        asyncio.run(main())
    """)
    assert len(out.splitlines()) == 5
    assert {run.input: run.logs for run in recorded()} == {name: f"python {name}\n" for name in ("a", "b", "block")}


# -- what must not be in the log, and how long it may be ---------------------------------------------------


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_patterns_mask_what_came_by_descriptors(on_pipes, recovered, tmp_path, end):
    text = """
        import re
        with track(redact=re.compile(r"key-[a-z]+|hun(?=ter2)")):
            c("before key-hidden after\\nhunter2\\n")
            os.write(2, b"error key-unseen \\xff\\n")
            END
        """.replace("END", end)
    on_pipes(text, status=0 if end == "pass" else -9)
    found = recovered()
    assert sorted(found.logs.splitlines()) == sorted(
        ["before *** after", "***ter2", "error *** \\xff", "[nxtrack: bytes that are no UTF-8, shown as \\xNN: 1]"]
    )
    assert b"hidden" not in spooled(tmp_path)
    assert b"unseen" not in spooled(tmp_path)
    assert b"hunter" not in spooled(tmp_path)


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_names_mask_the_values_that_follow_them(on_pipes, recovered, tmp_path, end):
    text = """
        with track(redact=["token", "password"]):
            c('{"token": "c-hidden", "user": "ada"}\\n')
            print("Password = py-hidden, then more; tokens: 5")
            END
        """.replace("END", end)
    on_pipes(text, status=0 if end == "pass" else -9)
    assert recovered().logs == '{***, "user": "ada"}\n***, then more; tokens: 5\n'
    assert b"hidden" not in spooled(tmp_path)


def test_a_licence_is_masked_by_itself(on_pipes, only):
    out, _ = on_pipes("""
        with track():
            c("Set parameter LicenseID to value 2443533\\n")
            print("Academic license 2443533 - for non-commercial use only - registered to jo___@example.edu")
    """)
    assert "2443533" in out
    assert only().logs == (
        "Set parameter LicenseID to value ***\nAcademic license *** - for non-commercial use only - registered to ***\n"
    )


def test_a_log_without_end_keeps_head_and_tail_and_takes_no_more_disk(on_pipes, only, tmp_path):
    out, _ = on_pipes(
        """
        with track():
            for number in range(40):
                for line in range(1000):
                    libc.dprintf(1, b"%0999d\\n", number * 1000 + line)
                time.sleep(0.1)
            folder = os.path.join(os.environ["NXTRACK_DIR"], "captures")
            disk = max(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))
        print(disk)
    """,
        NXTRACK_MAX_LOG="2MB",
    )
    assert len(out) > 40_000_000
    lines = only().logs.splitlines()
    (cut,) = [place for place, line in enumerate(lines) if line.startswith("[nxtrack: bytes of the log")]
    assert [int(line) for line in lines[:cut]] == list(range(cut))
    tail = [int(line) for line in lines[cut + 1 :]]
    assert tail == list(range(40_000 - len(tail), 40_000))
    assert 900 < cut <= 1000
    assert 900 < len(tail) <= 1000
    assert int(out.splitlines()[-1]) < 12_000_000


def test_progress_is_kept_as_it_stood_last(on_pipes, only):
    out, _ = on_pipes("""
        with track():
            for percent in range(101):
                c(f"\\r{percent:3}% of the nodes")
            c("\\ndone\\n")
    """)
    assert out.count("\r") == 101
    assert only().logs == "100% of the nodes\ndone\n"


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_colours_are_kept_or_left_out_as_it_was_said_where_the_run_was_tracked(on_pipes, recovered, end):
    text = """
        with track():
            c("\\x1b[31mred\\x1b[0m\\n")
            print("\\x1b[1mbold\\x1b[m", flush=True)
            END
        """.replace("END", end)
    out, _ = on_pipes(text, status=0 if end == "pass" else -9, NXTRACK_ANSI="strip")
    assert recovered().logs == "red\nbold\n"
    assert end != "pass" or out == "\x1b[31mred\x1b[0m\n\x1b[1mbold\x1b[m\n"


# -- where it would do harm --------------------------------------------------------------------------------


def test_a_limit_on_the_size_of_files(on_pipes, recorded):
    _, err = on_pipes("""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        for _ in range(2):
            with track(capture="fd"):
                c("x" * 200 + "\\n")
                print("python")
        with track():
            print("python")
    """)
    assert [run.logs for run in recorded()] == ["python\n"] * 3
    assert err.count("the size of files is limited in this process") == 1


def test_a_disk_that_is_nearly_full(capfd, recorded, monkeypatch):
    with track(name="begun before"):
        os.write(1, b"captured\n")
        monkeypatch.setattr(channels, "_LEAST_FREE_BYTES", 1 << 60)
        end = time.monotonic() + 10
        while descriptors._channels and time.monotonic() < end:
            time.sleep(0.05)
        os.write(1, b"not captured\n")
        print("python")
    monkeypatch.setattr(channels, "_free", [0.0, 0.0])
    with track(name="begun then"):
        os.write(1, b"not captured\n")
        print("python")
    before, then = recorded()
    assert before.logs == "captured\npython\n"
    assert [note for note in before.notes if "the disk is nearly full" in note]
    assert (then.logs, then.notes) == ("python\n", [])
    assert capfd.readouterr().out == "captured\nnot captured\npython\nnot captured\npython\n"


def test_interrupts_leave_the_descriptors_as_they_were(on_pipes):
    """A Ctrl-C may come between any two of our steps."""
    out, err = on_pipes("""
        import random
        def handler(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, handler)
        @track
        def solve():
            c("c\\n")
            print("python")
        solve()
        places = os.fstat(1).st_ino, os.fstat(2).st_ino
        interrupted = wrong = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-3))
                solve()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            wrong += places != (os.fstat(1).st_ino, os.fstat(2).st_ino)
        solve()
        print(places == (os.fstat(1).st_ino, os.fstat(2).st_ino), interrupted, wrong, file=sys.stderr)
        print("shown")
    """)
    same, interrupted, wrong = err.splitlines()[-1].split()
    assert same == "True"
    assert int(interrupted) > 50
    assert int(wrong) <= int(interrupted) / 50
    assert out.endswith("c\npython\nshown\n")


# -- a system that fails -----------------------------------------------------------------------------------

FAILS = """
    def failing(name, wanted, after=False):
        real = getattr(os, name)
        def fails(*args):
            if not wanted(*args):
                return real(*args)
            if after:
                real(*args)
            raise OSError(5, "Input/output error")
        setattr(os, name, fails)
"""


def test_a_descriptor_that_will_not_close_keeps_no_other_open(on_pipes, recorded):
    """Else the next run's streams would be led to where the last one's went."""
    out, err = on_pipes(
        FAILS
        + """
    def opened():
        return len(os.listdir("/proc/self/fd"))
    with track(name="1"):
        c("one\\n")
    before = opened()
    closed = []
    failing("close", lambda number: number >= 512 and not closed and not closed.append(number), after=True)
    with track(name="2"):
        c("two\\n")
        print("two as well")
    print(opened() - before, len(closed))
    with track(name="3"):
        c("three\\n")
        os.write(2, b"three as well\\n")
    """,
        NXTRACK_CAPTURE="fd",
    )
    assert out.splitlines() == ["one", "two", "two as well", "0 1", "three"]
    assert err == "three as well\n"
    logs = [sorted(run.logs.splitlines()) for run in recorded()]
    assert logs == [["one"], ["two", "two as well"], ["three", "three as well"]]


def test_text_whose_place_cannot_be_asked_is_shown_once(on_pipes, only):
    out, _ = on_pipes(
        FAILS
        + """
    failing("lseek", lambda number, place, whence: whence == os.SEEK_CUR)
    with track():
        print("one")
        c("two\\n")
        print("three")
    """,
        NXTRACK_CAPTURE="fd",
    )
    assert out.splitlines() == ["one", "two", "three"]
    assert only().logs == "one\ntwo\nthree\n"


# -- threads that print while runs begin and end ------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_threads_that_print_while_runs_begin_and_end(on_pipes, capture, unbuffered):
    """`print` holds neither its stream nor its descriptor while it writes."""
    out, err = on_pipes(
        """
        sys.setswitchinterval(1e-6)
        talking = True
        told = [0, 0]
        def talk(number):
            while talking:
                print(number, told[number], flush=True)  # as buffers of Python 3.11 break when threads fill them
                told[number] += 1
        threads = [threading.Thread(target=talk, args=(number,)) for number in (0, 1)]
        [thread.start() for thread in threads]
        @track(capture=CAPTURE)
        def solve():
            pass
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            solve()
        talking = False
        [thread.join() for thread in threads]
        print(told, file=sys.stderr)
        """.replace("CAPTURE", repr(capture)),
        PYTHONUNBUFFERED=unbuffered,
        NXTRACK_DURABILITY="process",
    )
    (told,) = err.splitlines()
    expected = collections.Counter()
    for number, times in enumerate(json.loads(told)):
        for time_told in range(times):
            expected.update(f"{number} {time_told}\n")
    assert collections.Counter(out) == expected  # Threads may well disturb each other's lines.


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_bytes_for_a_buffer_are_in_the_log_once(on_pipes, only, unbuffered):
    out, _ = on_pipes(
        """
        with track():
            sys.stdout.buffer.write(b"first\\n")
            sys.stdout.buffer.flush()
            c("c\\n")
            print("text", flush=True)
            sys.stdout.buffer.write(b"last\\n")
            sys.stdout.flush()
        """,
        PYTHONUNBUFFERED=unbuffered,
    )
    assert out == "first\nc\ntext\nlast\n"
    assert only().logs == out


def test_a_program_that_opens_its_output_anew_is_shown_and_told(on_pipes, only):
    """It empties the log by that, as it would empty a file that the output led to."""
    out, err = on_pipes("""
        with track():
            print("python", flush=True)
            time.sleep(0.2)
            subprocess.run(["sh", "-c", "echo anew > /dev/stdout; echo longer than all that; echo error > /dev/stderr"])
            c("c\\n")
    """)
    assert (out, err) == ("python\nanew\nlonger than all that\nc\n", "error\n")
    run = only()
    assert sorted(run.logs.splitlines()) == ["anew", "c", "error", "longer than all that"]
    assert "opened its standard output anew" in run.notes[0]


def test_errors_that_are_moved_to_the_log_take_no_more_disk(on_pipes, only):
    _, err = on_pipes("""
        folder = os.path.join(os.environ["NXTRACK_DIR"], "captures")
        with track():
            for _ in range(10):
                os.write(2, b"e" * 999_999 + b"\\n")
                time.sleep(0.1)
            disk = sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))
        print("\\n", disk, file=sys.stderr)
    """)
    assert int(err.split()[-1]) < 12_000_000
    assert len(only().logs) == 10_000_000


# -- what somebody else does to its files --------------------------------------------------------------------


def _large(path):
    with path.open("wb") as file:
        file.truncate(1 << 38)


THINGS = {
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.parents[2] / "canary"),
    "a folder": lambda path: path.mkdir(),
    "a file of much of nothing": _large,
    "nothing": lambda path: None,
}

HIT = """
    import re
    with track(redact=re.compile("key-[a-z]+")):
        print("python key-hidden", flush=True)
        os.write(2, b"error\\n")
        time.sleep(0.2)
        HIT
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("kind", ["log", "errors", "masks"])
def test_something_else_in_the_place_of_a_file_of_a_dead_process(on_pipes, recovered, tmp_path, kind, thing):
    on_pipes(HIT.replace("HIT", "pass"), status=-signal.SIGKILL)
    (tmp_path / "canary").write_text("canary")
    captures = sorted((tmp_path / "spool" / "captures").iterdir())
    (masks,) = (tmp_path / "spool" / "payloads").glob("*.masks")
    path = {"log": captures[0], "errors": captures[1], "masks": masks}[kind]
    path.unlink()
    THINGS[thing](path)
    found = recovered()
    assert (found.status, found.died) == ("failed", False)
    if kind == "errors":
        assert found.logs == "python ***\nerror\n"
    elif kind == "log":
        assert "key-" not in found.logs
        assert not found.logs.strip("\0") or "left out" in found.logs
    elif thing != "nothing":
        assert "withheld" in found.logs
        assert "key-" not in found.logs
    assert (tmp_path / "canary").read_text() == "canary"


@pytest.mark.parametrize("thing", ["a folder", "nothing"])
def test_something_else_in_the_place_of_a_file_of_a_living_process(on_pipes, only, tmp_path, thing):
    make = "os.mkdir(path)" if thing == "a folder" else "pass"
    _, err = on_pipes(
        """
        folder = os.path.join(os.environ["NXTRACK_DIR"], "captures")
        with track():
            c("before\\n")
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                os.unlink(path)
                MAKE
            c("after\\n")
        """.replace("MAKE", make)
    )
    assert err == ""
    assert only().logs == "before\nafter\n"


def test_a_program_that_closes_what_it_does_not_know(on_pipes, recorded):
    """The run cannot be recorded any more; what the program prints is not touched by that."""
    out, _ = on_pipes("""
        print("before", flush=True)
        with track():
            print("within", flush=True)
            os.closerange(3, 256)
            print("python", flush=True)
        print("after", flush=True)
        os.write(1, b"descriptor\\n")
    """)
    assert out == "before\nwithin\npython\nafter\ndescriptor\n"
