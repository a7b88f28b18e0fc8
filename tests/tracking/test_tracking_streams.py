"""The log of a run, and that what the user's program prints goes where it went before, byte for byte."""

import asyncio
import concurrent.futures
import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest

from nxtrack import track
from nxtrack.tracking import streams
from nxtrack.tracking.streams import SHARED_NOTE, Sink, StreamProxy


@track
def say(*texts):
    for text in texts:
        print(text)


def is_proxy(stream):
    return type(stream) is StreamProxy


# -- what is captured --------------------------------------------------------------------------------------


def test_print_and_error_output(only, capsys):
    with track():
        print("out")
        print("err", file=sys.stderr)
        sys.stdout.write("written\n")
        sys.stdout.writelines(["lines\n", "more\n"])
        print("a", "b", sep="-", end="!\n", flush=True)
    assert only().logs == "out\nerr\nwritten\nlines\nmore\na-b!\n"
    assert capsys.readouterr() == ("out\nwritten\nlines\nmore\na-b!\n", "err\n")


def test_capsys_and_capfd_see_what_they_saw(capfd, only):
    say("solving")
    assert capfd.readouterr() == ("solving\n", "")
    assert only().logs == "solving\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"streams": "stderr"}, "err\n"),
        ({"streams": ["stdout"]}, "out\n"),
        ({"streams": "stdout, stderr"}, "out\nerr\n"),
        ({"capture": "off"}, ""),
        ({"capture": "sys"}, "out\nerr\n"),
        ({"capture": "auto"}, "out\nerr\n"),
    ],
)
def test_what_is_chosen(arguments, expected, only, capsys):
    with track(**arguments):
        print("out")
        print("err", file=sys.stderr)
    assert only().logs == expected
    assert capsys.readouterr() == ("out\n", "err\n")


def test_text_of_all_makes(only, capsys):
    class Shout(str):
        __slots__ = ()

        def encode(self, *_):
            raise RuntimeError

    with track():
        print("Zürich 🚚")
        print(Shout("shout"))
        print("x" * 1_000_000)
        print("\x00\x1b[31mred\r")
        with pytest.raises(TypeError):
            sys.stdout.write(5)
        with pytest.raises(TypeError):
            sys.stdout.writelines([5])
        assert sys.stdout.write("ab") == 2
    expected = "Zürich 🚚\nshout\n" + "x" * 1_000_000 + "\n\x00\x1b[31mred\r\nab"
    assert only().logs == expected
    assert capsys.readouterr().out == expected


def test_lone_surrogates(only):
    with track():
        print("a\udcffb", file=sys.stderr)
    assert only().logs == "a\\udcffb\n"


def test_binary_output(only, capfdbinary):
    with track():
        assert sys.stdout.buffer.write(b"bytes\n") == 6
        sys.stdout.buffer.write(bytearray(b"array\n"))
        sys.stdout.buffer.write(memoryview(b"view\n"))
        sys.stdout.buffer.writelines([b"line\n"])
        sys.stdout.buffer.flush()
        sys.stdout.flush()
    assert only().logs == "bytes\narray\nview\nline\n"
    assert capfdbinary.readouterr().out == b"bytes\narray\nview\nline\n"


def test_invalid_bytes(only, capfdbinary):
    with track():
        sys.stdout.buffer.write("Zürich\n".encode("latin-1"))
        sys.stdout.buffer.flush()
    assert only().logs == "Z\\xfcrich\n[nxtrack: bytes that are no UTF-8, shown as \\xNN: 1]\n"
    assert capfdbinary.readouterr().out == b"Z\xfcrich\n"


def test_redacted_bytes(only, capfdbinary):
    with track(redact=re.compile("secret")):
        sys.stdout.buffer.write(b"\xfc secret\n")
    assert only().logs == "\\xfc ***\n"


def test_a_wrapper_of_the_buffer(only, capfd):
    with track():
        wrapper = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", write_through=True)
        print("wrapped", file=wrapper)
        wrapper.detach()
    assert only().logs == "wrapped\n"


def test_warnings_are_in_the_log(python, only):
    python("""
        import warnings
        from nxtrack import track
        with track():
            warnings.warn("mind the gap")
        """)
    assert "UserWarning: mind the gap" in only().logs


# -- logging -----------------------------------------------------------------------------------------------


@pytest.fixture
def logger():
    """A logger that is nobody else's."""
    made = logging.Logger("solver")  # noqa: LOG001  (nobody else's)
    yield made
    for handler in list(made.handlers):
        made.removeHandler(handler)
        handler.close()


