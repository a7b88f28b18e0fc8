"""What functions of `redact` leave of a log, whichever way its text came, and whatever they do meanwhile."""

import json
import logging
import os
import re
import signal
import sys
import threading

import pytest

from nxtrack import track
from nxtrack.spool.recovery import recover
from nxtrack.spool.store import Spool

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such descriptors")
FAILED = "masked, as a redacting function failed or left no text."


def hide(document):
    """Masks what a pattern of ours could as well."""
    if "log" in document:
        document["log"] = re.sub("key-[a-z]+", "[key]", document["log"])
    return document


def spooled(tmp_path):
    """Returns all that the spool's files hold."""
    return b"".join(path.read_bytes() for path in sorted((tmp_path / "spool").rglob("*")) if path.is_file())


# -- line by line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", ["sys", pytest.param("fd", marks=posix)])
def test_a_function_gets_each_line_once_without_its_newline(only, capfd, capture):
    seen = []

    def see(document):
        seen.append(dict(document))
        return {"log": f"<{document['log']}>"} if "log" in document else document

    with track(redact=see, capture=capture) as run:
        print("one\ntwo")
        print("three", end="")
        print(" and more\r")
        print()
        run.log("four\nfive")
        print("end", end="")
    assert only().logs == "<one>\n<two>\n<three and more>\r\n<>\n<four>\n<five>\n<end>"
    lines = ["one", "two", "three and more", "", "four", "five", "end"]
    assert [document["log"] for document in seen if "log" in document] == lines
    assert all(len(document) == 1 for document in seen if "log" in document)
    assert capfd.readouterr().out == "one\ntwo\nthree and more\r\n\nend"
    assert only().notes == []


def test_functions_come_one_after_the_other_and_before_patterns_and_names(only):
    def first(document):
        return {**document, "log": document["log"].replace("one", "two")} if "log" in document else document

    def second(document):
        return (
            {**document, "log": document["log"].replace("two", "token=three mail")} if "log" in document else document
        )

    with track(redact=[re.compile("mail"), first, second, "token"]):
        print("one")
    assert only().logs == "*** ***\n"


class Odd(str):
    __slots__ = ()

    def encode(self, *_):
        raise AssertionError

    def __str__(self):
        raise AssertionError


@pytest.mark.parametrize("kept", ["a\nb", "lone \ud800", Odd("odd")], ids=["lines", "surrogate", "subclass"])
def test_whatever_text_a_function_returns_is_kept(only, kept):
    with track(redact=lambda document: {"log": kept, "more": {1}}):
        print("text")
    assert only().logs == f"{str.encode(kept, 'utf-8', 'backslashreplace').decode()}\n"
    assert only().notes == []


def fails(document):
    raise ValueError(document)


ANSWERS = {
    "raises": fails,
    "nothing": lambda document: None,
    "gone": lambda document: {},
    "no text": lambda document: {"log": 5},
    "bytes": lambda document: {"log": b"bytes"},
    "the text alone": lambda document: document["log"],
}


@pytest.mark.parametrize("capture", ["sys", pytest.param("fd", marks=posix)])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_line_of_which_no_text_is_left_becomes_the_mask_and_is_counted(only, answer, capture):
    def function(document):
        return ANSWERS[answer](document) if "secret" in document.get("log", "") else document

    with track(redact=function, capture=capture) as run:
        print("a secret\nkept")
        run.log("secret too")
    assert only().logs == "***\nkept\n***\n"
    assert only().notes == [f"2 lines of the log were {FAILED}"]


def test_one_line_is_one_line(only):
    with track(redact=fails, capture="sys"):
        print("secret\r")
    assert only().logs == "***\r\n"
    assert only().notes == [f"1 line of the log was {FAILED}"]


def test_the_traceback_that_ends_the_log(only):
    with pytest.raises(ValueError, match="key-hidden"), track(redact=hide):
        logging.getLogger("solver").error("logged key-unseen")
        raise ValueError("with key-hidden")
    assert only().logs.endswith("ValueError: with [key]\n")
    assert 'raise ValueError("with [key]")' in only().logs


def test_what_logging_prints(only):
    logger = logging.getLogger("solver.masked")
    logger.propagate = False
    logger.addHandler(handler := logging.StreamHandler())
    try:
        with track(redact=hide):
            logger.error("logged key-unseen")
    finally:
        logger.removeHandler(handler)
    assert only().logs == "logged [key]\n"


@pytest.mark.parametrize("capture", ["sys", pytest.param("fd", marks=posix)])
def test_what_python_prints_is_masked_before_it_reaches_the_disk(tmp_path, only, capture):
    with track(redact=hide, capture=capture) as run:
        print("a key-printed")
        run.log("a key-logged")
        assert b"a [key]\n" * 2 in spooled(tmp_path)
        assert b"key-" not in spooled(tmp_path)
    assert only().logs == "a [key]\na [key]\n"


