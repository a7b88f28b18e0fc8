"""How things are said: sizes, spans, moments, and text that is safe on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nxtrack.cli import output


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.2 kB"),
        (12_400_000, "12.4 MB"),
        (999_960, "1 MB"),
        (10**10, "10 GB"),
        (2 * 10**12, "2 TB"),
    ],
)
def test_sizes(number, text):
    assert output.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.34, "340 ms"),
        (1.0, "1 s"),
        (7.64, "7.6 s"),
        (59.99, "59.9 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7300, "2 h"),
        (86_400, "1 day"),
        (3 * 86_400 + 5, "3 days"),
    ],
)
def test_spans(seconds, text):
    assert output.span(seconds) == text


def test_ages():
    assert output.ago(datetime.now(UTC)) == "just now"
    assert output.ago(datetime.now(UTC) + timedelta(hours=1)) == "just now"  # clocks differ
    assert output.ago(datetime.now(UTC) - timedelta(hours=2, minutes=5)) == "2 h ago"


def test_moments():
    moment = datetime(2026, 11, 4, 13, 0, 0, 5000, tzinfo=UTC)
    assert output.rfc3339(moment) == "2026-11-04T13:00:00.005Z"
    assert output.rfc3339(None) is None


def test_control_characters_become_visible():
    assert output.plain("a\x1b[2Jb\x07\rc\td\ne\x9bf\u202eg") == "a\\x1b[2Jb\\x07\\rc\td\ne\\x9bf\\u202eg"
    assert output.line("two\nlines\tand  blanks") == "two lines and blanks"
    assert output.line("x" * 300, 10) == "xxxxxxxxx…"


def test_folders_below_home_are_written_with_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert output.folder("/home/ada/spool") == "~/spool"
    assert output.folder("/home/adam/spool") == "/home/adam/spool"
    monkeypatch.setenv("HOME", "/")
    assert output.folder("/spool") == "/spool"


def test_tables_are_aligned_columns_without_a_terminal(capsys):
    output.table(("id", "name"), [("1", "a\nb"), ("1000", "c\x1b")])
    assert capsys.readouterr().out == "id    name\n1     a b\n1000  c\\x1b\n"