def test_handlers_made_earlier_and_later(logger, recorded, capsys):
    original = sys.stderr
    early = logging.StreamHandler()
    logger.addHandler(early)
    with track():
        assert is_proxy(early.stream)
        logger.warning("early")
        late = logging.StreamHandler()
        logger.addHandler(late)
        logger.warning("both")
    assert early.stream is late.stream is original
    logger.warning("after")
    with track():
        logger.warning("again")
    assert [run.logs for run in recorded()] == ["early\nboth\nboth\n", "again\nagain\n"]
    assert capsys.readouterr().err == "early\nboth\nboth\nafter\nafter\nagain\nagain\n"


def test_handlers_of_other_streams_stay(logger, only):
    own = io.StringIO()
    handler = logging.StreamHandler(own)
    logger.addHandler(handler)
    with track():
        logger.warning("elsewhere")
        assert handler.stream is own
    assert (own.getvalue(), only().logs) == ("elsewhere\n", "")


def test_a_handler_that_is_given_another_stream_keeps_it(logger):
    own = io.StringIO()
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    with track():
        handler.setStream(own)
        logger.warning("own")
    assert handler.stream is own
    assert own.getvalue() == "own\n"


def test_the_last_resort(only):
    with track():
        logging.Logger("without-handlers").warning("last resort")  # noqa: LOG001  (as above)
    assert only().logs == "last resort\n"


def test_a_handler_that_raises(only, logger, capsys):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("broken handler")

    logger.addHandler(Broken())
    with pytest.raises(RuntimeError, match="broken handler"), track():
        logger.warning("x")
    assert only().error == "RuntimeError: broken handler"


# -- the streams themselves --------------------------------------------------------------------------------


def test_the_streams_are_as_they_were(capsys):
    before = sys.stdout, sys.stderr
    with track():
        assert is_proxy(sys.stdout)
        assert is_proxy(sys.stderr)
        with track():
            pass
        assert is_proxy(sys.stdout)
    assert (sys.stdout, sys.stderr) == before
    with pytest.raises(ValueError), track():
        raise ValueError
    assert (sys.stdout, sys.stderr) == before
    with track(capture="off"):
        assert (sys.stdout, sys.stderr) == before


def test_a_proxy_passes_everything_on(capfd):
    original = sys.stdout
    with track():
        proxy = sys.stdout
        assert isinstance(proxy, io.TextIOBase)
        for name in ("encoding", "errors", "newlines", "name", "mode", "closed", "line_buffering"):
            assert getattr(proxy, name, None) == getattr(original, name, None)
        assert proxy.fileno() == original.fileno()
        assert proxy.isatty() == original.isatty()
        assert proxy.writable()
        assert proxy.buffer.fileno() == original.buffer.fileno()
        assert proxy == original
        proxy.tag = 5
        assert original.tag == 5
        del proxy.tag
        assert not hasattr(proxy, "nothing")
        assert repr(original.encoding) in repr(proxy) or "StreamProxy" in repr(proxy)


def test_a_stream_without_buffer(monkeypatch, only):
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    with track():
        assert not hasattr(sys.stdout, "buffer")
        print("x")
    assert sys.stdout is own
    assert own.getvalue() == only().logs == "x\n"


def test_a_program_without_streams(monkeypatch, only):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.delattr(sys, "stderr")
        with track():
            print("nowhere")
            assert sys.stdout is None
            assert not hasattr(sys, "stderr")
    assert only().logs == ""
    assert only().status == "succeeded"


def test_a_closed_stream(monkeypatch, only):
    with monkeypatch.context() as patch:
        own = io.StringIO()
        own.close()
        patch.setattr(sys, "stdout", own)
        with pytest.raises(ValueError, match="closed file"), track():
            print("x")
    assert only().error.startswith("ValueError: I/O operation on closed file")


def test_a_stream_closed_by_the_solver(monkeypatch, recorded):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        with track():
            sys.stdout.close()
        with track():
            print("x", file=sys.stderr)
    assert recorded()[1].logs == "x\n"


def test_a_stream_whose_write_raises(monkeypatch, only):
    class Full:
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

        def flush(self): ...

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        with pytest.raises(BrokenPipeError), track():
            print("into the void")
    assert only().error == "BrokenPipeError: [Errno 32] Broken pipe"
    assert only().logs.startswith("into the void")


