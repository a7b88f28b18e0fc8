"""The way back from what was recorded of a call to its arguments."""

import inspect

import msgspec
import numpy as np
import pydantic
import pytest

from nxtrack.tracking.binding import Binder


def one(problem):
    return problem


def several(problem, depots, time_limit=10, *, gap=0.5):
    return problem


def mixed(a, /, b, *rest, c=3, **more):
    return 1


def anything(*args, **kwargs):
    return 1


class Stop(pydantic.BaseModel):
    at: int


def annotated(matrix: np.ndarray, stop: Stop, names: set[str], size: int, limit: int = 1, label: str = "x"):  # noqa: PLR0917
    return matrix


def back(function, value, options=None, names=()):
    binder = Binder(function, None, tuple(names))
    return binder.unbind(value, options or {}, function=function, bound=False)


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (one, ([1, 2],), {}),
        (one, ({"problem": 1},), {}),
        (several, (1, 2), {"gap": 0}),
        (mixed, (1, 2), {}),
        (mixed, (1, 2, 9), {"c": 4, "d": 5}),
        (mixed, (1, 2), {"a": 5}),
        (anything, (), {}),
        (anything, (1, 2), {"x": 3}),
        (lambda: 5, (), {}),
        (one, (1, 2), {}),
    ],
)
def test_there_and_back(function, args, kwargs):
    """What is bound, written down, read and bound back is the same input again."""
    binder = Binder(function, None, ())
    recorded = msgspec.json.decode(msgspec.json.encode(binder.bind(args, kwargs, bound=False)[0]))
    call = binder.unbind(recorded, {}, function=function, bound=False)
    again = msgspec.json.decode(msgspec.json.encode(binder.bind(call.args, call.kwargs, bound=False)[0]))
    assert again == recorded
    assert call.notes == []


def test_values_become_what_parameters_are_annotated_with():
    value = {"matrix": [[1, 2], [3, 4]], "stop": {"at": 3}, "names": ["a"], "size": "many"}
    call = back(annotated, value, {"limit": "7", "label": "8"}, ["limit", "label"])
    found = inspect.signature(annotated).bind(*call.args, **call.kwargs).arguments
    assert found["matrix"].tolist() == [[1, 2], [3, 4]]
    assert found["stop"] == Stop(at=3)
    assert (found["names"], found["size"], found["limit"], found["label"]) == ({"a"}, "many", 7, "8")
    (note,) = call.notes
    assert note.startswith("size is given as plain JSON: Expected `int`")


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("[1]", [1]), ("true", True), ("fast", "fast"), ("null", None), ("1.5", 1.5)]
)
def test_options_without_annotations_are_read_as_json(text, value):
    def solve(problem, option=None):
        return option

    assert back(solve, 1, {"option": text}, ["option"]).args == (1, value)
