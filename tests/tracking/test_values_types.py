"""What each type becomes, against JSON written by hand."""

import argparse
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import io
import pathlib
import socket
import threading
import types
import uuid
from typing import NamedTuple

import attrs
import msgspec
import networkx as nx
import nextmv
import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest

from nxtrack.tracking.values import encode


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "not this"


class Whole(int):
    pass


class Real(float):
    pass


class Table(dict):
    def items(self):
        raise RuntimeError("not this")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    left: int
    right: float


@dataclasses.dataclass
class Stop:
    name: str
    demand: object = None
    _private: int = 0


@attrs.define
class Truck:
    capacity: int
    spare: object = None


@attrs.define
class Hidden:
    shown: int
    _secret: int = 0


class Depot(msgspec.Struct, tag="depot", rename="camel"):
    open_at: int
    note: str | msgspec.UnsetType = msgspec.UNSET
    extra: object = None


class Route(pydantic.BaseModel):
    stops: list[int]
    at: dt.date = dt.date(2026, 1, 2)


class Odd(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    path: object
    what: object


class OldModel:
    """Has the shape of a model of pydantic 1."""

    def dict(self):
        return {"version": 1}


OldModel.__module__ = "pydantic.main"
OldModel.__name__ = "BaseModel"


class Stamp(dt.datetime):
    pass


class Ident(uuid.UUID):
    pass


class Amount(decimal.Decimal):
    pass


class Span(dt.timedelta):
    pass


class Shelf(collections.abc.Mapping):
    def __getitem__(self, key):
        return {"a": 1}[key]

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


class Records(collections.abc.Sequence):
    def __getitem__(self, at):
        return [1, 2][at]

    def __len__(self):
        return 2


UTC = dt.UTC
PLAIN = {
    "none": (None, None),
    "bools": ([True, False], [True, False]),
    "big integer": (10**100, 10**100),
    "text": ("żółw\n", "żółw\n"),
    "bytes": (b"abc", "YWJj"),
    "bytearray": (bytearray(b"abc"), "YWJj"),
    "tuple": ((1, "a"), [1, "a"]),
    "namedtuple": (Pair(1, 2.5), [1, 2.5]),
    "set": ({3}, [3]),
    "frozenset": (frozenset([3]), [3]),
    "dataclass": (Stop("a", 2), {"name": "a", "demand": 2, "_private": 0}),
    "attrs": (Truck(5), {"capacity": 5, "spare": None}),
    "attrs with a private field": (Hidden(1), {"shown": 1}),
    "struct": (Depot(8), {"type": "depot", "openAt": 8, "extra": None}),
    "enum": (Colour.RED, "red"),
    "int enum": (Level.LOW, 1),
    "datetime": (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    "date": (dt.date(2026, 1, 2), "2026-01-02"),
    "time": (dt.time(3, 4), "03:04:00"),
    "timedelta": (dt.timedelta(seconds=90), "PT90S"),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "raw": (msgspec.Raw(b'{"a":1}'), {"a": 1}),
    "raw on lines": ({"r": msgspec.Raw(b'{"a":\n1}')}, {"r": {"a": 1}}),
    "unset": ([msgspec.UNSET], [None]),
    "str subclass": (Text("a"), "a"),
    "int subclass": (Whole(7), 7),
    "float subclass": (Real(1.5), 1.5),
    "dict subclass": (Table(a=1), {"a": 1}),
    "datetime subclass": (Stamp(2026, 1, 2), "2026-01-02T00:00:00"),
    "uuid subclass": (Ident(int=1), "00000000-0000-0000-0000-000000000001"),
    "decimal subclass": (Amount("1.5"), "1.5"),
    "timedelta subclass": (Span(seconds=90), "PT90S"),
    "ordered dict": (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "defaultdict": (collections.defaultdict(list, a=[1]), {"a": [1]}),
    "counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "mapping proxy": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "chain map": (collections.ChainMap({"a": 1}), {"a": 1}),
    "mapping": (Shelf(), {"a": 1}),
    "sequence": (Records(), [1, 2]),
    "deque": (collections.deque([1, 2]), [1, 2]),
    "range": (range(3), [0, 1, 2]),
    "dict views": ([{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()], [["a"], [1], [["a", 1]]]),
    "fraction": (fractions.Fraction(1, 3), "1/3"),
    "path": (pathlib.PurePosixPath("/a/b"), "/a/b"),
    "namespace": (types.SimpleNamespace(a=1), {"a": 1}),
    "arguments": (argparse.Namespace(a=1), {"a": 1}),
    "np.float64": (np.float64(1.5), 1.5),
    "np.float32": (np.float32(1.5), 1.5),
    "np.longdouble": (np.longdouble(1.5), 1.5),
    "np.int64": (np.int64(-3), -3),
    "np.uint8": (np.uint8(3), 3),
    "np.bool": (np.bool_(True), True),
    "np.str": (np.str_("a"), "a"),
    "np.bytes": (np.bytes_(b"abc"), "YWJj"),
    "np.datetime64": (np.datetime64("2026-01-02T03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
    "np.datetime64 NaT": (np.datetime64("NaT"), None),
    "np.timedelta64": (np.timedelta64(90, "s"), "PT90S"),
    "np.timedelta64 NaT": (np.timedelta64("NaT"), None),
    "np.void": (np.array([(1, 2.5)], dtype=[("a", int), ("b", float)])[0], [1, 2.5]),
    "float array": (np.array([[1.5, 2.5], [3.5, 4.5]]), [[1.5, 2.5], [3.5, 4.5]]),
    "array of no dimension": (np.array(3), 3),
    "empty array": (np.zeros((0, 2)), []),
    "int array": (np.arange(3), [0, 1, 2]),
    "bool array": (np.array([True]), [True]),
    "text array": (np.array(["a", "bc"]), ["a", "bc"]),
    "long double array": (np.array([1.5], dtype=np.longdouble), [1.5]),
    "object array": (np.array([np.float64(1), {"a": None}], dtype=object), [1.0, {"a": None}]),
    "date array": (np.array(["2026-01-02", "NaT"], dtype="M8[D]"), ["2026-01-02", None]),
    "duration array": (np.array([90, "NaT"], dtype="m8[s]"), ["PT90S", None]),
    "structured array": (np.array([(1, 2.5)], dtype=[("a", int), ("b", float)]), [[1, 2.5]]),
    "masked array": (np.ma.masked_array([1, 2], mask=[False, True]), [1, None]),
    "frame": (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    "empty frame": (pd.DataFrame(), {"columns": [], "index": [], "data": []}),
    "indexed frame": (
        pd.DataFrame({"a": [1, 2]}, index=["r", "s"]),
        {"columns": ["a"], "index": ["r", "s"], "data": [[1], [2]]},
    ),
    "frame with twin columns": (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        {"columns": ["a", "a"], "index": [0], "data": [[1, 2]]},
    ),
    "frame with numbered columns": (pd.DataFrame([[1]]), {"columns": [0], "index": [0], "data": [[1]]}),
    "frame of times": (
        pd.DataFrame({"t": pd.to_datetime(["2026-01-02", None])}),
        [{"t": "2026-01-02T00:00:00"}, {"t": None}],
    ),
    "series": (pd.Series([1, 2]), [1, 2]),
    "indexed series": (pd.Series([1, 2], index=["a", "b"]), {"a": 1, "b": 2}),
    "series with twins": (pd.Series([1, 2], index=["a", "a"]), {"index": ["a", "a"], "data": [1, 2]}),
    "index": (pd.Index(["a", "b"]), ["a", "b"]),
    "range index": (pd.RangeIndex(2), [0, 1]),
    "multi index": (pd.MultiIndex.from_tuples([("a", 1)]), [["a", 1]]),
    "timestamp": (pd.Timestamp("2026-01-02T03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
    "timedelta of pandas": (pd.Timedelta(90, "s"), "P0DT0H1M30S"),
    "NaT": (pd.NaT, None),
    "NA": (pd.NA, None),
    "nullable array": (pd.array([1, None], dtype="Int64"), [1, None]),
    "categorical": (pd.Categorical(["a", "b", "a"]), ["a", "b", "a"]),
    "period": (pd.Period("2026-01"), "2026-01"),
    "interval": (pd.Interval(0, 1), "(0, 1]"),
    "polars frame": (pl.DataFrame({"a": [1, None]}), [{"a": 1}, {"a": None}]),
    "polars series": (pl.Series([1, 2]), [1, 2]),
    "pydantic": (Route(stops=[1]), {"stops": [1], "at": "2026-01-02"}),
    "odd pydantic": (Odd(path=pathlib.PurePosixPath("/a"), what=np.int64(3)), {"path": "/a", "what": 3}),
    "pydantic 1": (OldModel(), {"version": 1}),
    "nextmv asset": (
        nextmv.Asset(name="a", content={"x": 1}),
        {"name": "a", "content": {"x": 1}, "content_type": "json"},
    ),
    "int keys": ({1: "a", 2.5: "b"}, {"1": "a", "2.5": "b"}),
    "numpy keys": ({np.int64(1): "a", np.float64(2.5): "b"}, {"1": "a", "2.5": "b"}),
    "path keys": ({pathlib.PurePosixPath("a"): 1}, {"a": 1}),
    "enum keys": ({Colour.RED: 1, dt.date(2026, 1, 2): 2}, {"red": 1, "2026-01-02": 2}),
}


@pytest.fixture
def company():
    """Another thread of the program."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    yield other
    done.set()
    other.join()


@pytest.mark.parametrize("name", PLAIN)
def test_becomes(name):
    value, expected = PLAIN[name]
    encoded = encode(value)
    assert msgspec.json.decode(encoded.data) == expected
    assert encoded.notes == ()

    # A tangle beside it sends the whole value along the careful way.
    tangle = []
    tangle.append(tangle)
    encoded = encode({"value": value, "tangle": tangle})
    assert msgspec.json.decode(encoded.data)["value"] == expected
    assert encoded.notes == ("1 circular reference to a value of type list became a summary of the type",)


def test_each_becomes_the_same_beside_another_thread(company):
    assert company.is_alive()
    for name, (value, expected) in PLAIN.items():
        encoded = encode(value)
        assert msgspec.json.decode(encoded.data) == expected, name
        assert encoded.notes == (), name


def network():
    graph = nx.DiGraph(name="net")
    graph.add_node("a", supply=1)
    graph.add_edge("a", "b", cost=2.5)
    return graph


def test_a_graph_becomes_node_link_data():
    assert msgspec.json.decode(encode(network()).data) == {
        "directed": True,
        "multigraph": False,
        "graph": {"name": "net"},
        "nodes": [{"supply": 1, "id": "a"}, {"id": "b"}],
        "edges": [{"cost": 2.5, "source": "a", "target": "b"}],
    }


def test_a_multigraph_keeps_its_keys():
    graph = nx.MultiGraph()
    graph.add_edge(1, 2, key="road", km=3)
    assert msgspec.json.decode(encode(graph).data)["edges"] == [{"km": 3, "source": 1, "target": 2, "key": "road"}]


class Model:
    """Stands for a solver's object: whatever is called on it is a mistake."""

    def __init__(self):
        self.rows = 3
        self._handle = 4

    def __repr__(self):
        raise AssertionError("repr was called")

    __str__ = __len__ = __iter__ = to_dict = __repr__


def solve():
    """A function to pass along."""


ALTERED = {
    "complex": (1 + 2j, [1.0, 2.0], "1 value of type complex became a list of the real and the imaginary part"),
    "np.complex128": (
        np.complex128(1 + 2j),
        [1.0, 2.0],
        "1 value of type complex became a list of the real and the imaginary part",
    ),
    "nan": ([float("nan"), 1.0], [None, 1.0], "1 value that is not finite became null"),
    "infinities": ([float("inf"), float("-inf")], [None, None], "2 values that are not finite became null"),
    "np nan": (np.float64("nan"), None, "1 value that is not finite became null"),
    "nan array": (np.array([1.0, np.nan, -np.inf]), [1.0, None, None], "2 values that are not finite became null"),
    "complex array": (
        np.array([1j, 2j]),
        [[0.0, 1.0], [0.0, 2.0]],
        "2 values of type complex became a list of the real and the imaginary part",
    ),
    "frame with a gap": (
        pd.DataFrame({"a": [1.5, np.nan]}),
        [{"a": 1.5}, {"a": None}],
        "1 value that is not finite became null",
    ),
    "lock": (
        Stop("a", threading.Lock()),
        {"name": "a", "demand": {"type": "_thread.lock"}, "_private": 0},
        "1 value of type _thread.lock became a summary of the type",
    ),
    "function": (
        [solve],
        [{"type": "function", "name": f"{__name__}.solve"}],
        "1 value of type function became a summary of the type",
    ),
    "builtin": ([len], [{"type": "builtin_function_or_method", "name": "len"}], None),
    "method": ([Model().to_dict], [{"type": "method", "name": f"{__name__}.Model.__repr__"}], None),
    "class": ([int], [{"type": "type", "name": "int"}], "1 value of type type became a summary of the type"),
    "module": ([types], [{"type": "module", "name": "types"}], None),
    "solver object": (
        Model(),
        {"type": f"{__name__}.Model", "attributes": ["rows"]},
        f"1 value of type {__name__}.Model became a summary of the type",
    ),
    "exception": ([ValueError("secret")], [{"type": "ValueError"}], None),
    "ellipsis": ([...], [{"type": "ellipsis"}], None),
    "lazy frame": ([pl.LazyFrame({"a": [1]})], [{"type": "polars.lazyframe.frame.LazyFrame"}], None),
    "huge integer": (16**5000, "0x1" + "0" * 5000, "1 integer too long for decimal notation became hexadecimal text"),
    "surrogate": (
        ["\ud800", "é"],
        ["\\ud800", "é"],
        "1 text with characters that are not valid Unicode had them escaped",
    ),
    "surrogate key": ({"\udcff": 1}, {"\\udcff": 1}, None),
    "rounded": (np.longdouble(1) / 3, 1 / 3, "1 value of type numpy.longdouble lost precision"),
    "rounded array": (np.ones(1, np.longdouble) / 3, [1 / 3], "1 value of type numpy.ndarray lost precision"),
    "nanoseconds": (np.timedelta64(1, "ns"), "P0D", "1 value of type numpy.timedelta64 lost precision"),
    "tuple keys": (
        {(1, "a"): 1, ("b", np.int64(2)): 2},
        {'[1,"a"]': 1, '["b",2]': 2},
        "2 keys of type tuple became text",
    ),
    "none key": ({None: 1}, {"null": 1}, "1 key of type NoneType became text"),
    "bool keys": ({True: 1, False: 2}, {"true": 1, "false": 2}, "2 keys of type bool became text"),
    "set key": ({frozenset([1]): 1}, {"[1]": 1}, "1 key of type frozenset became text"),
    "range key": ({range(2): 1}, {"[0,1]": 1}, "1 key of type range became text"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_is_altered_and_noted(name):
    value, expected, note = ALTERED[name]
    encoded = encode(value)
    assert msgspec.json.decode(encoded.data) == expected
    assert len(encoded.notes) == 1
    assert note is None or encoded.notes == (note,)


def test_objects_as_keys_stay_apart():
    encoded = encode({Model(): 1, Model(): 2, "a": 3})
    name = f"{__name__}.Model"
    assert msgspec.json.decode(encoded.data) == {name: 1, f"{name} #2": 2, "a": 3}
    assert "1 key that would have been the same text as another got a number" in encoded.notes


def test_iterators_are_left_unread():
    numbers = iter([1, 2, 3])
    counting = (number for number in (1, 2, 3))
    file = io.StringIO("a\nb\n")
    encoded = encode({"iterator": numbers, "generator": counting, "file": file})
    assert msgspec.json.decode(encoded.data) == {
        "iterator": {"type": "list_iterator"},
        "generator": {"type": "generator"},
        "file": {"type": "_io.StringIO"},
    }
    assert (list(numbers), list(counting), file.read()) == ([1, 2, 3], [1, 2, 3], "a\nb\n")
    assert encoded.notes[0] == "1 iterator of type list_iterator was left unread and became a summary of the type"


def test_sockets_and_files_become_summaries(tmp_path):
    with socket.socket() as link, (tmp_path / "f").open("wb") as file:
        encoded = encode([link, file])
    assert msgspec.json.decode(encoded.data) == [{"type": "socket.socket"}, {"type": "_io.BufferedWriter"}]


def test_a_summary_names_twenty_attributes_and_no_values():
    thing = Model()
    for number in range(100):
        setattr(thing, f"field{number:03}", "secret")
    (told,) = msgspec.json.decode(encode([thing]).data)
    assert told["attributes"] == ["rows", *(f"field{number:03}" for number in range(19))]
    assert b"secret" not in encode([thing]).data
