"""The command that measures: what it measures, what its table says, and its exit status."""

# ruff: noqa: RUF001  (the sign of a ratio is what the table shows)

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.figures import Figure, put, ratio, shown, table, time_shown

COMMAND = Path(__file__).parent


def measured(folder, *arguments):
    return subprocess.run(
        [sys.executable, COMMAND, "--folder", folder, "--environments", folder / "environments", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_it_lists_what_it_measures(tmp_path):
    done = measured(tmp_path, "--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"calls", "rivals", "memory", "scale", "recovery", "starting"} <= set(done.stdout.splitlines())


def test_it_measures_and_tells_figures_with_their_bounds(tmp_path):
    done = measured(tmp_path, "--quick", "--json", "--only", "memory")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "nxtrack" in said["versions"]
    assert [(figure["unit"], figure["most"], figure["met"]) for figure in said["figures"]] == [
        ("x", 1.2, True),
        ("MB", 64, True),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["environments", "hermetic-home"]


@pytest.mark.parametrize(
    ("figure", "met", "bound"),
    [
        (Figure("a", 1.2, most=1.2), True, "≤ 1.20 ×"),
        (Figure("a", 1.21, most=1.2), False, "≤ 1.20 ×"),
        (Figure("a", 0.9, least=0.9), True, "≥ 0.90 ×"),
        (Figure("a", 0.89, least=0.9), False, "≥ 0.90 ×"),
        (Figure("a", float("nan"), least=10), False, "≥ 10 ×"),
        (Figure("a", 3), None, ""),
    ],
)
def test_a_figure_knows_whether_its_bound_is_met(figure, met, bound):
    assert (figure.met, figure.bound) == (met, bound)


def test_the_table_has_a_line_for_each_figure():
    figures = [Figure("memory", 3.28, "MB", most=64, context="a flush"), Figure("a call", 2.5, most=1.5)]
    assert table(figures).splitlines()[2:] == [
        "| memory | 3.28 MB | ≤ 64 MB | yes | a flush |",
        "| a call | 2.50 × | ≤ 1.50 × | **no** |  |",
    ]


def test_the_table_goes_between_its_marks_and_changes_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- benchmarks -->\nold\n<!-- end of benchmarks -->\nbelow\n")
    put("new", readme)
    assert readme.read_text() == "above\n<!-- benchmarks -->\nnew\n<!-- end of benchmarks -->\nbelow\n"
    readme.write_text("no marks\n")
    with pytest.raises(ValueError, match="marks"):
        put("new", readme)
    assert readme.read_text() == "no marks\n"


def test_numbers_are_as_precise_as_a_measurement_is():
    assert [shown(value, "x") for value in (0.123, 1.5, 12.34, 1234.5)] == ["0.12 ×", "1.50 ×", "12.3 ×", "1,234 ×"]
    assert [time_shown(value) for value in (1.5, 0.0123, 4.25e-5)] == ["1.50 s", "12.3 ms", "42.5 µs"]


def test_a_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians():
    assert ratio([2, 30, 8], [1, 10, 1]) == 3
