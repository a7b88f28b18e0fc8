"""The sentences of a report."""

from __future__ import annotations

from nxtrack.delivery.report import FlushReport, plural, recovered


def test_a_problem_is_told_once():
    report = FlushReport()
    report.tell("no network")
    report.tell("no network")
    assert report.problems == ["no network"]


def test_plural():
    assert [plural(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_recovered_names_the_processes():
    assert recovered([7]) == "1 run recovered from a process that died (pid 7)."
    assert recovered([7, 7]) == "2 runs recovered from a process that died (pid 7)."
    assert recovered([7, 8]) == "2 runs recovered from 2 processes that died (pids 7, 8)."
    assert recovered(list(range(7))).endswith("(pids 0, 1, 2, 3, 4, ...).")
