"""What of a call becomes the run's input, and what its options."""

import functools
import inspect
import math

import pytest

from nxtrack import track
from nxtrack.tracking.binding import Binder


def one(problem):
    return problem


def several(problem, depots, time_limit=10, *, gap=0.5):
    return problem


def positional(a, b=2, /):
    return a


def anything(*args, **kwargs):
    return 1


def mixed(a, /, b, *rest, c=3, **more):
    return 1


class Model:
    def solve(self, problem):
        return problem

    def tuned(self, problem, time_limit=10):
        return problem

    def of_self_only(self):
        return 1

    def loose(*args):
        return len(args)

    @classmethod
    def make(cls, problem):
        return problem

    @staticmethod
    def free(problem):
        return problem

    def __call__(self, problem):
        return problem


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "expected"),
    [
        (one, ([1, 2],), {}, [1, 2]),
        (one, (), {"problem": 3}, 3),
        (one, (None,), {}, None),
        (several, (1, 2), {}, {"problem": 1, "depots": 2, "time_limit": 10, "gap": 0.5}),
        (several, (1,), {"depots": 2, "gap": 0}, {"problem": 1, "depots": 2, "time_limit": 10, "gap": 0}),
        (positional, (1,), {}, {"a": 1, "b": 2}),
        (anything, (), {}, {}),
        (anything, (1, 2), {"x": 3}, {"args": [1, 2], "x": 3}),
        (anything, (1,), {"args": 3}, {"args": [1], "kwargs": {"args": 3}}),
        (mixed, (1, 2), {}, {"a": 1, "b": 2, "c": 3}),
        (mixed, (1, 2, 9), {"c": 4, "d": 5}, {"a": 1, "b": 2, "rest": [9], "c": 4, "d": 5}),
        (mixed, (1, 2), {"a": 5}, {"a": 1, "b": 2, "c": 3, "more": {"a": 5}}),
        (lambda: 5, (), {}, {}),
        (lambda *, only: 5, (), {"only": 7}, 7),
        (functools.partial(several, 1, gap=0), (2,), {}, {"depots": 2, "time_limit": 10, "gap": 0}),
        (functools.partial(several, 1, 2, 3), (), {}, 0.5),
        (Model(), (4,), {}, 4),
        (Model().solve, (4,), {}, 4),
        (Model().tuned, (4,), {}, {"problem": 4, "time_limit": 10}),
        (Model.make, (4,), {}, 4),
        (math.floor, (4.5,), {}, 4.5),
        (math.hypot, (3, 4), {}, {"args": [3, 4], "kwargs": {}}),
        ([1, 2].append, (4,), {}, 4),
        (len, ([1],), {}, [1]),
        (max, (1, 2), {}, {"args": [1, 2], "kwargs": {}}),
        (functools.lru_cache(one), (4,), {}, 4),
    ],
)
def test_the_input_of_a_call(function, args, kwargs, expected, only):
    assert track(function)(*args, **kwargs) == function(*args, **kwargs)
    assert only().input == expected


class Tracked(Model):
    solve = track(Model.solve)
    tuned = track(options=["time_limit"])(Model.tuned)
    of_self_only = track(Model.of_self_only)
    loose = track(Model.loose)
    make = track(Model.__dict__["make"])
    free = track(Model.__dict__["free"])
    inner_make = classmethod(track(Model.make.__func__))
    inner_free = staticmethod(track(Model.free))
    called = track(Model())
    part = track(functools.partial(one))
    __call__ = track(Model.__call__)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: Tracked().solve(1), 1),
        (lambda: Tracked().solve(problem=1), 1),
        (lambda: Tracked.solve(Tracked(), 1), 1),
        (lambda: Tracked.solve(Tracked(), problem=1), 1),
        (lambda: Tracked.solve(self=Tracked(), problem=1), 1),
        (lambda: Tracked.solve("no instance of it", 1), 1),
        (lambda: Tracked().tuned(1, 5), 1),
        (lambda: Tracked().of_self_only(), {}),
        (lambda: Tracked().loose(1), [1]),
        (lambda: Tracked().make(1), 1),
        (lambda: Tracked.make(1), 1),
        (lambda: Tracked.make(problem=1), 1),
        (lambda: Tracked.free(1), 1),
        (lambda: Tracked().free(1), 1),
        (lambda: Tracked.inner_make(1), 1),
        (lambda: Tracked().inner_make(problem=1), 1),
        (lambda: Tracked.inner_free(1), 1),
        (lambda: Tracked().inner_free(1), 1),
        (lambda: Tracked().called(1), 1),
        (lambda: Tracked.part(1), 1),
        (lambda: Tracked()(1), 1),
    ],
)
def test_the_instance_is_no_input(call, expected, only):
    call()
    assert only().input == expected


