"""`nxtrack exec`: a program runs as it would without us, and a run tells of it. Real programs, terminals, kills."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import msgspec
import pytest
from support import programs

EXEC = [sys.executable, "-m", "nxtrack", "exec"]


@pytest.fixture
def run(tmp_path):
    """Runs a command: `run("sh", "-c", "cat", given=b"{}")`; options of ours by `ours=`."""

    def do(*command, ours=(), given=None, **environment):
        stdin = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
        return subprocess.run(
            [*EXEC, *ours, "--", *command],
            capture_output=True,
            timeout=50,
            check=False,
            env=os.environ | environment,
            cwd=tmp_path,
            **stdin,
        )

    return do


@pytest.fixture
def begin(tmp_path):
    """Starts a command and leaves it running."""
    started = []

    def do(*command, ours=(), **streams):
        if not streams.get("start_new_session"):
            streams["process_group"] = 0  # A group without a parent in its session, as ours may be, cannot be stopped.
        found = subprocess.Popen([*EXEC, *ours, "--", *command], cwd=tmp_path, **streams)
        started.append(found)
        return found

    yield do
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class Told:
    """One run of a spool: what it tells, and its payloads' bytes and formats."""

    def __init__(self, spool, entry):
        record = spool.read(entry)
        self.entry, self.record = entry, record
        self.status, self.error = record.end and record.end.status, record.end and record.end.error
        self.notes = record.end.notes if record.end else ()
        self.forms = record.form("input"), record.form("output")
        sources = {kind: spool.artefact(record, kind) for kind in ("input", "output", "logs")}
        self.input, self.output, self.logs = (None if one is None else one.read() for one in sources.values())


@pytest.fixture
def told(spool):
    """Gives the only run of the spool."""

    def find():
        (entry,) = spool.entries()
        return Told(spool, entry)

    return find


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers() if one.isfile()}


def test_a_program_is_a_run(run, told):
    done = run(
        *("sh", "-c", "cat; echo searching >&2; printf ' found '; exit 3"),
        ours=("--app-id", "routing", "--name", "night", "--option", "limit=10", "--instance-id", "v2"),
        given=b"a line\n",
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"a line\n found ", b"searching\n")
    found = told()
    assert (found.status, found.error) == ("failed", "exit status 3")
    assert (found.input, found.output, found.logs) == (b"a line\n", b"a line\n found ", b"searching\n")
    assert found.forms == ("text", "text")
    start = found.record.start
    assert (start.app_id, start.name, start.instance_id, start.source) == ("routing", "night", "v2", "sh")
    assert start.options == {"limit": "10"}


@pytest.mark.parametrize(
    ("printed", "form", "kept"),
    [
        (b'{"solution": [1, 2],\n "metrics": {"gap": 0.1}}\n', "json", None),
        (b"[1, 2]\n", "json", b'{"solution":[1, 2]\n}'),
    ],
)
def test_what_it_prints_goes_up_as_what_it_is(run, told, printed, form, kept):
    assert run("cat", given=printed).stdout == printed
    found = told()
    assert (found.status, found.forms[1], found.output) == ("succeeded", form, printed if kept is None else kept)
    assert found.input == printed


def test_bytes_that_are_no_text_go_up_in_an_archive(run, told):
    printed = bytes(range(256)) * 1000
    assert run("cat", given=printed).stdout == printed
    found = told()
    assert found.forms == ("multi-file", "multi-file")
    assert members(found.input) == {"input": printed}
    assert members(found.output) == {"output": printed}


