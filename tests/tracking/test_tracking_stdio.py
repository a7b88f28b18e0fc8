"""What the C library holds back when a run begins and ends: it is where it belongs, and nobody waits for it."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many threads there are")

PROLOGUE = """
    import ctypes, os, sys, threading, time
    from nxtrack import track
    from nxtrack.tracking import stdio
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = libc.fopen.restype = ctypes.c_void_p
    def opened(descriptor):
        return ctypes.c_void_p(libc.fdopen(descriptor, b"w"))
    def c(text, stream):
        libc.fputs(text.encode(), stream)
    def blocked_in_c():
        # A thread that Python does not know of reads the C library's stdin, for ever.
        os.dup2(os.pipe()[0], 0)
        libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.getchar, None)
        time.sleep(0.1)
        assert threading.active_count() == 1
    def blocked_in_python():
        os.dup2(os.pipe()[0], 0)
        threading.Thread(target=libc.getchar, daemon=True).start()
        time.sleep(0.1)
"""


@pytest.mark.parametrize("lasts", [0, 0.2])
@pytest.mark.parametrize("capture", ["auto", "fd"])
def test_what_a_stream_of_a_library_holds_back_is_in_the_log_of_its_run(python, recorded, capture, lasts):
    done = python(
        PROLOGUE
        + f"""
    own = opened(1)
    c("before\\n", own)
    for number in range(2):
        with track(capture={capture!r}):
            stream = opened(os.dup(1))
            c(f"dup {{number}}\\n", stream)
            c(f"own {{number}}\\n", own)
            time.sleep({lasts})
        c(f"after {{number}}\\n", own)
    """
    )
    assert done.stdout == "before\ndup 0\nown 0\nafter 0\ndup 1\nown 1\nafter 1\n"
    assert [run.logs for run in recorded()] == ["dup 0\nown 0\n", "dup 1\nown 1\n"]


def test_of_runs_in_a_run_each_has_its_own(python, recorded):
    python(
        PROLOGUE
        + """
    own = opened(1)
    with track(name="outer"):
        c("outer\\n", own)
        with track(name="inner"):
            c("inner\\n", own)
        c("outer again\\n", own)
    """
    )
    assert {run.name: run.logs for run in recorded()} == {"outer": "outer\nouter again\n", "inner": "inner\n"}


@pytest.mark.parametrize("blocked", ["blocked_in_c", "blocked_in_python"])
@pytest.mark.parametrize("lasts", [0, 0.2])
@pytest.mark.parametrize("when", ["before", "within"])
def test_a_thread_that_reads_a_stream_hangs_nothing(python, only, blocked, lasts, when):
    python(
        PROLOGUE
        + f"""
    out, err = (ctypes.c_void_p.in_dll(libc, name) for name in ("stdout", "stderr"))
    libc.setvbuf(err, None, 0, ctypes.c_size_t(4096))
    if {when == "before"}:
        {blocked}()
    with track(capture="fd"):
        if {when == "within"}:
            {blocked}()
        c("of stdout", out)
        c("of stderr", err)
        time.sleep({lasts})
    os._exit(0)  # as C would wait, at the end of the process, for who reads
    """,
        timeout=30,
    )
    assert sorted([only().logs[:9], only().logs[9:]]) == ["of stderr", "of stdout"]


@pytest.mark.parametrize("tracked", [False, True])
def test_a_forked_child_does_not_write_what_its_parent_holds_back(python, recorded, tmp_path, tracked):
    path = tmp_path / "of the parent"
    done = python(
        PROLOGUE
        + f"""
    if {tracked}:
        with track():
            pass
    file = ctypes.c_void_p(libc.fopen({str(path)!r}.encode(), b"w"))
    c("once\\n", file)
    child = os.fork()
    if not child:
        with track(name="child"):
            os.write(1, b"of the child\\n")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    libc.fclose(file)
    """
    )
    assert path.read_text() == "once\n"
    assert done.stdout == "of the child\n"
    assert [run.logs for run in recorded() if run.name == "child"] == ["of the child\n"]


def test_alone_is_who_has_no_thread_but_ours_and_was_not_forked(python):
    done = python(
        PROLOGUE
        + """
    print(stdio._is_alone(0), stdio._is_alone(1))
    thread = threading.Thread(target=time.sleep, args=(0.5,))
    thread.start()
    print(stdio._is_alone(0), stdio._is_alone(1))
    thread.join()
    sys.stdout.flush()
    if not os.fork():
        stdio.forget()
        print(stdio._is_alone(0), flush=True)
        again = "from nxtrack.tracking import stdio; print(stdio._is_alone(0))"
        os.execv(sys.executable, [sys.executable, "-c", again])
    os.wait()
    """
    )
    assert done.stdout.split() == ["True", "False", "False", "True", "False", "True"]