def test_the_named_input_and_options(only):
    @track(input="problem", options=["time_limit", "gap"])
    def solve(problem, depots, time_limit=10, *, gap=0.5, log="x"):
        return problem

    solve({"a": 1}, [2], gap="wide")
    assert only().input == {"a": 1}
    assert only().options == {"time_limit": "10", "gap": "wide"}


def test_options_are_not_in_the_input(only):
    @track(options=("time_limit",))
    def solve(problem, time_limit=10):
        return problem

    solve([1], 5)
    assert (only().input, only().options) == ([1], {"time_limit": "5"})


def test_a_call_that_does_not_fit_fails_as_it_would(only):
    with pytest.raises(TypeError, match=r"several\(\) missing 1 required positional argument: 'depots'"):
        track(several)(1)
    assert only().input == {"args": [1], "kwargs": {}}
    assert only().status == "failed"
    assert only().error == "TypeError: several() missing 1 required positional argument: 'depots'"


@pytest.mark.parametrize(
    "arguments",
    [{"input": "problme"}, {"options": ["problem", "tmie_limit"]}, {"input": "self"}, {"input": "args"}],
)
def test_a_name_that_is_no_parameter_is_told_when_decorating(arguments):
    with pytest.raises(TypeError, match="is no parameter of"):

        @track(**arguments)
        def solve(problem, *args, **kwargs): ...


def test_a_parameter_cannot_be_input_and_option():
    with pytest.raises(TypeError, match="'problem' is named both as input and as option"):
        track(input="problem", options=["problem"])(one)


def test_names_for_a_function_without_a_signature():
    with pytest.raises(TypeError, match="cannot find the parameters"):
        track(input="x")(max)


def test_a_named_self_is_refused():
    """`self` is no input, whoever names it."""
    binder = Binder(Model.solve, None, ())
    assert binder.bind((5,), {}, bound=True) == (5, {})


def test_what_wraps_looks_at_is_the_signature_of_the_innermost(only):
    def traced(function):
        @functools.wraps(function)
        def inner(*args, **kwargs):
            return function(*args, **kwargs)

        return inner

    @track(input="problem", options=["time_limit"])
    @traced
    @traced
    def solve(problem, time_limit):
        return problem

    solve(7, time_limit=2)
    assert (only().input, only().options) == (7, {"time_limit": "2"})


def test_a_signature_that_is_not_the_functions_own():
    """As ray sets on the methods of its actors, with a parameter that it takes off again before the call."""

    def solve(problem, *, depots=()):
        return problem

    def loose(problem, **rest):
        return problem

    def around(problem):
        return problem

    foreign = inspect.Parameter("_trace", inspect.Parameter.KEYWORD_ONLY, default=None)
    for function in (solve, loose):
        found = inspect.signature(function)
        kept = [one for one in found.parameters.values() if one.kind is not one.VAR_KEYWORD]
        function.__signature__ = found.replace(parameters=[*kept, foreign])
    assert Binder(solve, None, ()).bind((1,), {}, bound=False) == ({"problem": 1, "depots": ()}, {})
    assert Binder(loose, None, ()).bind((1,), {}, bound=False) == ({"problem": 1, "_trace": None}, {})
    around.__wrapped__ = solve
    assert Binder(around, None, ()).bind((1,), {}, bound=False)[0] == {"problem": 1, "depots": (), "_trace": None}
