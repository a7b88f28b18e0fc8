"""The live run: what a program may read and change of it, and that it is in the spool at once."""

import math
import re

import numpy as np
import pytest

import nxtrack
from nxtrack import Run, current_run, track
from nxtrack.spool import ids


def test_a_run_as_its_program_sees_it(recorded):
    with track(name="a", description="b", input=[1], options={"limit": 5}) as run:
        assert type(run) is Run
        assert current_run() is run
        assert (run.name, run.description, run.input, run.output, run.options) == ("a", "b", [1], None, {"limit": 5})
        assert run.status == "running"
        assert ids.is_id(run.id)
        assert repr(run) == f"<Run {run.id} running>"
        assert recorded()[0].id == run.id
        assert recorded()[0].state == "active"
        run.output = 7
        assert run.output == 7
    assert current_run() is None
    assert run.status == "succeeded"
    assert (run.name, run.input, run.output, run.options) == ("a", [1], 7, {"limit": 5})
    assert recorded()[0].state == "ready"


def test_what_is_assigned_is_in_the_spool_at_once(only):
    with track(name="a", input=[1]) as run:
        run.name = "b"
        run.description = "c"
        run.options = {"n": 5, "text": "as it is", "list": [1]}
        run.input = {"other": 1}
        run.log_metric("gap", 0.5)
        run.log_asset("map", {"x": 1}, visual={"schema": "geojson", "label": "Map"})
        run.log("logged")
        seen = only()
        assert seen.state == "active"
        assert (seen.name, seen.description, seen.input) == ("b", "c", {"other": 1})
        assert seen.options == {"n": "5", "text": "as it is", "list": "[1]"}
        assert seen.metrics == [("gap", 0.5, None)]
        assert seen.assets[0]["visual"] == {"type": "custom-tab", "schema": "geojson", "label": "Map"}
        assert seen.logs == "logged\n"
        run.name = run.description = None
    assert (only().name, only().description) == ("", "")


def test_a_changed_input_is_encoded_when_it_is_assigned(only):
    problem = [1]
    with track() as run:
        run.input = problem
        problem.append(2)
    assert only().input == [1]


def test_an_output_is_encoded_when_the_run_ends(only):
    best = []
    with track() as run:
        run.output = best
        best.append(2)
    assert only().output == {"solution": [2]}


def test_metrics(only):
    class Text(str):
        __slots__ = ()

    with track() as run:
        run.log_metric("gap", 0.5, step=1)
        run.log_metric("gap", np.float64(0.25), step=np.int64(2))
        run.log_metric("gap", np.float32(0.125), 2.5)
        run.log_metric("nan", math.nan, math.inf)
        run.log_metric("count", np.int32(5), step=True)
        run.log_metric("scalar", np.array(5.0), step="first")
        run.log_metric("flag", np.True_, step=[1])
        run.log_metric("vector", np.arange(3))
        run.log_metric("nested", {"a": [1, None]})
        run.log_metric("text", Text("x"))
        run.log_metric("none", None)
        run.log_metric("huge", 10**30)
        run.log_metric("object", object())
        run.log_metric(5, 6)
        run.log_metric("sur\udcffrogate", "\udcff")
        run.log_metrics({"a": 1, "b": 2.0})
    run = only()
    assert run.metrics == [
        ("gap", 0.5, 1),
        ("gap", 0.25, 2),
        ("gap", 0.125, 2.5),
        ("nan", None, None),
        ("count", 5, None),
        ("scalar", 5.0, None),
        ("flag", True, None),
        ("vector", "[0,1,2]", None),
        ("nested", '{"a":[1,null]}', None),
        ("text", "x", None),
        ("none", None, None),
        ("huge", pytest.approx(1e30), None),
        ("object", '{"type":"object"}', None),
        ("5", 6, None),
        ("sur\\udcffrogate", "\\udcff", None),
        ("a", 1, None),
        ("b", 2.0, None),
    ]
    assert run.output["metrics"]["gap"] == 0.125
    assert run.output["metrics"]["b"] == 2


