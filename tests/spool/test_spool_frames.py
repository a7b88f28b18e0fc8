"""Frames: what was written is read again, and whatever became of it since is told, never raised."""

import sys
import zlib
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.spool import frames
from nxtrack.spool.frames import Frames
from nxtrack.spool.records import (
    Absent,
    Asset,
    End,
    Input,
    Metric,
    Moment,
    Output,
    Owner,
    Payload,
    Posted,
    Posting,
    Rejected,
    Retried,
    Start,
    Unsent,
    Update,
    Uploaded,
)

words = st.text(max_size=12)
times = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001  (the strategy adds the zone)
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))]),
)
maybe = st.none() | words
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(words, parts, max_size=3),
    max_leaves=6,
)
raws = plain.map(lambda value: msgspec.Raw(msgspec.json.encode(value)))
sizes = st.integers(0, 2**60)
options = st.dictionaries(words, words, max_size=3)
notes = st.lists(words, max_size=3).map(tuple)
owners = st.builds(Owner, pid=sizes, started=sizes, boot=words, pidns=sizes, host=words)
moments = st.builds(Moment, at=times, boot=words, monotonic=st.floats(0, 1e12))
payload = {"data": raws | st.just(msgspec.UNSET), "file": maybe, "size": sizes, "crc": sizes, "notes": notes}
records = st.one_of(
    st.builds(
        Start,
        id=words,
        at=times,
        owner=owners,
        v=sizes,
        source=words,
        app_id=maybe,
        instance_id=maybe,
        name=maybe,
        description=maybe,
        options=options,
        batch_experiment_id=maybe,
    ),
    st.builds(Update, name=maybe, description=maybe, options=st.none() | options),
    st.builds(Input, **payload),
    st.builds(Output, **payload),
    st.builds(Metric, name=words, value=numbers | words | st.booleans() | st.none(), step=st.none() | numbers),
    st.builds(Asset, data=raws),
    st.builds(
        End,
        status=st.sampled_from(["succeeded", "failed"]),
        at=times,
        duration_ms=sizes,
        error=maybe,
        recovered=st.booleans(),
        notes=notes,
    ),
    st.builds(
        Uploaded,
        artefact=st.sampled_from(["input", "output", "logs"]),
        upload_id=words,
        place=words,
        moment=moments,
    ),
    st.builds(Posting, place=words, moment=moments),
    st.just(Unsent()),
    st.just(Absent()),
    st.builds(Posted, run_id=words, app_id=words, place=words, at=times),
    st.builds(Rejected, error=words, at=times),
    st.builds(Retried, at=times),
)


@given(st.lists(records, max_size=6))
def test_what_was_written_is_read_again(written):
    content, checksum = frames.encode(written)
    found = frames.decode(content)
    assert found == Frames(written, len(content), damaged=False, checksum=checksum)
    assert [type(record) for record in found.records] == [type(record) for record in written]


@given(records)
def test_a_frame_is_one_line_with_its_checksum(record):
    frame, _ = frames.encode([record])
    assert frame.endswith(b"\n")
    assert frame.count(b"\n") == 1
    checksum, _, body = frame[:-1].partition(b" ")
    assert int(checksum, 16) == zlib.crc32(body)
    assert "t" in msgspec.json.decode(body)


LARGE = b'"' + b"x" * 20_000 + b'"'


@pytest.mark.parametrize("notes", [(), ('"data":0',), ("a", "\udcff")])
@pytest.mark.parametrize("kind", [Input, Output])
def test_a_large_payload_stands_in_a_frame_as_a_small_one_does(kind, notes):
    """It is written in pieces, so that it is not copied, and nothing tells that from the file."""
    parts, checksum = frames.pieces([Metric(name="m", value=1), kind(data=msgspec.Raw(LARGE), notes=notes)])
    assert any(isinstance(part, memoryview) and part.obj is not None and len(part) == len(LARGE) for part in parts)
    content = b"".join(parts)
    small, _ = frames.encode([Metric(name="m", value=1), kind(data=msgspec.Raw(b"7"), notes=notes)])
    assert [line[9:] for line in content.splitlines()] == [
        line[9:].replace(b'"data":7', b'"data":' + LARGE) for line in small.splitlines()
    ]
    found = frames.decode(content)
    assert (found.damaged, found.sound, found.checksum) == (False, len(content), checksum)
    payload = found.records[1]
    assert isinstance(payload, kind)
    assert bytes(payload.data) == LARGE


SOME = [
    Start(id="x", at=datetime(2026, 1, 2, tzinfo=UTC), owner=Owner(pid=1)),
    Input(data=msgspec.Raw(b'{"a":[1,2]}')),
    Metric(name="gap", value=0.5),
    End(status="succeeded", at=datetime(2026, 1, 2, tzinfo=UTC), duration_ms=1),
]
CONTENT, CHECKSUM = frames.encode(SOME)


