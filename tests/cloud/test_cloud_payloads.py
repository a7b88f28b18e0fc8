"""What a source becomes: laws over any value, and the odd ones."""

from __future__ import annotations

import dataclasses
import enum
import io
import json
import os
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nxtrack.cloud.messages import ContentFormat, RunConfiguration, RunFormat
from nxtrack.cloud.payloads import inline_json, payload_of
from nxtrack.errors import Rejected, TooLarge

numbers = st.floats() | st.integers() | st.booleans() | st.none()
values = st.recursive(
    numbers | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
).filter(lambda value: value is not None and not isinstance(value, str))


def bytes_of(source, limit=10**6):
    with payload_of(source, limit=limit, what="The input") as payload:
        data = payload.read()
        assert payload.size == len(data)
        assert payload.read() == data  # each time from the beginning
        return data, payload.form


def of_format(name):
    return RunConfiguration(format=RunFormat(input=ContentFormat(type=name)))


@given(values)
@example({"a": [None, {"b": float("nan")}]})
@example([None, (1, float("inf"))])
def test_a_value_goes_up_as_it_is_or_not_at_all(value):
    try:
        expected = json.loads(json.dumps(value, allow_nan=False))
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        with pytest.raises(Rejected, match=r"cannot be written as JSON \(.*\), so it was not sent\."):
            bytes_of(value)
    else:
        data, form = bytes_of(value)
        assert (json.loads(data), form) == (expected, "json")


@given(st.binary(max_size=50), st.integers(0, 60))
def test_every_kind_of_file_gives_the_same_bytes(data, limit):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "input")
        path.write_bytes(data)
        read, write = os.pipe()
        os.write(write, data)
        os.close(write)
        with open(read, "rb") as pipe, path.open("rb") as file:
            for source in (path, data, bytearray(data), memoryview(data), io.BytesIO(data), file, pipe):
                if len(data) > limit:
                    with pytest.raises(TooLarge) as caught:
                        bytes_of(source, limit)
                    assert caught.value.limit == limit < caught.value.size <= len(data)
                else:
                    assert bytes_of(source, limit) == (data, "json")


@given(st.text(), st.integers(0, 50))
def test_a_text_stands_in_a_request_as_a_string_or_is_uploaded(text, limit):
    try:
        data = text.encode()
    except UnicodeEncodeError:
        with pytest.raises(Rejected, match="UTF-8"):
            bytes_of(text)
        return
    assert bytes_of(text) == (data, "text")
    with payload_of(text, limit=10**6, what="The input") as payload:
        inline = inline_json(payload, of_format("text"), limit=limit)
    as_json = msgspec.json.encode(text)
    assert (inline is None) == (len(as_json) > limit)
    assert inline is None or json.loads(bytes(inline)) == text


@given(st.binary(max_size=30))
@example(b'{"a": 1}\n')
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
def test_only_json_stands_in_a_request_as_json(data):
    with payload_of(data, limit=10**6, what="The input") as payload:
        try:
            json.loads(data.decode(), parse_constant=lambda _: 1 / 0)
        except (ValueError, ZeroDivisionError, RecursionError):
            with pytest.raises(Rejected, match="no JSON"):
                inline_json(payload, of_format("json"), limit=10**6)
        else:
            assert bytes(inline_json(payload, of_format("json"), limit=10**6)) == data.strip()
        assert inline_json(payload, of_format("multi-file"), limit=10**6) is None


def test_bytes_that_are_no_text_are_uploaded():
    with payload_of(b"\xff", limit=9, what="The input") as payload:
        assert inline_json(payload, of_format("text"), limit=9) is None


def test_values_of_other_kinds():
    @dataclasses.dataclass
    class Plan:
        stops: list[int]
        gap: float

    assert bytes_of(Plan([1, 2], 0.5))[0] == b'{"stops":[1,2],"gap":0.5}'
    with pytest.raises(Rejected, match="NaN"):
        bytes_of({"plan": Plan([1], float("nan"))})
    assert json.loads(bytes_of({"big": 2**70})[0]) == {"big": 2**70}
    with pytest.raises(Rejected, match="complex"):
        bytes_of({"a": 1j})


class Kind(enum.IntEnum):
    TRUCK = 3


class Metres(float):
    """What measures are in many a model."""


def test_what_is_a_number_for_python_is_one_in_json():
    assert bytes_of({"kind": Kind.TRUCK, "length": Metres(1.5)})[0] == b'{"kind":3,"length":1.5}'
    with pytest.raises(Rejected, match="NaN"):
        bytes_of({"length": Metres("nan")})


def test_what_numpy_makes_is_plain_json():
    np = pytest.importorskip("numpy")
    assert bytes_of({"a": np.arange(3), "b": np.float64(0.5), "c": np.bool_(1)})[0] == b'{"a":[0,1,2],"b":0.5,"c":true}'
    with pytest.raises(Rejected, match="NaN"):
        bytes_of({"a": np.array([1.0, np.nan])})


def test_a_folder_becomes_an_archive_of_the_same_bytes_each_time(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.csv").write_text("1,2\n")
    first, form = bytes_of(tmp_path)
    assert form == "multi-file"
    assert first == bytes_of(tmp_path)[0]
    assert first[:2] == b"\x1f\x8b"