def test_a_stream_that_prints(monkeypatch, only, capsys):
    class Chatty(io.StringIO):
        def write(self, text):
            print("chatting", file=sys.stderr)
            return super().write(text)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Chatty())
        with track():
            sys.stdout.write("x\n")
    assert only().logs == "x\n"
    assert capsys.readouterr().err == "chatting\n"


def test_streams_swapped_between_runs(recorded, capsys):
    say("one")
    with contextlib.redirect_stdout(io.StringIO()) as first:
        say("two")
    with contextlib.redirect_stdout(io.StringIO()) as second:
        say("three")
    say("four")
    assert [run.logs for run in recorded()] == ["one\n", "two\n", "three\n", "four\n"]
    assert (first.getvalue(), second.getvalue()) == ("two\n", "three\n")
    assert capsys.readouterr().out == "one\nfour\n"


def test_redirection_inside_a_run_is_the_programs_own_affair(only, capsys):
    with track():
        print("before")
        with contextlib.redirect_stdout(io.StringIO()) as own:
            print("redirected")
        print("after")
    assert own.getvalue() == "redirected\n"
    assert only().logs == capsys.readouterr().out == "before\nafter\n"


def test_a_run_inside_a_redirection_inside_a_run(recorded, capsys):
    with track(name="outer"):
        with contextlib.redirect_stdout(io.StringIO()) as own, track(name="inner"):
            print("inner")
        print("outer")
    assert {run.name: run.logs for run in recorded()} == {"outer": "outer\n", "inner": "inner\n"}
    assert own.getvalue() == "inner\n"
    assert capsys.readouterr().out == "outer\n"


def test_a_redirection_that_ends_after_the_run(recorded, capsys):
    """It brings back the proxy it found; the next run sees to that."""
    original = sys.stdout
    redirection = contextlib.redirect_stdout(io.StringIO())
    with track():
        redirection.__enter__()
    print("still redirected")
    redirection.__exit__(None, None, None)
    assert is_proxy(sys.stdout)
    print("as ever")
    with track():
        print("once")
    assert sys.stdout is original
    assert [run.logs for run in recorded()] == ["", "once\n"]
    assert capsys.readouterr().out == "as ever\nonce\n"


def test_a_stream_put_in_place_of_the_other(only, capsys, monkeypatch):
    original = sys.stderr
    with track():
        sys.stderr = sys.stdout
        print("both", file=sys.stderr)
    assert sys.stderr is sys.stdout
    sys.stderr = original
    assert only().logs == capsys.readouterr().out == "both\n"


class Tee:
    """What notebooks and programs put around `sys.stdout`."""

    def __init__(self, *targets):
        self.targets = targets

    def write(self, text):
        for target in self.targets:
            target.write(text)
        return len(text)

    def flush(self): ...


def test_proxies_around_proxies(recorded, capsys):
    original, own = sys.stdout, io.StringIO()
    with track():
        sys.stdout = Tee(sys.stdout, own)
        print("one")
        with track():
            print("two")
    with track():
        print("three")
    assert type(sys.stdout) is Tee
    sys.stdout = original
    assert sorted(run.logs for run in recorded()) == ["one\n", "three\n", "two\n"]
    assert own.getvalue() == capsys.readouterr().out == "one\ntwo\nthree\n"


# -- whose text it is --------------------------------------------------------------------------------------


def test_an_inner_run_has_its_text_alone(recorded):
    with track():
        print("outer")
        say("inner")
        print("outer again")
    assert [run.logs for run in recorded()] == ["outer\nouter again\n", "inner\n"]


def test_tasks_and_threads_are_told_apart(recorded):
    @track
    async def wait(number):
        for _ in range(5):
            print("task", number)
            await asyncio.sleep(0)

    @track
    def work(number):
        for _ in range(5):
            print("thread", number)

    async def main():
        await asyncio.gather(*map(wait, range(5)), *(asyncio.to_thread(work, number) for number in range(5)))

    asyncio.run(main())
    for run in recorded():
        kind = "task" if "wait" in run.source else "thread"
        assert run.logs == f"{kind} {run.input}\n" * 5
        assert run.notes == []


def test_a_thread_without_context_belongs_to_the_only_run(only):
    with track():
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
    assert only().logs == "from a thread\n"
    assert only().notes == []


