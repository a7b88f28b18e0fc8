"""The entry point: exit statuses, errors as sentences, help, and what a start costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nxtrack import errors
from nxtrack.cli import status as status_module
from nxtrack.cli.main import BROKEN_PIPE, FAULT, INTERRUPTED, status_of

COMMANDS = (
    *("flush", "status", "list", "show", "exec", "replay", "retry", "clean"),
    *("submit", "result", "input", "logs", "serve", "demo"),
)

STATUSES = {
    "SettingsError": 2,
    "CredentialsMissing": 2,
    "SpoolError": 2,
    "SpoolRefused": 2,
    "SpoolUnavailable": 75,
    "SpoolUnsafe": 75,
    "SpoolFull": 75,
    "RunNotFound": 2,
    "RunBusy": 75,
    "RunCorrupt": 1,
    "RunNewer": 1,
    "CloudError": 75,
    "NotReached": 75,
    "AnswerLost": 75,
    "RunUnconfirmed": 75,
    "RunEnded": 1,
    "RunFailed": 1,
    "RunCanceled": 1,
    "StillRunning": 75,
    "Refused": 75,
    "AccessRefused": 2,
    "NotFound": 2,
    "RateLimited": 75,
    "QuotaUsedUp": 75,
    "Redirected": 2,
    "UploadExpired": 75,
    "Rejected": 1,
    "TooLarge": 1,
    "FileUnusable": 2,
    "NoSpace": 75,
    "FunctionUnusable": 2,
    "ArchiveRefused": 1,
    "ProgramUnusable": 126,
    "ProgramNotFound": 127,
    "ServerError": 2,
    "NxtrackError": 2,
}


def all_errors(kind=errors.NxtrackError):
    yield kind
    for below in kind.__subclasses__():
        yield from all_errors(below)


def make(kind):
    if kind is errors.RateLimited:
        return kind("said")
    return kind("said", status=400) if issubclass(kind, errors.Refused) else kind("said")


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind.__module__ == "nxtrack.errors"])
def test_every_error_has_its_status_and_is_a_sentence(kind, call, monkeypatch):
    def fail(**_):
        raise make(kind)

    monkeypatch.setattr(status_module, "status", fail)
    assert call("status") == (STATUSES[kind.__name__], "", "said\n")
    assert status_of(make(kind)) == STATUSES[kind.__name__]


def test_a_fault_of_ours_is_a_sentence_that_says_how_to_report_it(call, monkeypatch):
    def fail(**_):
        raise ZeroDivisionError("division\nby \x1b[31mzero")

    monkeypatch.setattr(status_module, "status", fail)
    status, out, err = call("status")
    assert (status, out) == (FAULT, "")
    assert err.startswith("nxtrack failed: ZeroDivisionError: division by \\x1b[31mzero. ")
    assert "NXTRACK_DEBUG=1" in err
    assert err.count("\n") == 1
    monkeypatch.setenv("NXTRACK_DEBUG", "1")
    status, out, err = call("status")
    assert status == FAULT
    assert err.startswith("Traceback (most recent call last):")
    assert "\x1b" not in err


def test_ctrl_c_is_quiet(call, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(status_module, "status", interrupted)
    assert call("status") == (INTERRUPTED, "", "")


def test_a_reader_that_went_away_is_no_error(solved, start):
    solved(3)
    started = start("list")
    started.stdout.close()
    started.stdout = None
    assert started.stderr.read() == ""
    assert started.wait() == BROKEN_PIPE


AWAY = {"NEXTMV_ENDPOINT": "http://127.0.0.1:9", "NEXTMV_API_KEY": "any", "NXTRACK_BACKOFF": "0.001"}


@pytest.mark.parametrize("line", ["status --json >&-", "status <&- >&- 2>&-", "list --state ready 2>&-"])
def test_streams_that_are_closed_are_no_error(line, shell, solved):
    solved(1)
    done = shell(line)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_without_streams_the_exit_status_still_tells(streams, shell, solved, spool):
    solved(1)
    done = shell(f"flush {streams}", **AWAY)
    assert done.returncode == 75
    assert "Traceback" not in done.stderr
    assert [entry.state for entry in spool.entries()] == ["ready"]
    assert shell(f"fly {streams}").returncode == 2


def test_streams_that_are_closed_lend_no_file_their_number(shell, solved, platform, spool):
    """What a flush writes to the spool, or sends, shall not get what else is printed."""
    served = platform()
    solved(3)
    assert shell("flush <&- >&- 2>&-").returncode == 0
    assert len(served.runs()) == 3
    assert [entry.state for entry in spool.entries()] == ["synced"] * 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("line", ["status --json", "status", "list --json", "show {} --input", "--help", "--version"])
def test_a_full_disk_behind_stdout_is_a_sentence(line, shell, solved):
    (run_id,) = solved(1, name="x" * 20_000, data={"text": "x" * 20_000})
    done = shell(f"{line.format(run_id)} >/dev/full")
    assert (done.returncode, done.stderr) == (75, "Stdout cannot be written: no space left on device.\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_that_cannot_be_printed_is_no_fault(unbuffered, shell):
    done = shell("--help | true", PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == ""
    if Path("/dev/full").exists():
        assert shell("--help >/dev/full", PYTHONUNBUFFERED=unbuffered).returncode == 75


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["fly"], "No such command"),
        (["flush", "--fast"], "No such option"),
        (["flush", "--jobs", "0"], "--jobs"),
        (["flush", "--rate", "-1"], "--rate"),
        (["flush", "--watch", "--dry-run"], "exclude each other"),
        (["list", "--state", "asleep"], "--state"),
        (["show"], "Missing argument"),
        (["show", "X", "--input", "--json"], "exclude each other"),
        (["retry"], "--all"),
        (["retry", "X", "--all"], "--all"),
        (["clean", "--older-than", "soon"], "'soon' is no age: write it as 30m, 12h, 7d or 2w."),
        (["serve", "--port", "70000"], "--port"),
    ],
)
def test_misuse_is_told_and_is_2(args, said, call):
    status, out, err = call(*args)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_setting_that_cannot_be_used_is_named(call, monkeypatch):
    monkeypatch.setenv("NXTRACK_RATE", "many")
    status, out, err = call("status")
    assert (status, out) == (2, "")
    assert err.startswith("NXTRACK_RATE is 'many'")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_plain_help(command, process):
    done = process(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: nxtrack {command} [OPTIONS]")
    assert "\x1b" not in done.stdout
    assert done.stdout.isascii()


def test_help_offers_these_commands_and_no_others(call):
    status, out, _ = call("--help")
    assert status == 0
    offered = re.findall(r"^  (\w+) ", out.partition("Commands:")[2], re.MULTILINE)
    assert offered[: len(COMMANDS)] == list(COMMANDS)
    assert "..." not in out.partition("Commands:")[2]  # each first sentence fits its line
    assert call("-h")[1] == out


def test_without_a_command_there_is_help_and_2(call):
    status, out, err = call()
    assert status == 2
    assert "Usage: nxtrack" in out + err


def test_version(process):
    done = process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"nxtrack \d+\.\d+\.\d+\S*\n", done.stdout)


def test_the_installed_command_is_the_same(tmp_path):
    command = Path(sys.executable).with_name("nxtrack")
    if not command.exists():
        pytest.skip("nxtrack is not installed as a command here")
    done = subprocess.run([command, "status", "--json"], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('{"active":0')


@pytest.mark.parametrize("args", [["status"], ["status", "--json"], ["list"], ["list", "--limit", "20", "--json"]])
def test_what_is_asked_often_starts_without_what_it_does_not_need(python, args):
    """Whoever asks for the state of an empty spool waits for nothing else."""
    program = f"""
        import sys

        before = set(sys.modules)
        from nxtrack.cli.main import main

        status = main({args})
        heavy = {{"requests", "urllib3", "starlette", "jinja2", "sqlite3", "rich", "yaml", "typer", "pydantic"}}
        print(status, sorted(heavy & (set(sys.modules) - before)))
    """
    assert python(program).stdout.splitlines()[-1] == "0 []"


def test_what_a_terminal_cannot_encode_is_escaped(process, solved):
    solved(name="Tōkyō ✓")
    done = process("list", text=False, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"T\u014dky\u014d \u2713" in done.stdout


def test_a_ctrl_c_that_comes_too_late_changes_nothing(call, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["nxtrack.cli.main"], "say", interrupted)
    assert call("list")[0] == 0
