"""What a solver had said in the log of a run whose process died: told when the run is ended for it."""

import json
from pathlib import Path

import pytest

from nxtrack import solverlogs
from nxtrack.spool.listing import Entry
from nxtrack.spool.records import Metric, Output
from nxtrack.spool.recovery import recover
from nxtrack.spool.store import DIED, Spool
from nxtrack.spool.writer import Content

LOGS = Path(__file__).parents[1] / "solverlogs"


def log(name):
    return (LOGS / f"{name}.log").read_bytes()


@pytest.fixture
def died(store, begin):
    """Makes a run with this log whose process died, recovers it, and gives its record and output."""

    def make(text, *records, **fields):
        run = begin(**fields)
        run.log(text)
        for record in records:
            run.append(record(run) if callable(record) else record)
        run.close()
        return told(store, run.run_id)

    return make


def told(store, run_id):
    assert recover(store).problems == []
    found = store.read(Entry(run_id, "ready"))
    output = store.artefact(found, "output")
    return found, {} if output is None else json.loads(output.read())


def test_a_solve_that_was_killed_tells_how_far_it_had_got(died, store):
    found, output = died(log("highs-mip-killed"))
    assert found.end.error == DIED
    # Its last row: bound 10607.744094, incumbent 12715.892379, gap 16.58 %, 1 node.
    metrics = output["metrics"]
    assert (metrics["solver"], metrics["status"], metrics["solves"]) == ("HiGHS", "killed", 1)
    assert (metrics["objective"], metrics["bound"]) == (12715.892379, 10607.74409)
    assert metrics["gap"] == pytest.approx(0.1658, abs=1e-4)
    assert {metric.name: metric.value for metric in found.metrics} == metrics  # so that `show` tells them
    (chart,) = output["assets"]
    lines = {line["label"]: line["data"] for line in chart["content"][0]["data"]["datasets"]}
    assert lines.keys() == {"objective", "bound"}
    assert lines["objective"][-1]["y"] == 12715.892379
    assert store.artefact(found, "logs").read() == log("highs-mip-killed")


@pytest.mark.parametrize(
    ("name", "status"),
    [("highs-mip-optimal", "optimal"), ("cpsat-infeasible", "infeasible"), ("highs-mip-ctrl-c", "interrupted")],
)
def test_a_solve_that_was_over_ended_as_it_says(died, name, status):
    _, output = died(log(name))
    assert output["metrics"]["status"] == status


def test_what_the_run_logged_itself_wins(died):
    _, output = died(log("highs-mip-killed"), Metric(name="status", value="mine"), Metric(name="cost", value=3))
    assert (output["metrics"]["status"], output["metrics"]["cost"]) == ("mine", 3)
    assert output["metrics"]["objective"] == 12715.892379


def test_a_log_without_a_solver_adds_nothing(died):
    found, output = died(b"depot 1\n" * 1000)
    assert (found.metrics, output) == ([], {})


def test_an_output_that_was_written_stays_as_it_is(died):
    found, output = died(log("highs-mip-optimal"), lambda run: run.payload(Output, Content(b'{"mine":1}')))
    assert (found.metrics, output) == ([], {"mine": 1})


def test_what_shall_not_be_read_is_not(died):
    found, output = died(log("highs-mip-killed"), unread=True)
    assert (found.metrics, output) == ([], {})


def test_of_a_long_log_the_beginning_and_the_end_are_read(died, monkeypatch):
    asked = []
    read = solverlogs.read
    monkeypatch.setattr(solverlogs, "read", lambda text: asked.append(len(text)) or read(text))
    middle = b"x" * 99 + b"\n"
    half = log("highs-mip-killed").partition(b"Src  Proc. InQueue")
    _, output = died(half[0] + middle * 60_000 + half[1] + half[2])
    assert output["metrics"]["objective"] == 12715.892379
    assert asked == [2 * solverlogs.MOST_READ + 1]


def test_a_run_that_ended_and_could_not_be_written_was_not_killed(store, begin):
    run = begin()
    run.log(log("highs-mip-killed"))
    assert run.abandon("failed")
    _, output = told(store, run.run_id)
    assert output["metrics"]["status"] == "unknown"


@pytest.mark.parametrize("fault", [ValueError("of ours"), OSError(5, "Input/output error"), RecursionError()])
def test_a_fault_of_ours_costs_nothing_but_the_metrics(died, store, monkeypatch, fault):
    def read(_):
        raise fault

    monkeypatch.setattr(solverlogs, "read", read)
    found, output = died(log("highs-mip-killed"))
    assert (found.end.error, output) == (DIED, {})
    assert store.artefact(found, "logs").read() == log("highs-mip-killed")


def test_a_full_disk_takes_the_end_without_what_the_solver_said(disk, fill, begin, died):
    row = " L       0       0         0   0.00%   {}.5   {}.25   1.00%   0   0   0   1   {}.0s\n"
    rows = [row.format(1000 + second, 9000 - second, second) for second in range(400)]
    text = log("highs-mip-killed").partition(b"Src  Proc. InQueue")[0] + "".join(rows).encode()
    _, output = died(text)
    assert output["metrics"]["objective"] == 8601.25
    assert len(json.dumps(output)) > 8192  # More than the pages that the run's files have.
    store = Spool(disk("1m"))
    run = begin(spool=store)
    run.log(text)
    run.close()
    fill(store.root)
    found, output = told(store, run.run_id)
    assert (found.end.error, output) == (DIED, {})
    assert store.artefact(found, "logs").read() == text


def test_every_metric_has_its_name_in_the_list():
    assert set(solverlogs.read(log("highs-mip-optimal")).metrics) == set(solverlogs.NAMES)