def test_metrics_of_a_failed_run(only):
    with pytest.raises(ValueError), track() as run:
        run.log_metric("gap", 0.5)
        run.log_asset("x", 1)
        raise ValueError
    assert only().output == {"metrics": {"gap": 0.5}, "assets": [{"name": "x", "content": 1, "content_type": "json"}]}


def test_metrics_beside_a_returned_output(only):
    @track
    def solve():
        current_run().log_metric("gap", 0.5)
        current_run().log_metric("time", 1)
        return {"metrics": {"gap": 0}, "routes": []}

    assert solve() == {"metrics": {"gap": 0}, "routes": []}
    assert only().output == {"metrics": {"gap": 0, "time": 1}, "routes": []}


def test_log(only):
    with track() as run:
        run.log("a line")
        run.log("two\nlines\n")
        run.log(5)
        run.log("\udcff")
        run.log("")
    assert only().logs == "a line\ntwo\nlines\n5\n\\udcff\n\n"


class Mute:
    def __str__(self):
        raise ValueError("no text")

    def __iter__(self):
        raise ValueError("no items")

    keys = __iter__


def test_nothing_of_this_raises_into_the_solver(only, warned):
    with track() as run:
        run.name = Mute()
        run.description = Mute()
        run.options = Mute()
        run.options = 5
        run.log(Mute())
        run.log_metric(Mute(), 1)
        run.log_metrics(5)
        run.log_asset(Mute(), 1)
        run.log_asset("x", 1, visual=5)
        run.fail(Mute())
    assert (only().status, only().error) == ("failed", "failed")
    assert len(warned()) == len(set(warned())) == 10
    assert all(sentence.endswith("the solver is not affected.") for sentence in warned())


def test_after_its_end_a_run_takes_no_more(only):
    with track(name="a") as run:
        run.log("in")
    run.name = "b"
    run.input = 5
    run.output = 6
    run.options = {"a": 1}
    run.log("out")
    run.log_metric("gap", 1)
    run.log_asset("x", 1)
    run.fail("late")
    assert run.status == "succeeded"
    seen = only()
    assert (seen.name, seen.input, seen.output, seen.options, seen.logs) == ("a", None, None, {}, "in\n")
    assert (seen.metrics, seen.assets, seen.status) == ([], [], "succeeded")


def test_unicode(only):
    with track(name="Zürich 🚚", input={"ß": "\udcff"}) as run:
        run.description = "a\udcffb"
        run.options = {"\udcff": "\udcff"}
        run.log_asset("\udcff", "\udcff")
    seen = only()
    assert (seen.name, seen.description, seen.options) == ("Zürich 🚚", "a\\udcffb", {"\\udcff": "\\udcff"})
    assert seen.input == {"ß": "\\udcff"}
    assert seen.assets[0]["name"] == "\\udcff"


def test_options_with_redaction(only):
    with track(redact=re.compile("secret"), options={"a": "secret", "b": 5}) as run:
        run.options = {"a": "secret", "b": [1, "secret"]}
    assert only().options == {"a": "***", "b": '[1,"***"]'}
    assert run.options == {"a": "secret", "b": [1, "secret"]}


def test_large_inputs_may_be_assigned_again_and_again(only):
    with track(input="x" * 100_000) as run:
        for letter in "abc":
            run.input = letter * 100_000
    assert only().input == "c" * 100_000


def test_the_public_names():
    assert sorted(nxtrack.__all__) == ["FlushReport", "Run", "configure", "current_run", "flush", "track"]
    assert all(getattr(nxtrack, name) for name in nxtrack.__all__)
    with pytest.raises(AttributeError, match="module 'nxtrack' has no attribute 'nothing'"):
        _ = nxtrack.nothing


def test_metrics_and_names_are_redacted_on_disk_too(only, tmp_path):
    with track(redact=["cost", re.compile("sk-[a-z]+")], name="sk-name", description="sk-before") as run:
        run.log_metric("cost", 5.5)
        run.log_metric("key", "sk-metric")
        run.log_metric("gap", 0.1)
        run.description = "now sk-after"
    (file,) = (tmp_path / "spool" / "runs").iterdir()
    assert not re.search(rb"sk-|5\.5", file.read_bytes())
    assert only().metrics == [("cost", "***", None), ("key", "***", None), ("gap", 0.1, None)]
    assert only().description == "now ***"
