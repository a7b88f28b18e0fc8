"""Settings: which source wins, what cannot be used, and that secrets stay secret."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.errors import NxtrackError, SettingsError
from nxtrack.settings import Settings, configure, current, lenient, parse_bytes, spool_dir

SECRET = "nxmvv1_sesame"

VARIABLES = [
    ("NXTRACK_MODE", "mode", "online", "online"),
    ("NXTRACK_MODE", "mode", " Disabled ", "disabled"),
    ("NXTRACK_DIR", "dir", "/var/spool/x", "/var/spool/x"),
    ("NXTRACK_CAPTURE", "capture", "FD", "fd"),
    ("NXTRACK_STREAMS", "streams", "stdout , stderr", ("stderr", "stdout")),
    ("NXTRACK_STREAMS", "streams", "stdout", ("stdout",)),
    ("NXTRACK_DURABILITY", "durability", "process", "process"),
    ("NXTRACK_SETTLE", "settle", "1.5", 1.5),
    ("NXTRACK_MAX_SPOOL", "max_spool", "1GB", 10**9),
    ("NXTRACK_MAX_SPOOL", "max_spool", "unlimited", None),
    ("NXTRACK_MAX_LOG", "max_log", "0", None),
    ("NXTRACK_MAX_LOG", "max_log", "0 MB", None),
    ("NXTRACK_JOBS", "jobs", "3", 3),
    ("NXTRACK_RATE", "rate", "0", 0.0),
    ("NXTRACK_REQUEST_RATE", "request_rate", "100", 100.0),
    ("NXTRACK_BACKOFF", "backoff", "0.5", 0.5),
    ("NXTRACK_EXIT_WAIT", "exit_wait", "0", 0.0),
    ("NXTRACK_ANSWER_WAIT", "answer_wait", "2.5", 2.5),
    ("NXTRACK_ANSI", "ansi", "Strip", "strip"),
    ("NXTRACK_SOLVER_METRICS", "solver_metrics", "OFF", "off"),
    ("NEXTMV_API_KEY", "api_key", f" {SECRET} ", SECRET),
    ("NEXTMV_ENDPOINT", "endpoint", "https://eu", "https://eu"),
    ("NEXTMV_PROFILE", "profile", "work", "work"),
    ("NEXTMV_APP_ID", "app_id", "routing", "routing"),
    ("NEXTMV_INSTANCE_ID", "instance_id", "devint", "devint"),
]
WRONG = [
    ("NXTRACK_MODE", "mode", "sometimes"),
    ("NXTRACK_CAPTURE", "capture", "on"),
    ("NXTRACK_ANSI", "ansi", "drop"),
    ("NXTRACK_SOLVER_METRICS", "solver_metrics", "on"),
    ("NXTRACK_STREAMS", "streams", "stdin"),
    ("NXTRACK_DURABILITY", "durability", "forever"),
    ("NXTRACK_SETTLE", "settle", "-1"),
    ("NXTRACK_SETTLE", "settle", "nan"),
    ("NXTRACK_SETTLE", "settle", "inf"),
    ("NXTRACK_MAX_SPOOL", "max_spool", "10 parsecs"),
    ("NXTRACK_MAX_LOG", "max_log", "-5"),
    ("NXTRACK_MAX_LOG", "max_log", "1" * 5000),
    ("NXTRACK_JOBS", "jobs", "0"),
    ("NXTRACK_JOBS", "jobs", "many"),
    ("NXTRACK_RATE", "rate", "-0.1"),
    ("NXTRACK_REQUEST_RATE", "request_rate", "1e999"),
]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("NXTRACK_", "NEXTMV_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_defaults_hold_where_nothing_is_set():
    assert current() == Settings()
    assert lenient() == (Settings(), ())


@pytest.mark.parametrize(("variable", "name", "text", "value"), VARIABLES)
def test_a_variable_sets_its_setting(monkeypatch, variable, name, text, value):
    monkeypatch.setenv(variable, text)
    assert current() == dataclasses.replace(Settings(), **{name: value})


def test_every_setting_has_a_variable_and_a_test():
    assert {field.name for field in dataclasses.fields(Settings)} == {name for _, name, _, _ in VARIABLES}


@pytest.mark.parametrize("variable", sorted({variable for variable, *_ in VARIABLES}))
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_sets_nothing(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    assert lenient() == (Settings(), ())


@pytest.mark.parametrize(("variable", "name", "text"), WRONG)
def test_what_cannot_be_used_is_refused_by_its_name(monkeypatch, variable, name, text):
    monkeypatch.setenv(variable, text)
    monkeypatch.setenv("NEXTMV_APP_ID", "routing")
    with pytest.raises(SettingsError, match=f"^{variable} is "):
        current()
    found, problems = lenient()
    assert found == Settings(app_id="routing")
    assert len(problems) == 1
    assert problems[0].startswith(variable)
    assert len(problems[0]) < 400


def test_each_wrong_variable_is_told(monkeypatch):
    monkeypatch.setenv("NXTRACK_JOBS", "x")
    monkeypatch.setenv("NXTRACK_RATE", "y")
    assert [problem.split()[0] for problem in lenient()[1]] == ["NXTRACK_JOBS", "NXTRACK_RATE"]


def test_configure_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("NXTRACK_MODE", "online")
    configure(mode="disabled")
    assert current().mode == "disabled"
    configure(mode=None)
    assert current().mode == "online"
    configure(mode=None)
    assert current().mode == "online"


def test_configure_covers_a_variable_that_cannot_be_used(monkeypatch):
    monkeypatch.setenv("NXTRACK_JOBS", "many")
    configure(jobs=2)
    assert lenient() == (Settings(jobs=2), ())
    configure(jobs=None)
    with pytest.raises(SettingsError, match="NXTRACK_JOBS"):
        current()


def test_a_changed_variable_is_seen_at_once(monkeypatch):
    for app in ("a", "b", "c"):
        monkeypatch.setenv("NEXTMV_APP_ID", app)
        assert current().app_id == app
        assert current() is current()
    monkeypatch.delenv("NEXTMV_APP_ID")
    assert current().app_id is None


@pytest.mark.parametrize(("variable", "name", "text"), WRONG)
def test_configure_refuses_and_changes_nothing(variable, name, text):
    configure(app_id="before")
    with pytest.raises(SettingsError, match=f"^{name} cannot be set"):
        configure(app_id="after", **{name: text})
    assert current() == Settings(app_id="before")


@pytest.mark.parametrize("given_", [{"streams": 5}, {"dir": 5}, {"settle": []}, {"max_log": -1}, {"max_spool": -1}])
def test_configure_refuses_values_of_no_use(given_):
    with pytest.raises(SettingsError, match="cannot be set"):
        configure(**given_)
    assert current() == Settings()


def test_configure_can_lift_a_limit_and_take_away_what_the_environment_gives(monkeypatch):
    monkeypatch.setenv("NXTRACK_MAX_LOG", "5MB")
    monkeypatch.setenv("NEXTMV_APP_ID", "routing")
    configure(max_log="unlimited", app_id="")
    assert (current().max_log, current().app_id) == (None, None)
    configure(max_log=None, app_id=None)
    assert (current().max_log, current().app_id) == (5 * 10**6, "routing")


def test_configure_names_the_settings_there_are():
    configure(app_id="before")
    with pytest.raises(TypeError, match=r"no such setting: colour, shape; there are mode, dir, .*instance_id"):
        configure(shape="round", colour="red", app_id="after")
    assert current().app_id == "before"


@pytest.mark.parametrize(
    ("given_", "taken"),
    [
        ({"streams": ["stdout", "stderr"]}, {"streams": ("stderr", "stdout")}),
        ({"streams": ()}, {"streams": ()}),
        ({"max_log": 4096}, {"max_log": 4096}),
        ({"max_log": 0}, {"max_log": None}),
        ({"max_log": "none"}, {"max_log": None}),
        ({"dir": Path("/var/x")}, {"dir": "/var/x"}),
        ({"settle": 3}, {"settle": 3.0}),
        ({"app_id": 7}, {"app_id": "7"}),
    ],
)
def test_configure_takes_values_as_python_has_them(given_, taken):
    configure(**given_)
    assert current() == dataclasses.replace(Settings(), **taken)


def test_the_key_is_never_shown(monkeypatch):
    monkeypatch.setenv("NEXTMV_API_KEY", SECRET)
    monkeypatch.setenv("NXTRACK_JOBS", "many")
    found, problems = lenient()
    assert found.api_key == SECRET
    assert SECRET not in repr(found)
    assert SECRET not in str(problems)
    with pytest.raises(NxtrackError) as caught:
        configure(api_key=SECRET, jobs="x")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_spool_is_where_it_is_said(monkeypatch, tmp_path):
    assert spool_dir(Settings()) == str(tmp_path / ".local" / "state" / "nxtrack")
    monkeypatch.setenv("NXTRACK_DIR", "~/runs")
    assert spool_dir(current()) == str(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert spool_dir(Settings(dir="here/../there")) == str(tmp_path / "there")


@given(st.integers(0, 10**30))
def test_a_size_without_a_unit_is_itself(number):
    assert parse_bytes(str(number)) == number


@given(
    st.integers(0, 10**12),
    st.sampled_from(
        [("B", 1), ("kB", 10**3), ("MB", 10**6), ("gb", 10**9), ("TB", 10**12), ("KiB", 2**10), ("TIB", 2**40)]
    ),
    st.sampled_from(["", " ", "  "]),
)
def test_a_unit_multiplies(number, unit, gap):
    assert parse_bytes(f"{gap}{number}{gap}{unit[0]}{gap}") == number * unit[1]


@given(st.integers(0, 10**6), st.integers(0, 999))
def test_a_fraction_counts_to_the_byte(whole, thousandths):
    assert parse_bytes(f"{whole}.{thousandths:03d} KB") == whole * 1000 + thousandths


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse_bytes(text) >= 0


@pytest.mark.parametrize("text", ["", "MB", "1 2", "1.", ".5", "-1", "1e3", "1MBs", "0x10", "1_000"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="size such as"):
        parse_bytes(text)


@pytest.mark.no_cover  # See `.ci/run`: threads that begin in such a hurry die of it.
def test_settings_hold_while_threads_change_them(monkeypatch):
    """What is configured and given back while another thread reads must not stay in the cache."""
    monkeypatch.setenv("NXTRACK_MODE", "online")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            current()

    threads = [threading.Thread(target=read) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(1_500):
            configure(mode="disabled")
            configure(mode=None)
            time.sleep(0)
            wrong += [] if current().mode == "online" else [current().mode]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert wrong == []


def test_without_the_mapping_behind_environ_it_serves_itself(tmp_path):
    """Other Pythons, and other systems, may keep the environment otherwise."""
    program = """
import os
class Environ(dict): pass
os.environ = Environ(os.environ, NXTRACK_JOBS="5")
from nxtrack import settings
assert settings.current().jobs == 5
os.environ["NXTRACK_JOBS"] = "6"
assert settings.current().jobs == 6
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, timeout=60)