def test_every_truncation_is_a_torn_tail_and_no_damage():
    for length in range(len(CONTENT) + 1):
        found = frames.decode(CONTENT[:length])
        whole = CONTENT[:length].count(b"\n")
        assert found.records == SOME[:whole]
        assert found.sound == CONTENT.rfind(b"\n", 0, length) + 1
        # Whole but for its newline it was not torn: what it announced may have been done.
        assert found.damaged == (CONTENT[length : length + 1] == b"\n")


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_every_flipped_byte_is_damage(mask):
    for position in range(len(CONTENT) - 1):
        changed = bytearray(CONTENT)
        changed[position] ^= mask
        found = frames.decode(bytes(changed))
        assert found.damaged, position
        # What stands before it is known to be sound.
        assert found.records == SOME[: CONTENT[:position].count(b"\n")]


def test_frames_that_are_missing_or_doubled_or_swapped_are_damage():
    lines = CONTENT.splitlines(keepends=True)
    for position in range(len(lines) - 1):
        assert frames.decode(b"".join(lines[:position] + lines[position + 1 :])).damaged
        assert frames.decode(b"".join([*lines[:position], lines[position + 1], lines[position]])).damaged
    for position in range(len(lines)):
        assert frames.decode(b"".join([*lines[: position + 1], *lines[position:]])).damaged


def test_a_frame_of_another_file_is_damage():
    other, _ = frames.encode([SOME[0], Input(data=msgspec.Raw(b"{}")), *SOME[2:]])
    assert not frames.decode(other).damaged
    lines, others = CONTENT.splitlines(keepends=True), other.splitlines(keepends=True)
    assert frames.decode(b"".join([*lines[:2], *others[2:]])).damaged


def test_frames_are_appended_to_what_stands():
    first, checksum = frames.encode(SOME[:2])
    more, checksum = frames.encode(SOME[2:], checksum)
    assert (first + more, checksum) == (CONTENT, CHECKSUM)


def test_a_changed_last_newline_is_damage():
    """It hides the last frame, which may say that the run is being posted."""
    found = frames.decode(CONTENT[:-1] + b"\x0b")
    assert found.records == SOME[:-1]
    assert found.damaged


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_raising(content):
    found = frames.decode(content)
    assert found.records == []
    assert found.damaged == (b"\n" in content)


@given(st.binary(max_size=60))
def test_a_sound_checksum_over_what_is_not_known_is_of_a_newer_version(body):
    line = b"%08x %b\n" % (zlib.crc32(body, CHECKSUM), body)
    found = frames.decode(CONTENT + line)
    assert found.records == SOME
    assert found.newer != (b"\n" in body)  # a newline would make two lines of it, and damage
    assert found.damaged == (b"\n" in body)


def test_a_record_nested_too_deep_to_read_is_told():
    body = b'{"t":"asset","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert frames.decode(b"%08x %b\n" % (zlib.crc32(body), body)).damaged


BYTES = "file \udcff\ud800.csv"
SHOWN = "file \\udcff\\ud800.csv"


@pytest.mark.parametrize(
    ("record", "read"),
    [
        (
            End(status="failed", at=SOME[3].at, duration_ms=1, error=BYTES, notes=("a", BYTES)),
            End(status="failed", at=SOME[3].at, duration_ms=1, error=SHOWN, notes=("a", SHOWN)),
        ),
        (
            Start(id="x", at=SOME[0].at, owner=Owner(pid=1, host=BYTES), options={BYTES: BYTES}, name=BYTES),
            Start(id="x", at=SOME[0].at, owner=Owner(pid=1, host=SHOWN), options={SHOWN: SHOWN}, name=SHOWN),
        ),
        (Metric(name=BYTES, value=1), Metric(name=SHOWN, value=1)),
        (Output(data=msgspec.Raw(b'{"a":1}'), notes=(BYTES,)), Output(data=msgspec.Raw(b'{"a":1}'), notes=(SHOWN,))),
    ],
)
def test_text_that_is_no_unicode_is_written_escaped(record, read):
    """The name of a file of unusual bytes, in an error message, must not lose the run's end."""
    content, checksum = frames.encode([record])
    assert content == frames.encode([read])[0]
    assert frames.decode(content) == Frames([read], len(content), damaged=False, checksum=checksum)


def test_payloads_are_one_kind():
    assert issubclass(Input, Payload)
    assert issubclass(Output, Payload)


def test_what_is_nested_as_deep_as_python_allows_is_read_from_a_deeper_stack():
    deep = msgspec.Raw(b"[" * 990 + b"]" * 990)
    frame, _ = frames.encode([Input(data=deep)])

    def read(levels):
        return frames.decode(frame) if not levels else read(levels - 1)

    found = read(300)
    assert not found.damaged
    assert bytes(found.records[0].data) == bytes(deep)
    limit = sys.getrecursionlimit()
    assert frames.decode(frames.encode([Input(data=msgspec.Raw(b"[" * 60_000 + b"]" * 60_000))])[0]).damaged
    assert sys.getrecursionlimit() == limit