def test_an_archive_that_is_printed_goes_up_as_it_is(run, told, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.txt").write_text("a")
    done = run("tar", "-czf", "-", "-C", str(tmp_path / "made"), ".")
    found = told()
    assert found.output == done.stdout
    assert found.forms[1] == "multi-file"


@pytest.mark.parametrize(
    ("wished", "form", "notes"),
    [
        ("json", "text", ("It was to be json, which it is not.",)),
        ("text", "text", ()),
        ("multi-file", "multi-file", ()),
    ],
)
def test_a_format_that_is_asked_for_wins_where_it_can(run, told, wished, form, notes):
    run("echo", "no json", ours=("--output-format", wished))
    found = told()
    assert found.forms[1] == form
    assert found.record.output.notes == notes


def test_json_may_be_asked_to_be_text(run, told):
    run("cat", ours=("--format", "text", "--output-format", "json"), given=b"42")
    found = told()
    assert (found.forms, found.input, found.output) == (("text", "json"), b"42", b'{"solution":42}')


def test_files_are_the_input_and_the_output(run, told, tmp_path):
    (tmp_path / "model.lp").write_text("min x")
    done = run(
        *("sh", "-c", "echo on stdout; echo on stderr >&2; cat; (cat model.lp; echo done) > found.txt"),
        ours=("--input", "model.lp", "--output", "found.txt"),
        given=b"of stdin\n",
    )
    assert (done.stdout, done.stderr) == (b"on stdout\nof stdin\n", b"on stderr\n")
    found = told()
    assert (found.input, found.output) == (b"min x", b"min xdone\n")
    assert sorted(found.logs.splitlines()) == [b"of stdin", b"on stderr", b"on stdout"]


def test_what_goes_to_one_place_is_logged_in_its_order(tmp_path, told):
    script = "for n in $(seq 200); do echo out $n; echo err $n >&2; done; echo > found"
    done = subprocess.run(
        [*EXEC, "--output", "found", "--", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=50,
        check=True,
        cwd=tmp_path,
    )
    lines = [f"{stream} {number}\n" for number in range(1, 201) for stream in ("out", "err")]
    assert done.stdout.decode() == told().logs.decode() == "".join(lines)


@pytest.mark.parametrize("before", [None, "of the run before"])
def test_an_output_file_that_the_program_did_not_write_is_not_its_output(run, told, tmp_path, before):
    if before is not None:
        (tmp_path / "found.txt").write_text(before)
    done = run("sh", "-c", "exit 1", ours=("--output", "found.txt"))
    assert done.returncode == 1
    why = "no such file or directory" if before is None else "its file is as it was before"
    assert done.stderr.decode() == f"output of sh not recorded: {why}; the solver is not affected\n"
    found = told()
    assert found.output is None
    assert found.notes == (f"The output could not be kept: {why}.",)


@pytest.mark.parametrize(("name", "form"), [("a.csv", "csv-archive"), ("a.txt", "multi-file")])
def test_folders_are_the_input_and_the_output(run, told, tmp_path, name, form):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / name).write_text("1,2\n")
    (tmp_path / "out").mkdir()
    done = run("cp", f"in/deep/{name}", "out", ours=("--input-dir", "in", "--output-dir", "out"))
    assert (done.returncode, done.stderr) == (0, b"")
    found = told()
    assert found.forms == (form, form)
    assert members(found.input) == {f"deep/{name}": b"1,2\n"}
    assert members(found.output) == {name: b"1,2\n"}


def test_folders_that_are_not_there_stop_nothing(run, told, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("sh", "-c", "echo solved", ours=("--input-dir", "nowhere", "--output-dir", "empty"))
    assert (done.returncode, done.stdout) == (0, b"solved\n")
    found = told()
    assert (found.status, found.input, found.output) == ("succeeded", None, None)
    assert found.notes == (
        "The input could not be kept: no such file or directory.",
        "The output could not be kept: there are no files in it.",
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_program_that_is_killed_is_a_failed_run(run, told, number):
    done = run("sh", "-c", f"echo last words >&2; kill -{number} $$")
    assert (done.returncode, done.stderr) == (128 + number, b"last words\n")
    found = told()
    assert (found.status, found.logs) == ("failed", b"last words\n")
    assert found.error == f"killed by signal {int(number)} ({number.name})"


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("no-such-command", 127, "no-such-command was not found, so nothing was run."),
        ("/", 126, "/ cannot be executed: permission denied."),
        ("", 127, "'' was not found, so nothing was run."),
    ],
)
def test_a_program_that_cannot_be_run_is_a_sentence_and_a_failed_run(run, told, command, status, said):
    done = run(command, given=b"input")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (status, b"", f"{said}\n")
    found = told()
    assert (found.status, found.error) == ("failed", said)


def test_a_script_without_a_first_line_is_run_by_the_shell(run, tmp_path):
    (tmp_path / "script").write_text("echo $1 works\n")
    (tmp_path / "script").chmod(0o755)
    assert run("./script", "it").stdout == b"it works\n"
    assert run("./script", "it", NXTRACK_MODE="disabled").stdout == b"it works\n"


SURROUNDINGS = """
umask; pwd; echo $MINE; cat <&7; ls -l /proc/self/fd | wc -l
# Of signals 1 to 28: what the C library uses itself is none of anybody's business.
awk '/^Sig(Blk|Ign)/ {print substr($2, 10)}' /proc/self/status
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_a_program_finds_what_it_would_find_without_us(tmp_path, mode):
    (tmp_path / "seven").write_text("of descriptor 7\n")
    shell = 'umask 027; trap "" HUP; exec 7<seven; MINE=yes; export MINE; "$@" </dev/null | cat'
    answers = [
        subprocess.run(
            ["sh", "-c", shell, "sh", *words, "sh", "-c", SURROUNDINGS],
            capture_output=True,
            timeout=50,
            check=True,
            env=os.environ | {"NXTRACK_MODE": mode},
            cwd=tmp_path,
        ).stdout
        for words in ([], [*EXEC, "--"])
    ]
    assert b"of descriptor 7\n" in answers[0]
    assert answers[0] == answers[1]


def test_arguments_are_the_programs_own(run):
    assert run("printf", "%s|", "--name", "x", "--", "-h").stdout == b"--name|x|--|-h|"


def test_stdin_that_is_a_file_is_the_programs_own(tmp_path, told):
    (tmp_path / "problem").write_bytes(b"skipped\nread\n")
    with (tmp_path / "problem").open("rb", buffering=0) as file:
        file.seek(8)
        done = subprocess.run([*EXEC, "--", "head", "-c", "2"], stdin=file, capture_output=True, timeout=50, check=True)
        assert (done.stdout, file.tell()) == (b"re", 10)
    assert told().input == b"read\n"


def test_closed_streams_are_no_matter(shell, told):
    done = shell("exec -- sh -c 'cat; echo $? >found' <&- >&- 2>&-")
    assert done.returncode == 0
    assert told().status == "succeeded"


def test_input_that_never_ends_is_not_waited_for(begin, told):
    started = begin("echo", "solved", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.wait(20) == 0
    assert started.stdout.read() == b"solved\n"
    assert told().input is None


def test_input_that_nobody_reads_is_not_waited_for(run, told):
    assert run("sh", "-c", "exec <&-; echo solved", given=b"x" * 1_000_000).stdout == b"solved\n"
    assert told().status == "succeeded"


def test_children_that_outlive_the_program_are_not_waited_for_and_lose_nothing(begin, told, until):
    started = begin("sh", "-c", "echo now; (sleep 2; echo later; echo end >&2) &", stdout=subprocess.PIPE, stderr=-1)
    assert started.wait(20) == 0
    assert told().output == b"now\n"
    assert told().record.end.duration_ms < 1900
    assert started.stdout.read() == b"now\nlater\n"
    assert started.stderr.read() == b"end\n"
    assert told().output == b"now\n"


def test_output_comes_as_it_is_written(begin):
    script = "import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)"
    started = begin(sys.executable, "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for number in range(3):
        started.stdin.write(b"%d\n" % number)
        started.stdin.flush()
        assert started.stdout.readline() == b"got %d\n" % number
    started.stdin.close()
    assert started.wait(20) == 0


def test_a_reader_that_went_away_ends_the_program_as_without_us(tmp_path, told):
    line = f"{sys.executable} -m nxtrack exec -- yes | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=50, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (b"y\n", b"")
    deadline = time.monotonic() + 10
    while told().status is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told().error == "killed by signal 13 (SIGPIPE)"


WAITS = r"""
import os, signal, sys, time
def told(number, frame):
    os.write(1, b"signal %d\n" % number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, told)
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))
print("ready", os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""


def test_signals_are_passed_on(begin, told):
    started = begin(sys.executable, "-c", WAITS, stdout=subprocess.PIPE)
    assert started.stdout.readline().startswith(b"ready")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        started.send_signal(number)
        assert started.stdout.readline() == b"signal %d\n" % number
    started.send_signal(signal.SIGUSR2)
    assert started.wait(20) == 7
    assert told().error == "exit status 7"


def test_ctrl_c_on_a_terminal_comes_once(terminal, told):
    def press(shown, screen):
        if "ready" not in shown:
            return False
        os.write(screen, b"\x03")
        time.sleep(1)
        os.kill(int(shown.partition("ready ")[2].split()[0]), signal.SIGUSR2)
        return True

    status, shown = terminal("exec", "--", sys.executable, "-c", WAITS, while_running=press)
    assert status == 7
    assert shown.count("signal 2") == 1
    assert told().input is None


def test_a_program_that_is_stopped_stops_us_and_goes_on_with_us(begin, told):
    started = begin(sys.executable, "-c", WAITS, stdout=subprocess.PIPE)
    pid = int(started.stdout.readline().split()[1])
    os.kill(pid, signal.SIGTSTP)
    _, status = os.waitpid(started.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    started.send_signal(signal.SIGCONT)
    started.send_signal(signal.SIGUSR1)
    assert started.stdout.readline() == b"signal %d\n" % signal.SIGUSR1
    started.send_signal(signal.SIGUSR2)
    assert started.wait(20) == 7


GOES_ON = """
import sys, time
print("log 1", file=sys.stderr, flush=True)
print("out 1", flush=True)
while "go" not in sys.stdin.readline():
    pass
print("log 2", file=sys.stderr, flush=True)
print("out 2", flush=True)
"""


def test_a_kill_of_ours_leaves_a_run_and_the_program_as_it_would_be(begin, spool, told):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = begin(sys.executable, "-c", GOES_ON, **pipes)
    started.stdin.write(b"wait\n")
    started.stdin.flush()
    assert started.stdout.readline() == b"out 1\n"
    assert started.stderr.readline() == b"log 1\n"
    started.kill()
    started.wait()
    found = told()
    assert found.entry.died
    assert (found.input, found.output, found.logs) == (b"wait\n", b"out 1\n", b"log 1\n")
    started.stdin.write(b"go\n")
    started.stdin.close()
    assert (started.stdout.read(), started.stderr.read()) == (b"out 2\n", b"log 2\n")
    assert told().logs == b"log 1\nlog 2\n"


def test_a_kill_of_the_whole_group_loses_no_word(begin, told, until):
    script = "echo log >&2; printf '{\"a\": 1}'; kill -9 0"
    started = begin("sh", "-c", script, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, start_new_session=True)
    assert started.wait(20) == -9
    until(lambda: told().logs == b"log\n" and told().output == b'{"a": 1}')
    assert (started.stdout.read(), started.stderr.read()) == (b'{"a": 1}', b"log\n")
    assert told().error == "process died: killed while solving"


def test_a_spool_that_cannot_be_written_is_one_warning(run, tmp_path):
    (tmp_path / "no-folder").write_text("")
    done = run("sh", "-c", "cat; echo log >&2; exit 4", given=b"in", NXTRACK_DIR=str(tmp_path / "no-folder"))
    assert (done.returncode, done.stdout) == (4, b"in")
    warning, log = done.stderr.decode().splitlines()
    assert warning.startswith("run of sh not recorded: ")
    assert log == "log"


def test_a_disk_that_fills_up_is_one_warning(run, told):
    """A limit on the size of files fails the copies as a full disk would; the program itself is not held to it."""
    script = "ulimit -f unlimited; head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2"
    line = f'ulimit -S -f 200; exec {sys.executable} -m nxtrack exec -- sh -c "$1"'
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    words = ["sh", "-c", line, "sh", script]
    done = subprocess.run(words, capture_output=True, timeout=50, check=False, env=unmeasured)
    assert done.returncode == 0
    assert done.stdout == b"x" * 300_000
    assert done.stderr.startswith(b"y" * 300_000)
    assert done.stderr[300_000:].decode().splitlines() == [
        "rest of the logs of sh not recorded: file too large; the solver is not affected"
    ]
    found = told()
    assert (found.status, found.output) == ("succeeded", None)
    assert found.notes == (
        "The rest of the logs could not be kept: file too large.",
        "The output could not be kept: file too large.",
    )


def test_a_log_takes_no_more_than_it_may(run, told):
    done = run("sh", "-c", "printf 0123456789 >&2", NXTRACK_MAX_LOG="4")
    assert done.stderr == b"0123456789"
    assert told().logs == b"01\n[nxtrack: bytes of the log that are left out here: 6]\n89"
    assert told().notes == ("The log is not whole: it is longer than NXTRACK_MAX_LOG allows.",)


def test_disabled_tracking_is_the_program_alone(run, spool):
    done = run("sh", "-c", "echo $$ $PPID; exit 5", NXTRACK_MODE="disabled")
    assert done.returncode == 5
    assert not list(spool.entries())
    assert run("no-such-command", NXTRACK_MODE="disabled").returncode == 127


def test_large_streams_take_no_memory(tmp_path, told):
    """80 MB in and out; the measure is of the largest of all processes."""
    program = f"""
        import resource, subprocess, sys
        given = subprocess.Popen(["head", "-c", "80000000", "/dev/zero"], stdout=subprocess.PIPE)
        subprocess.run({[*EXEC, "--", "tr", chr(92) + "0", "x"]!r}, stdin=given.stdout, stdout=-3, check=True)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    """
    done = programs.run(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 90_000_000
    found = told()
    assert found.forms == ("text", "text")
    assert (found.record.input.size, found.record.output.size) == (80_000_000, 80_000_000)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "Missing argument 'COMMAND...'"),
        (("--input", "a", "--input-dir", "b", "--", "true"), "exclude each other"),
        (("--output", "a", "--output-dir", "b", "--", "true"), "exclude each other"),
        (("--option", "limit", "--", "true"), "give it as name=value"),
        (("--format", "xml", "--", "true"), "--format"),
    ],
)
def test_misuse_is_told_and_nothing_is_run(call, spool, args, said):
    status, out, err = call("exec", *args)
    assert (status, out) == (2, "")
    assert said in err
    assert not list(spool.entries())


