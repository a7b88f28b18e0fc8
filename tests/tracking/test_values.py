"""Encoding: its laws, its limits, what it must not load, the output rule, redaction."""

import dataclasses
import json
import math
import re
import struct
import subprocess
import sys
import textwrap
import threading
import types
import warnings
from collections import deque

import msgspec
import nextmv
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nxtrack.spool.writer import Content
from nxtrack.tracking import hooks, notes, plain, values
from nxtrack.tracking.values import Redaction, as_output, encode, redacted


def run(program):
    """Runs a program in an interpreter of its own, which may crash there."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )


def parsed(encoded):
    """What the platform will read, by a parser that is not msgspec's."""

    def refuse(token):
        raise AssertionError(token)

    assert b"\n" not in encoded.data
    return json.loads(encoded.data.decode(), parse_constant=refuse)


def well_formed(encoded):
    parsed(encoded)
    assert len(encoded.notes) <= 20
    assert len(set(encoded.notes)) == len(encoded.notes)
    assert all(0 < len(note) <= 200 and note.isprintable() for note in encoded.notes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_values_go_through_unaltered(value):
    encoded = encode(value)
    assert msgspec.json.decode(encoded.data) == value
    assert encoded.notes == ()


@given(JSON)
def test_the_careful_way_writes_what_msgspec_writes(value):
    assert values._encode_carefully(value) == Content(msgspec.json.encode(value))


class Awkward:
    """Resists whatever is asked of it."""

    def __getattribute__(self, name):
        if name == "__class__":  # hypothesis asks for it
            return Awkward
        raise RuntimeError(name)


class Meta(type):
    @property
    def __module__(cls):
        raise ValueError

    def __hash__(cls):
        raise ValueError


class Worse(metaclass=Meta):
    pass


class Lying(deque):
    def __iter__(self):
        raise RuntimeError("mutated during iteration")


class PanicException(BaseException):
    """Such as that of pyo3."""


class Panics(deque):
    def __iter__(self):
        raise PanicException


@dataclasses.dataclass
class Node:
    name: object
    parent: object = None
    __hash__ = object.__hash__


def looped():
    node = Node("root")
    node.parent = [node]
    return node


WEIRD = st.one_of(
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters()),
    st.binary(),
    st.fractions(),
    st.decimals(),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
    st.floats().map(np.float64),
    st.lists(st.floats()).map(np.array),
    st.sampled_from([10**30, len, types, Node, Awkward, Meta, NotImplemented, msgspec.UNSET]),
    st.just(None).map(lambda _: Awkward()),
    st.just(None).map(lambda _: Worse()),
    st.builds(lambda: Lying([1])),
    st.integers(4990, 5010).map(lambda power: 16**power),
    st.builds(looped),
    st.builds(lambda: iter([1])),
    st.builds(threading.Lock),
    st.just(msgspec.Raw(b"[1,\n2]")),
)


def boxed(part):
    box = np.empty(1, dtype=object)
    box[0] = part
    return box


KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.dates(),
    st.tuples(st.integers(), st.text(st.characters())),
    st.frozensets(st.integers(), max_size=2),
    st.builds(Node, st.just(1)),
    st.builds(np.int64, st.integers(0, 9)),
    st.integers(4990, 5010).map(lambda power: 16**power),
)