def test_what_a_solver_says_is_read_of_what_is_left(only):
    text = "Running HiGHS 1.9.0\nModel status        : Optimal\nHiGHS run time      :          0.00\n"
    with track(redact=lambda document: {**document, "log": "-"} if "log" in document else document):
        print(text)
    assert only().output is None
    assert only().metrics == []


# -- what came by descriptors ------------------------------------------------------------------------------

PROLOGUE = """
    import ctypes, json, os, re, signal, sys, threading, time
    from nxtrack import track
    libc = ctypes.CDLL(None)
    def c(text):
        libc.printf(b"%s", text.encode())
    def hide(document):
        if "log" in document:
            document["log"] = re.sub("key-[a-z]+", "[key]", document["log"])
        return document
"""


@posix
def test_what_came_by_descriptors_is_masked_when_the_run_ends(python, only, tmp_path):
    done = python(
        PROLOGUE
        + """
    seen = []
    def see(document):
        if "log" in document:
            seen.append(document["log"])
            document["log"] = document["log"].replace("hidden", "seen once")
        return hide(document)
    with track(redact=see, capture="fd"):
        c("c key-unseen\\n")
        print("python hidden")
        c("python hidden\\n")
        os.write(2, b"odd \\xff key-unseen\\n\\xfe kept\\n")
        os.system("echo child key-unseen")
    print(json.dumps(seen))
    """
    )
    lines = ["c [key]", "python seen once", "python seen once", "odd \\xff [key]", "\\xfe kept", "child [key]"]
    odd = "[nxtrack: bytes that are no UTF-8, shown as \\xNN: 1]"  # The other ones are part of a line that was changed.
    assert sorted(only().logs.splitlines()) == sorted([*lines, odd])
    assert b"key-" not in spooled(tmp_path)
    seen = json.loads(done.stdout.splitlines()[-1])
    # What the function has changed already does not come to it once more.
    given = ["c key-unseen", "python hidden", "python hidden", "odd \\xff key-unseen", "\\xfe kept", "child key-unseen"]
    assert sorted(seen) == sorted(given)


@posix
def test_the_traceback_follows_what_came_by_descriptors(python, only):
    done = python(
        PROLOGUE
        + """
    with track(redact=hide, capture="fd"):
        c("c key-unseen\\n")
        raise ValueError("with key-hidden")
    """,
        status=1,
    )
    assert "key-hidden" in done.stderr
    assert only().logs.startswith("c [key]\nTraceback")
    assert only().logs.endswith("ValueError: with [key]\n")


@posix
def test_of_a_long_log_it_is_told_that_it_is_not_whole(python, only):
    python(
        PROLOGUE
        + """
    with track(redact=hide, capture="fd"):
        for number in range(3000):
            libc.dprintf(1, b"%099d\\n", number)
    """,
        NXTRACK_MAX_LOG="100000",
    )
    assert "left out here" in only().logs
    assert only().notes == ["The log is not whole: it is longer than NXTRACK_MAX_LOG allows."]


# -- killed ------------------------------------------------------------------------------------------------

AMID = (
    PROLOGUE
    + """
    def write():
        while True:
            libc.dprintf(1, b"c key-unseen\\n")
            libc.dprintf(2, b"error key-unseen\\n")
    with track(redact=[hide, "token"], capture=sys.argv[1], input={"n": 1}) as run:
        print("python key-printed")
        run.log("logged key-printed token=5")
        if sys.argv[1] == "fd":
            threading.Thread(target=write, daemon=True).start()
            while not any(os.stat(entry).st_size > 100_000 for entry in os.scandir(sys.argv[2])):
                time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    """
)


@posix
def test_a_log_that_was_not_masked_when_its_process_was_killed_is_left_out(python, only, tmp_path):
    python(AMID, "fd", str(tmp_path / "spool" / "captures"), status=-signal.SIGKILL)
    assert b"key-unseen" in spooled(tmp_path)
    before = only()
    assert before.died
    assert before.logs.startswith("[nxtrack: the log is left out: ")
    assert recover(Spool(str(tmp_path / "spool"))).problems == []
    found = only()
    assert (found.status, found.input, found.died) == ("failed", {"n": 1}, False)
    assert found.logs == before.logs
    assert b"key-" not in spooled(tmp_path)
    assert not list((tmp_path / "spool").rglob("*.masks"))


@posix
@pytest.mark.parametrize(("capture", "printed"), [("sys", "python [key]\n"), ("off", "")])
def test_a_log_that_was_masked_as_it_was_written_is_delivered(python, only, recovered, capture, printed):
    python(AMID, capture, status=-signal.SIGKILL)
    logs = f"{printed}logged [key] ***\n"
    assert only().logs == logs
    assert recovered().logs == logs


