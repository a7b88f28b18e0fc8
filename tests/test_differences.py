"""What differs between two runs."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.differences import between_documents, between_logs, between_mappings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=20,
)


def told(old, new, **more):
    return [(change.sign, change.path, change.old, change.new) for change in between_documents(old, new, **more).found]


def plain(value):
    """A value in which Python and JSON agree about what is equal."""
    if isinstance(value, bool):
        return f"bool {value}"
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({}, {}, []),
        (1, 1.0, []),
        (1, True, [("±", "", "1", "true")]),
        (0, False, [("±", "", "0", "false")]),
        (None, 0, [("±", "", "null", "0")]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, [("±", "a.b[1].c", "2", "3")]),
        ({"a b": 1}, {"": 1}, [("-", '["a b"]', "1", None), ("+", '[""]', None, "1")]),
        ({"a": None}, {}, [("-", "a", "null", None)]),
        ([1, 2, 3], [1, 9, 2, 3], [("+", "[1]", None, "9")]),
        ([1, 2, 3], [2, 3], [("-", "[0]", "1", None)]),
        ([1, 2], [], [("-", "[0]", "1", None), ("-", "[1]", "2", None)]),
        ([True], [1], [("±", "[0]", "true", "1")]),
        ({"a": [1]}, {"a": {"b": 1}}, [("±", "a", "[1]", '{"b":1}')]),
    ],
)
def test_documents(old, new, changes):
    assert told(old, new) == changes


def test_long_values_and_many_changes_are_cut():
    assert told("x" * 100, "y", longest=10) == [("±", "", '"xxxxxxxxx…', '"y"')]
    many = between_documents(list(range(1000)), list(range(1, 2000, 2)), most=50)
    assert (len(many.found), many.cut) == (50, True)
    assert not between_documents([1], [2]).cut


@given(JSON)
def test_a_document_equals_itself(value):
    assert told(value, value) == []


@given(JSON, JSON)
def test_documents_differ_both_ways_alike(old, new):
    """Whatever one has more, the other has less, at the same places; and there are places if they differ."""
    forth, back = told(old, new, most=1000), told(new, old, most=1000)
    turned = {"+": "-", "-": "+", "±": "±"}
    assert sorted((turned[sign], path, after, before) for sign, path, before, after in forth) == sorted(
        back, key=repr
    ) or ({(turned[sign], path, after, before) for sign, path, before, after in forth} == set(back))
    assert bool(forth) == (plain(old) != plain(new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([[0]] * 50_000, [[1]] * 50_000),
        ({str(number): number for number in range(50_000)}, {str(number): number for number in range(50_000, 100_000)}),
        (list(range(300_000)), list(range(300_000))),
    ],
    ids=range(3),
)
def test_large_documents_take_bounded_time(old, new):
    began = time.process_time()
    assert len(between_documents(old, new).found) <= 200
    assert time.process_time() - began < 20


def test_deep_documents_are_compared():
    def deep(leaf, depth=900):
        for _ in range(depth):
            leaf = [leaf]
        return leaf

    ((sign, path, _, _),) = told(deep(1), deep(2))
    assert (sign, path) == ("±", "[0]" * 64)
    assert told(deep(1), deep(1)) == []


def test_mappings():
    old = {"cost": 200, "gap": 0.0, "gone": 1, "same": "x", "text": "a", "flag": True, "list": [1]}
    new = {"cost": 150, "gap": 0.5, "same": "x", "text": "b", "flag": 1, "list": [2], "more": None}
    rows = {row.name: row for row in between_mappings(old, new)}
    assert list(rows) == ["cost", "gap", "gone", "same", "text", "flag", "list", "more"]
    assert "".join(row.sign for row in rows.values()) == "±±-=±±±+"
    assert (rows["cost"].change, rows["cost"].share) == (-50, -0.25)
    assert (rows["gap"].change, rows["gap"].share) == (0.5, None)
    assert {rows[name].change for name in ("gone", "same", "text", "flag", "list", "more")} == {None}


@pytest.mark.parametrize(
    ("old", "new"), [(-1e308, 1e308), (1, 10**400), (5e-324, 1e308), (10**400, 10**400 + 1), (-4.0, -2.0)]
)
def test_changes_of_extreme_numbers_are_finite_or_none(old, new):
    (row,) = between_mappings({"a": old}, {"a": new})
    assert row.change is None or abs(row.change) < float("inf")
    assert row.share is None or abs(row.share) < float("inf")
    if old == -4.0:
        assert (row.change, row.share) == (2.0, 0.5)


def test_logs():
    old = [f"line {number}" for number in range(20)]
    new = [*old[:10], "more", *old[11:]]
    found, cut = between_logs(old, new)
    assert not cut
    assert [(line.sign, line.text) for line in found] == [
        ("@", "line 8 and line 8"),
        *((" ", f"line {number}") for number in range(7, 10)),
        ("-", "line 10"),
        ("+", "more"),
        *((" ", f"line {number}") for number in range(11, 14)),
    ]
    assert between_logs(old, old) == ([], False)
    assert between_logs([], []) == ([], False)
    assert [(line.sign, line.text) for line in between_logs([], ["a"])[0]] == [("+", "a")]


def test_differences_far_down_are_found():
    old = [f"line {number}" for number in range(5_000)]
    found, cut = between_logs(old, [*old[:4_900], "new", *old[4_901:]])
    assert ("+", "new") in [(line.sign, line.text) for line in found]
    assert not cut


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_logs_are_told_whole(old, new):
    """Short logs lie within the context around what differs, but for what is the same at both ends."""
    found, cut = between_logs(old, new)
    assert not cut
    assert bool(found) == (old != new)
    removed = [line.text for line in found if line.sign == "-"]
    added = [line.text for line in found if line.sign == "+"]
    assert len(old) - len(removed) == len(new) - len(added)


@pytest.mark.parametrize("alphabet", [2, 100, 100_000])
def test_unlike_logs_take_bounded_time(alphabet):
    began = time.process_time()
    found, cut = between_logs(
        [str(number * 7919 % alphabet) for number in range(20_000)],
        [str(number * 104_729 % alphabet) for number in range(1, 20_001)],
    )
    assert cut
    assert 0 < len(found) < 3_000
    assert time.process_time() - began < 20


def test_numbers_within_a_tolerance_are_the_same():
    old = {"cost": 100.0, "gap": 0.0, "stops": [1.0, {"x": 2.0}], "flag": True, "text": "1.0"}
    new = {"cost": 100.00001, "gap": 1e-7, "stops": [1.0000001, {"x": 2.0000001}], "flag": 1, "text": "1.00001"}
    assert [path for _, path, _, _ in told(old, new)] == ["cost", "gap", "stops[0]", "stops[1].x", "flag", "text"]
    assert [path for _, path, _, _ in told(old, new, tolerance=1e-6)] == ["flag", "text"]
    assert told([1.0, 2.0], [1.0 + 1e-9, 5.0, 2.0 + 1e-9], tolerance=1e-6) == [("+", "[1]", None, "5.0")]
    assert told(10**400, 10**400 + 1, tolerance=1.0) != []


def test_deep_documents_within_a_tolerance_take_bounded_time():
    def deep(leaf):
        for _ in range(60):
            leaf = [leaf]
        return leaf

    assert told(deep(1.0), deep(1.0 + 1e-9), tolerance=1e-6) == []


def test_ignored_places_and_what_is_inside_of_them():
    old = {"statistics": {"run": {"duration": 1.0, "more": {"cpu": 1}}, "value": 1}, "stops": [{"at": 1}, {"at": 2}]}
    new = {"statistics": {"run": {"duration": 2.0, "more": {"cpu": 2}}, "value": 2}, "stops": [{"at": 3}, {"at": 4}]}
    found = told(old, new, ignored=["statistics.run", "stops[1].at", "nowhere"])
    assert [path for _, path, _, _ in found] == ["statistics.value", "stops[0].at"]