def test_show_tells_of_formats(run, call, told, terminal):
    run("cat", given=b"a text\n", ours=("--output-format", "multi-file"))
    run_id = told().entry.run_id
    _, page, _ = call("show", run_id)
    assert "Input (text):\n" in page
    assert "Output (multi-file):\n" in page
    detail = msgspec.json.decode(call("show", run_id, "--json")[1])
    assert (detail["input"], detail["input_format"]) == ("a text\n", "text")
    assert (detail["output"], detail["output_format"]) == (None, "multi-file")
    status, shown = terminal("show", run_id, "--output")
    assert status == 2
    assert f"The output of run {run_id} is an archive, a .tar.gz: send it to a file." in shown


def test_a_run_that_goes_on_can_be_looked_at(begin, call, told):
    started = begin(sys.executable, "-c", GOES_ON, stdin=subprocess.PIPE, stdout=-1, stderr=-1)
    assert started.stdout.readline() == b"out 1\n"
    assert started.stderr.readline() == b"log 1\n"
    run_id = told().entry.run_id
    assert told().entry.state == "active"
    assert call("show", run_id, "--output") == (0, "out 1\n", "")
    assert msgspec.json.decode(call("show", run_id, "--json")[1])["output"] == "out 1\n"
    started.communicate(b"go\n", timeout=20)
    assert told().status == "succeeded"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no /proc here")