@posix
def test_a_run_that_was_silent_when_it_was_killed_has_no_log_to_leave_out(python, recovered):
    python(PROLOGUE + "    track(redact=hide).__enter__()\n    os.kill(os.getpid(), 9)", status=-signal.SIGKILL)
    assert recovered().logs == ""


@posix
def test_killed_while_its_log_was_masked(python, recovered, tmp_path):
    python(
        PROLOGUE
        + """
    def last_words(document):
        if document.get("log") == "last":
            os.kill(os.getpid(), signal.SIGKILL)
        return hide(document)
    with track(redact=last_words, capture="fd"):
        libc.dprintf(1, b"key-unseen\\nlast\\n")
    """,
        status=-signal.SIGKILL,
    )
    found = recovered()
    assert "key-" not in found.logs
    assert b"key-" not in spooled(tmp_path) or not list((tmp_path / "spool" / "payloads").glob("*.log"))


@posix
@pytest.mark.parametrize("redact", ["hide", "re.compile('key-[a-z]+')"])
def test_who_looks_at_a_run_that_goes_on_sees_no_more_than_later(python, redact):
    done = python(
        PROLOGUE
        + """
    from nxtrack.cli.main import main
    with track(redact=REDACT, capture="fd") as run:
        libc.dprintf(1, b"c key-unseen\\n")
        read, write = os.pipe()
        if not os.fork():
            os.dup2(write, 1)
            main(["show", run.id, "--logs"])
            main(["show", run.id])
            os._exit(0)
        os.close(write)
        with open(read) as file:
            shown = file.read()
        os.wait()
    print(shown, file=sys.stderr)
    """.replace("REDACT", redact)
    )
    assert "key-" not in done.stderr
    assert ("the log is left out" if redact == "hide" else "c ***") in done.stderr


# -- whatever a function does ------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", ["sys", pytest.param("fd", marks=posix)])
def test_what_a_function_prints_and_logs_is_in_no_log(only, capfd, capture):
    logger = logging.getLogger("solver.talkative")
    logger.propagate = False
    logger.addHandler(handler := logging.StreamHandler())

    runs = []

    def talk(document):
        print("printed meanwhile")
        logger.error("said meanwhile")
        runs[0].log("logged meanwhile")
        return document

    try:
        with track(redact=talk, capture=capture) as run:
            runs.append(run)
            capfd.readouterr()
            print("one")
            logger.error("two")
            run.log("three")
            shown = capfd.readouterr()
            if capture == "fd":
                os.write(1, b"four\n")
    finally:
        logger.removeHandler(handler)
    assert only().logs == "one\ntwo\nthree\n" + ("four\n" if capture == "fd" else "")
    assert only().notes == []
    assert (shown.out.count("printed"), shown.err.count("said")) == (3, 3)


AT_ONCE = """
    import logging
    logger = logging.getLogger("solver")
    logger.addHandler(logging.StreamHandler())
    done = []
    def work():
        for number in range(50):
            logger.error("of the thread")
            run.log("of the thread")
    def function(document):
        if document.get("log") == WHERE:
            # Waits for a thread that logs, and meanwhile wants the lock that it has.
            thread = threading.Thread(target=work)
            thread.start()
            logger.error("of the function")
            thread.join()
            done.append(True)
        return document
    with track(redact=function, capture=CAPTURE) as run:
        print("of python")
        if CAPTURE == "fd":
            libc.dprintf(1, b"of c\\n")
    assert done, "it was not called"
"""


@posix
@pytest.mark.parametrize(("where", "capture"), [("of python", "sys"), ("of python", "fd"), ("of c", "fd")])
def test_a_function_may_wait_for_who_logs_meanwhile(python, only, where, capture):
    program = AT_ONCE.replace("WHERE", repr(where)).replace("CAPTURE", repr(capture))
    python(PROLOGUE + program, timeout=30)
    logs = only().logs.splitlines()
    assert logs.count("of python") == 1
    assert 50 <= logs.count("of the thread") <= 100  # When the run has ended, what a thread prints is no longer its.


def test_a_slow_function_keeps_no_other_thread_waiting(only):
    entered, go = threading.Event(), threading.Event()

    def slow(document):
        if document.get("log") == "slow":
            entered.set()
            assert go.wait(30)
        return document

    with track(redact=slow, capture="sys") as run:
        thread = threading.Thread(target=lambda: print("slow"))
        thread.start()
        assert entered.wait(30)
        print("quick")
        run.log("quick")
        go.set()
        thread.join()
    assert only().logs == "quick\nquick\nslow\n"


def test_a_function_may_end_the_program(only):
    def stop(document):
        if "log" in document:
            raise SystemExit(3)
        return document

    with pytest.raises(SystemExit), track(redact=stop, capture="sys"):
        print("secret")
    assert "secret" not in only().logs
