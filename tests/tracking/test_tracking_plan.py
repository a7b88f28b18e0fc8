"""Wrong options are told when decorating or making the tracker, never when the solver runs."""

import re
import sys

import numpy as np
import pytest

from nxtrack import track
from nxtrack.tracking.plan import make, option_names


def solve(problem):
    return problem


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"capture": "screen"}, ValueError, "cannot capture 'screen': expected one of auto, fd, sys, off"),
        ({"capture": "screen", "streams": ["stderr"]}, ValueError, "cannot capture 'screen'"),
        ({"capture": 5}, ValueError, "cannot capture 5"),
        ({"streams": "stdin"}, ValueError, "no such stream: stdin; there are stderr and stdout"),
        ({"streams": ["stderr", "x"]}, ValueError, "no such stream: x"),
        ({"streams": 5}, TypeError, "streams takes names, not int"),
        ({"app_id": 5}, TypeError, "app_id takes text, not int"),
        ({"name": b"x"}, TypeError, "name takes text, not bytes"),
        ({"description": ["x"]}, TypeError, "description takes text, not list"),
        ({"instance_id": 5}, TypeError, "instance_id takes text"),
        ({"batch_experiment_id": 5}, TypeError, "batch_experiment_id takes text"),
        ({"process_input": 5}, TypeError, "process_input takes a function, not int"),
        ({"process_output": "x"}, TypeError, "process_output takes a function, not str"),
        ({"sample_rate": "0.5"}, TypeError, "sample_rate takes a number from 0 to 1, not str"),
        ({"sample_rate": True}, TypeError, "sample_rate takes a number"),
        ({"sample_rate": 1.5}, ValueError, "sample_rate takes a number from 0 to 1, not 1.5"),
        ({"sample_rate": float("nan")}, ValueError, "not nan"),
        ({"redact": 5}, TypeError, "redact takes"),
        ({"redact": [""]}, TypeError, "redact takes"),
        ({"app": "x"}, TypeError, "track has no argument app; it has app_id, batch_experiment_id"),
    ],
)
def test_a_wrong_option(arguments, error, text):
    with pytest.raises(error, match=re.escape(text)):
        track(**arguments)(solve)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"input": 5}, "input of a decorator takes the name of a parameter"),
        ({"options": "problem"}, "options of a decorator takes a list of parameter names"),
        ({"options": [5]}, "options of a decorator takes a list of parameter names"),
        ({"options": {"problem": 5}}, "options of a decorator takes a list of parameter names"),
    ],
)
def test_what_only_a_decorator_refuses(arguments, text):
    with pytest.raises(TypeError, match=text):
        track(**arguments)(solve)


@pytest.mark.parametrize("thing", [5, "solve", [solve], object(), property(solve)])
def test_what_is_no_function(thing):
    with pytest.raises(TypeError, match="track takes a function, not"):
        track(thing)
    with pytest.raises(TypeError, match="track takes a function, not"):
        track()(thing)


def test_a_class_is_no_function():
    with pytest.raises(TypeError, match=r"not the class .*Solver; decorate its methods instead"):

        @track
        class Solver: ...


def test_a_function_and_options_at_once():
    with pytest.raises(TypeError, match=r"write @track\(\.\.\.\) with the arguments"):
        track(solve, app_id="x")
    with pytest.raises(TypeError):
        track(solve, solve)


@pytest.mark.parametrize("no", [False, 0, np.False_])
def test_whatever_is_false_turns_tracking_off(no, recorded):
    assert track(enabled=no)(solve)(5) == 5
    assert recorded() == []


@pytest.mark.parametrize("yes", [True, 1, None])
def test_whatever_is_not_leaves_it_on(yes, recorded):
    assert track(enabled=yes)(solve)(5) == 5
    assert len(recorded()) == 1


def test_none_is_as_good_as_nothing(only):
    names = "app_id name description instance_id batch_experiment_id capture streams redact process_input sample_rate"
    assert track(**dict.fromkeys(names.split()))(solve)(5) == 5
    assert only().status == "succeeded"


def test_everything_that_can_be_told_is_recorded(only):
    @track(
        app_id="routing",
        name="what-if",
        description="two depots",
        instance_id="latest",
        batch_experiment_id="batch-1",
        capture="SYS",
        streams="stderr",
        sample_rate=1,
    )
    def solve(problem):
        print("to stdout")
        print("to stderr", file=sys.stderr)
        return {"a": 1}

    solve(5)
    run = only()
    assert (run.app_id, run.name, run.description) == ("routing", "what-if", "two depots")
    assert (run.instance_id, run.batch_experiment_id) == ("latest", "batch-1")
    assert run.logs == "to stderr\n"
    assert run.source == "tests.tracking.test_tracking_plan.test_everything_that_can_be_told_is_recorded.<locals>.solve"


@pytest.mark.parametrize("none", [[], "", ()])
def test_no_streams_at_all(none, only):
    @track(streams=none)
    def solve():
        print("unseen")

    solve()
    assert only().logs == ""


class Text(str):
    __slots__ = ()


def test_texts_of_other_make(only):
    @track(app_id=np.str_("routing"), name=Text("x"), description="\udcff")
    def solve():
        return 1

    solve()
    assert (only().app_id, only().name, only().description) == ("routing", "x", "\\udcff")


def test_a_plan_keeps_what_it_was_told():
    assert make({"app_id": "x"}).arguments == {"app_id": "x"}
    assert option_names({"a"}) == ("a",)
    assert option_names(None) == ()