def test_text_that_cannot_be_told_apart_is_in_all_and_they_say_so(recorded):
    with concurrent.futures.ThreadPoolExecutor(1) as shared:
        shared.submit(int).result()

        @track
        def solve(number, barrier):
            print("own", number)
            barrier.wait()
            if number == 0:
                shared.submit(print, "shared").result()
            barrier.wait()

        barrier = threading.Barrier(2)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(solve, range(2), [barrier] * 2))
        say("alone")
    first, second, third = recorded()
    assert {first.logs, second.logs} == {"own 0\nshared\n", "own 1\nshared\n"}
    assert SHARED_NOTE in first.notes
    assert SHARED_NOTE in second.notes
    assert third.notes == []


def test_a_stream_that_only_one_run_takes_is_not_shared(recorded):
    with track(streams="stderr") as first, track(streams="stdout") as second:
        thread = threading.Thread(target=print, args=("x",))
        thread.start()
        thread.join()
    assert first.status == second.status
    assert [run.logs for run in recorded()] == ["", "x\n"]
    assert [run.notes for run in recorded()] == [[], []]


def test_runs_that_overlap_without_nesting(recorded, capsys):
    before = sys.stdout
    first, second = track(name="first"), track(name="second")
    stacks = [contextlib.ExitStack(), contextlib.ExitStack()]
    stacks[0].enter_context(first)
    print("1")
    stacks[1].enter_context(second)
    print("2")
    stacks[0].close()
    print("2 again")
    assert is_proxy(sys.stdout)
    stacks[1].close()
    print("outside")
    assert sys.stdout is before
    assert {run.name: run.logs for run in recorded()} == {"first": "1\n", "second": "2\n2 again\n"}
    assert capsys.readouterr().out == "1\n2\n2 again\noutside\n"


def test_threads_that_print_at_once_lose_nothing(only, capsys):
    def work(number):
        for line in range(200):
            sys.stdout.write(f"{number}:{line}\n")

    with track():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for text in (only().logs, capsys.readouterr().out):
        assert sorted(text.split()) == sorted(f"{number}:{line}" for number in range(8) for line in range(200))


# -- the module by itself ----------------------------------------------------------------------------------


def test_the_collector_may_end_a_run_anywhere():
    """It runs in any thread at any time, so also in one that is just starting or stopping a capture."""
    with streams._lock:
        done = threading.Event()

        def enter():
            with streams._lock:
                streams.stop(Sink((), print))
                done.set()

        thread = threading.Thread(target=enter)
        thread.start()
        streams.stop(Sink((), print))
    thread.join(5)
    assert done.is_set()


OUTPUT = """
    import logging, sys
    {track}
    import contextlib
    logging.basicConfig(format="%(message)s")
    with {block}:
        print("Zürich", "🚚")
        sys.stdout.buffer.write(b"bytes\\r\\n")
        sys.stdout.flush()
        logging.warning("warned")
        print("no newline", end="")
        sys.stderr.write("half")
        print("x" * 100_000)
    print("after", flush=True)
    sys.stdout.buffer.write(b"\\xff")
"""


def test_the_output_is_the_same_byte_for_byte(tmp_path, only):
    outputs = []
    for name, block, imports in (
        ("without", "contextlib.nullcontext()", "import contextlib"),
        ("with", "track()", "from nxtrack import track"),
    ):
        script = tmp_path / f"{name}.py"
        script.write_text(textwrap.dedent(OUTPUT).format(track=imports, block=block), encoding="utf-8")
        done = subprocess.run([sys.executable, str(script)], capture_output=True, check=True, env=os.environ)
        outputs.append((done.stdout, done.stderr))
    assert outputs[0] == outputs[1]
    assert only().logs.startswith("Zürich 🚚\nbytes\r\nwarned\nno newlinehalfxxx")


def test_patterns_find_what_comes_in_several_writes(only):
    with track(redact=re.compile(r"password: \S+")) as run:
        print("password:", "hunter2")
        sys.stdout.write("my pass")
        sys.stdout.write("word: hunter3 is")
        run.log("password: hunter4")
        sys.stdout.write(" secret")
    assert "hunter" not in only().logs
    assert only().logs == "***\n***\nmy *** is secret"


def test_a_line_without_end_is_not_kept_waiting_for_ever(only, monkeypatch):
    monkeypatch.setattr("nxtrack.tracking.state._LONGEST_LINE", 10)
    with track(redact=re.compile("x")):
        sys.stdout.write("a" * 11)
        assert only().logs == "a" * 11


def test_what_our_own_threads_cause_to_be_printed_is_no_runs(only):
    with track():
        thread = threading.Thread(target=lambda: print("from the delivering thread"), name="nxtrack-0")
        thread.start()
        thread.join()
        print("from the solver")
    assert only().logs == "from the solver\n"