@settings(max_examples=300)
@given(
    st.recursive(
        WEIRD,
        lambda inner: st.one_of(
            st.lists(inner),
            st.tuples(inner, inner),
            st.dictionaries(KEYS, inner),
            st.lists(inner).map(deque),
            st.builds(Node, inner, inner),
            st.dictionaries(KEYS, inner).map(types.MappingProxyType),
            inner.map(boxed),
        ),
        max_leaves=10,
    )
)
def test_nothing_fails_to_be_encoded(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        well_formed(encode(value))
        well_formed(values._encode_carefully(value))


FLOATS = st.recursive(
    st.floats() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


def infinite(value):
    """Counts what is not finite by the plainest of walks."""
    if isinstance(value, list | dict):
        return sum(map(infinite, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


@given(FLOATS)
def test_each_number_that_is_not_finite_is_counted(value):
    count = infinite(value)
    one = "1 value that is not finite became null"
    expected = () if not count else (one,) if count == 1 else (f"{count} values that are not finite became null",)
    assert encode(value).notes == expected
    assert values._encode_carefully(value).notes == expected


def test_numbers_that_look_alike_in_memory_are_not_counted():
    # These doubles hold the bytes of a NaN inside their own.
    decoy = struct.unpack(">d", b"\x40\xcb\x7f\xf8\x00\x00\x00\x00")[0]
    other = struct.unpack(">d", b"\x40\xcb\xff\xf1\x23\x00\x00\x00")[0]
    payload = struct.unpack(">d", b"\x7f\xf8\x00\x00\x00\x00\x07\xa2")[0]
    assert encode([decoy, other, None]).notes == ()
    assert encode([None, payload, other]).notes == ("1 value that is not finite became null",)


def test_numbers_in_records_are_counted():
    class Point(msgspec.Struct):
        at: object

    value = {"a": Point(float("nan")), "b": [Node({float("inf")})], "c": (2**70, None), "d": frozenset([None])}
    assert encode(value).notes == ("2 values that are not finite became null",)


def test_plain_values_never_reach_the_hook(monkeypatch):
    calls = []
    monkeypatch.setattr(hooks, "convert", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(values, "Plain", lambda *arguments, **_: calls.append(arguments))
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": (1,)}, 3: Node("n")}
    assert encode(value).data == b'{"a":[1,2.5,"x",null,true],"b":{"c":[1]},"3":{"name":"n","parent":null}}'
    assert calls == []


def test_each_special_value_is_converted_once(monkeypatch):
    calls = []
    convert = hooks.convert
    monkeypatch.setattr(hooks, "convert", lambda value, told: calls.append(value) or convert(value, told))
    encode([np.float64(1), np.arange(3), [deque([4])]])
    assert len(calls) == 3


def test_the_value_is_left_as_it_was():
    value = {"a": deque([1]), ("b", 1): [float("nan")], "c": looped()}
    kept = dict(value)
    encode(value)
    assert value == kept
    assert list(value) == ["a", ("b", 1), "c"]


# -- tangles, depth, size ----------------------------------------------------------------------------------


def test_a_value_that_holds_itself_is_cut():
    loop = {"name": "a"}
    loop["self"] = loop
    encoded = encode(loop)
    assert parsed(encoded) == {"name": "a", "self": {"type": "dict", "size": 2, "circular": True}}


def test_parents_and_children_are_cut():
    root = Node("root")
    root.parent = Node("child", root)
    assert parsed(encode(root)) == {
        "name": "root",
        "parent": {
            "name": "child",
            "parent": {"type": f"{__name__}.Node", "attributes": ["name", "parent"], "circular": True},
        },
    }


def test_a_graph_of_objects_is_written_in_linear_time():
    nodes = [Node(number) for number in range(60)]
    for node in nodes:
        node.parent = [other for other in nodes if other is not node]
    encoded = encode(nodes)
    well_formed(encoded)
    assert len(encoded.data) < 1_000_000


def test_shared_parts_are_written_in_each_place():
    shared = {"a": [1, 2.5]}
    assert parsed(encode([shared, shared, {None: shared}])) == [shared, shared, {"null": shared}]


def test_many_paths_through_shared_parts_come_to_an_end(monkeypatch):
    monkeypatch.setattr(plain, "_MOST_CONTAINERS", 1000)
    part = [{"leaf": list(range(100)), "odd": [None, 1]}]
    for _ in range(300):
        part = [part, part]
    encoded = values._encode_carefully(part)
    well_formed(encoded)
    assert any("written once already" in note for note in encoded.notes)
    assert any("nested too deep" in note for note in encoded.notes)


def test_small_parts_are_repeated_even_in_a_tangle():
    corner = [1.5, None]
    loop = [corner, corner, {"a": corner}]
    loop.append(loop)
    assert parsed(encode(loop))[:3] == [[1.5, None], [1.5, None], {"a": [1.5, None]}]


@pytest.mark.parametrize("kind", ["list", "dict", "tuple", "dataclass", "deque"])
def test_great_depth_is_cut(kind):
    wrap = {
        "list": lambda part: [part],
        "dict": lambda part: {"a": part},
        "tuple": lambda part: (part,),
        "dataclass": Node,
        "deque": lambda part: deque([part]),
    }[kind]
    value = 1
    for _ in range(3000):
        value = wrap(value)
    encoded = encode(value)
    well_formed(encoded)
    assert "nested too deep" in encoded.notes[0]
    while isinstance(value, list | dict | tuple | Node | deque):  # taken apart without recursion
        value = value.name if isinstance(value, Node) else value.popitem()[1] if isinstance(value, dict) else value[0]


@pytest.mark.parametrize(
    "setting",
    ["sys.setrecursionlimit(10**6)", "threading.stack_size(256 * 1024)"],
)
def test_depth_does_not_crash_the_interpreter(setting):
    """Where the stack would end before Python's recursion limit, msgspec alone dies of a segmentation fault."""
    done = run(f"""
        import sys, threading
        from dataclasses import dataclass
        from nxtrack.tracking.values import encode
        @dataclass
        class Node:
            name: object
        loop = []
        loop.append(loop)
        deep = Node(1)
        for _ in range(100_000):
            deep = Node([deep])
        def work():
            for value in (loop, deep, [[[1]]], {{"a": 1.5}}):
                print(len(encode(value).data) < 10_000, flush=True)
        {setting}
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        import os
        os._exit(0)  # freeing what is so deep is Python's own affair
    """)
    assert (done.returncode, done.stdout.split()) == (0, ["True"] * 4), done.stderr


def test_near_the_recursion_limit_something_is_still_written():
    def spare(levels):
        return levels == 0 or spare(levels - 1)

    def down(levels):
        return down(levels - 1) if levels else (spare(50), encode(value))[1]

    value = [[[{"a": [np.float64(1), {None: 2}]}]]] * 2
    written = 0
    with pytest.raises(RecursionError):  # of `spare`: nothing could be done there
        for depth in range(sys.getrecursionlimit()):
            well_formed(down(depth))
            written += 1
    assert written > 500


def test_running_out_of_memory_leaves_a_summary():
    class Vast(deque):
        def __iter__(self):
            raise MemoryError

    for awkward in ({}, {"\ud800": 1}):
        assert encode([awkward, Vast()]).notes[0].startswith(("1 text", "the whole value"))
    encoded = encode([1, Vast()])
    assert encoded == Content(
        b'{"type":"list","size":2}',
        ("the whole value of type list could not be encoded and became a summary of the type",),
    )


def test_what_the_careful_way_cannot_write_becomes_a_summary(monkeypatch):
    class Stuck:
        def __init__(self, *arguments, **options):
            pass

        def convert(self, value):
            raise RecursionError

    monkeypatch.setattr(values, "Plain", Stuck)
    assert parsed(encode({None: "\ud800"})) == {"type": "dict", "size": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_meant_for_the_program_passes(error):
    class Rude(deque):
        def __iter__(self):
            raise error

    with pytest.raises(error):
        encode([Rude()])
    with pytest.raises(error):
        encode(["\ud800", Rude()])


def test_a_panic_is_not_meant_for_the_program():
    encoded = encode([1, Panics([2])])
    assert parsed(encoded) == [1, {"type": f"{__name__}.Panics"}]


def test_a_step_that_leads_nowhere_ends():
    class Endless(dict):
        pass

    first = types.SimpleNamespace()
    value = np.empty((), dtype=object)
    value[()] = value
    well_formed(encode([value, first, Endless()]))


def test_objects_that_resist_are_summaries():
    class Stubborn:
        __getattribute__ = None

    resisting = [Stubborn(), Awkward(), Worse()]
    for value in (resisting, {None: resisting}, *resisting):
        well_formed(encode(value))
    assert parsed(encode([Awkward(), Worse()])) == [{"type": f"{__name__}.Awkward"}, {"type": "unknown"}]
    assert parsed(encode({Worse(): 1, Awkward(): 2})) == {"unknown": 1, f"{__name__}.Awkward": 2}


def test_a_type_with_an_unseemly_name_is_told_on_one_short_line():
    kind = type("A\n\x01" + "b" * 500, (), {})
    encoded = encode([kind(), {None: 1}])
    well_formed(encoded)
    assert "A??bbb" in encoded.notes[0]


def test_notes_are_bounded():
    kinds = [type(f"Kind{number}", (), {})() for number in range(300)]
    encoded = encode(kinds)
    well_formed(encoded)
    assert len(encoded.notes) == 20
    assert encoded.notes[-1] == "281 more alterations of other kinds"
    assert notes.bounded(["a", "a", "b"]) == ("a", "b")


def test_keys_that_become_the_same_text_are_kept_apart():
    encoded = encode({None: 1, "null": 2, "null #2": 3, 1: 4, "1": 5, 1.0 + 0.5: 6, "\ud800": 7})
    assert parsed(encoded) == {"null": 1, "null #2": 2, "null #2 #2": 3, "1": 4, "1 #2": 5, "1.5": 6, "\\ud800": 7}


def test_keys_on_the_careful_way_are_those_of_msgspec():
    value = {1.5: 1, 1e300: 2, 10**20: 3, float("nan"): 4, (1, None): 5, (Plan(1.5), "é"): 6}
    encoded = values._encode_carefully(value)
    assert parsed(encoded) == {
        "1.5": 1,
        "1e300": 2,
        "100000000000000000000": 3,
        "nan": 4,
        "[1,null]": 5,
        '[{"cost":1.5},"é"]': 6,
    }
    assert encode(value).data == encoded.data
    assert parsed(encode({(Worse(), 1): 1})) == {'[{"type":"unknown"},1]': 1}


def test_values_changed_by_another_thread_while_encoding():
    """With a hook, msgspec goes on over lists that may have been changed meanwhile, and reads freed memory."""
    done = run("""
        import sys, threading
        from collections import deque
        from nxtrack.tracking.values import encode
        import numpy as np
        sys.setswitchinterval(1e-6)
        value = {"rows": [[np.float64(i), deque([i])] for i in range(2000)], "lot": deque(range(2000)), "d": {}}
        stop = threading.Event()
        def change():
            while not stop.is_set():
                value["rows"].extend([[np.float64(1)]] * 500)
                del value["rows"][500:]
                value["lot"].append(1)
                value["lot"].popleft()
                value["d"][np.int64(len(value["d"]))] = {None: 1}
                if len(value["d"]) > 500:
                    value["d"].clear()
        other = threading.Thread(target=change)
        other.start()
        for _ in range(30):
            encode(value)
        stop.set()
        other.join()
        print("done")
    """)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_threads_of_the_tracker_do_not_count():
    done = threading.Event()
    mine = threading.Thread(target=done.wait, name="nxtrack-tail")
    mine.start()
    try:
        others = [one for one in threading.enumerate() if one.name != "MainThread" and one is not mine]
        assert values._others_run() is bool(others)
    finally:
        done.set()
        mine.join()


def test_none_of_the_libraries_is_loaded():
    done = run("""
        import sys
        from pathlib import Path
        from nxtrack.tracking.values import Redaction, as_output, encode, redacted
        redacted(encode(as_output({"a": [1, None, float("nan"), Path("x"), object()], (1, 2): 3})), Redaction.of("a"))
        libraries = ("numpy", "pandas", "polars", "pydantic", "attr", "networkx", "nextmv", "requests")
        print([name for name in libraries if name in sys.modules])
    """)
    assert done.stdout == "[]\n", done.stderr


def test_the_libraries_may_be_absent():
    done = run("""
        import sys
        for name in ("numpy", "pandas", "polars", "pydantic", "attr", "attrs", "networkx", "nextmv"):
            sys.modules[name] = None
        from collections import deque
        from nxtrack.tracking.values import encode
        print(encode({"a": deque([1]), "b": object()}).data.decode())
    """)
    assert done.stdout == '{"a":[1],"b":{"type":"object"}}\n', done.stderr


# -- the output rule and nextmv ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Plan:
    cost: float


def test_as_output():
    table = types.MappingProxyType({"a": 1})
    odd = types.MappingProxyType({1: 2})
    given_dict = {1: 2}
    assert as_output(None) is None
    assert as_output(given_dict) is given_dict
    assert as_output(table) is table
    assert as_output(odd) == {"solution": odd}
    assert as_output(Plan(1.5)) == {"solution": Plan(1.5)}
    assert as_output(0) == {"solution": 0}
    assert as_output([]) == {"solution": []}
    assert list(as_output(Worse())) == ["solution"]


def test_a_nextmv_output_is_its_dict():
    output = nextmv.Output(solution={"x": 1}, metrics={"cost": 2.5}, options={"limit": 3})
    expected = {"options": {"limit": 3}, "solution": {"x": 1}, "assets": [], "metrics": {"cost": 2.5}}
    assert as_output(output) == expected
    assert parsed(encode(output)) == expected
    assert parsed(encode({"kept": output})) == {"kept": expected}
    assert parsed(encode([output, looped()]))[0] == expected


def test_a_nextmv_input_is_its_dict():
    given_input = nextmv.Input(data={"stops": [1]})
    expected = {"data": {"stops": [1]}, "input_format": "json", "options": None}
    assert parsed(encode(given_input)) == expected
    assert parsed(encode({"problem": given_input, "limit": 3})) == {"problem": expected, "limit": 3}
    assert as_output(given_input) == {"solution": given_input}


def test_options_that_were_never_read_do_not_parse_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["solve.py", "--not-an-option"])
    options = nextmv.Options(nextmv.Option("time-limit", int, 30))
    assert parsed(encode(options)) == {"time_limit": 30}
    assert parsed(encode(nextmv.Input(data=1, options=options)))["options"] == {"time_limit": 30}
    assert as_output(nextmv.Output(solution=1, options=options))["options"] == {"time_limit": 30}
    assert capsys.readouterr() == ("", "")


def test_options_that_were_read_have_their_values(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["solve.py", "--limit", "7"])
    options = nextmv.Options(nextmv.Option("limit", int, 30))
    assert options.limit == 7
    assert parsed(encode(options)) == {"limit": 7}


def test_a_nextmv_output_of_an_unusual_make_keeps_its_fields():
    output = nextmv.Output(solution={"x": 1})
    output.metrics = ["not", "a", "dict"]
    told = as_output(output)
    assert (told["solution"], told["metrics"]) == ({"x": 1}, ["not", "a", "dict"])


# -- redaction ---------------------------------------------------------------------------------------------

MAIL = re.compile(r"\S+@\S+")


def masked(value, spec):
    encoded = redacted(encode(value), Redaction.of(spec))
    well_formed(encoded)
    return parsed(encoded)


def test_names_are_masked_at_any_depth_whatever_their_case():
    value = {"Token": "t", "deep": [{"TOKEN": {"a": 1}}, ["token", {"tokens": 1}]]}
    assert masked(value, "token") == {"Token": "***", "deep": [{"TOKEN": "***"}, ["token", {"tokens": 1}]]}


def test_patterns_are_masked_in_every_text():
    value = {"a": "mail me@x.org now", "b": [["me@x.org"], 5], "me@x.org": 1, "you@x.org": 2}
    assert masked(value, MAIL) == {"a": "mail *** now", "b": [["***"], 5], "***": 1, "*** #2": 2}
    assert masked("me@x.org", MAIL) == "***"


def test_names_are_found_although_a_pattern_would_mask_them():
    assert masked({"me@x.org": "secret"}, ["me@x.org", MAIL]) == {"me@x.org": "***"}


def test_functions_come_before_names_and_patterns():
    def add(document):
        return {**document, "token": "t", "mail": "me@x.org", "odd": {1}}

    assert masked({"a": 1}, [MAIL, add, "token"]) == {"a": 1, "token": "***", "mail": "***", "odd": [1]}


def test_a_function_that_fails_leaves_nothing_of_the_value():
    def fail(document):
        raise ValueError(document["secret"])

    encoded = redacted(encode({"secret": "hunter2", "x": float("nan")}), Redaction.of(fail))
    assert parsed(encoded) == {"redaction": "failed", "size": 29}
    assert encoded.notes == (
        "1 value that is not finite became null",
        "redaction failed (ValueError), so the whole value was replaced by a summary",
    )


def test_a_function_that_returns_nothing_is_noted():
    encoded = redacted(encode({"a": 1}), Redaction.of(lambda document: None))
    assert encoded == Content(b"null", ("a redacting function returned None, so the value became null",))
    assert redacted(encode(None), Redaction.of(lambda document: None)) == Content(b"null")


def test_a_function_may_end_the_program():
    def stop(document):
        raise SystemExit

    with pytest.raises(SystemExit):
        redacted(encode(1), Redaction.of(stop))


def test_nothing_to_redact_is_false_and_costs_nothing():
    encoded = encode({"a": 1})
    for spec in (None, [], ()):
        assert not Redaction.of(spec).is_set
        assert redacted(encoded, Redaction.of(spec)) is encoded
    assert Redaction.of("a")
    assert Redaction.of([MAIL])
    assert Redaction.of(print)
    assert Redaction.of(Redaction.of("a"))


@pytest.mark.parametrize("spec", [3, "", b"key", {"a": 1}, [None], ["a", 3], [["a"]], re.compile(b"x"), True])
def test_a_wrong_spec_is_refused_at_once(spec):
    with pytest.raises(TypeError, match="redact takes the name of a key"):
        Redaction.of(spec)


def test_text_of_logs_is_masked_by_patterns_only():
    redact = Redaction.of(["token", MAIL, re.compile("[0-9]{4}"), lambda document: None])
    assert redact.text("token of me@x.org is 1234\n") == "token of *** is ***\n"


@given(JSON)
def test_masking_everything_leaves_no_text(value):
    encoded = redacted(encode(value), Redaction.of(re.compile(r"(?s).+")))
    well_formed(encoded)
    # A key, too, may have been text of the user's.
    assert set(re.findall(rb'"([^"]*)"', re.sub(rb" #\d+", b"", encoded.data))) <= {b"***", b""}