def test_a_kill_of_what_copies_the_streams_is_told_and_what_was_copied_is_kept(begin, told):
    started = begin("sh", "-c", "trap '' PIPE; echo first; read line; exit 3", stdin=-1, stdout=-1, stderr=-1)
    assert started.stdout.readline() == b"first\n"
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    (copying,) = [pid for pid in children if b"pump.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(copying), signal.SIGKILL)
    assert started.wait(20) == 3
    assert started.stderr.read().decode() == (
        "rest of the logs of sh not recorded: it was not copied to its end; the solver is not affected\n"
    )
    found = told()
    assert (found.error, found.output) == ("exit status 3", b"first\n")
    assert "The rest of the output could not be kept: it was not copied to its end." in found.notes


@pytest.mark.parametrize("most", [16, 18])
def test_without_descriptors_the_program_still_runs(tmp_path, told, most):
    """With the first there is none for the files, with the second none for the pipes."""
    line = f'ulimit -n {most}; exec {sys.executable} -m nxtrack exec -- sh -c "cat; echo log >&2; exit 3"'
    done = subprocess.run(["sh", "-c", line], input=b"given", capture_output=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (3, b"given")
    assert done.stderr.decode().splitlines() == [
        "logs of sh not recorded: too many open files; the solver is not affected",
        "log",
    ]
    assert told().error == "exit status 3"
