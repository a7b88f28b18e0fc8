"""What a log becomes for people: the same however it is read, in time and memory that its size bounds."""

import io
import re
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.spool import logtext
from nxtrack.spool.logtext import Part, readable

PIECES = st.sampled_from(
    [
        *(b"a", b"text ", b"\n", b"\r", b"\r\n", b"\r\r", b"\x1b[31m", b"\x1b", b"\x1b]0;title\x07", b"\x1b(B"),
        *("ü".encode(), "€".encode(), "𝄞".encode(), b"\xff", b"\xe2\x82", b"\xf0\x9d", b"\0", b"\xed\xa0\x80"),
        *(b"Set parameter LicenseID to value 2443533", b"LicenseID", b" 123456", b"registered to jo@example.edu"),
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map(b"".join)


@contextmanager
def chunks_of(size):
    before, logtext._CHUNK = logtext._CHUNK, size
    try:
        yield
    finally:
        logtext._CHUNK = before


def read(data, *, plain=False, chunk=1 << 16, parts=None):
    with chunks_of(chunk):
        return b"".join(readable(io.BytesIO(data), parts or (Part(0, len(data)),), plain=plain))


@given(data=TEXTS, plain=st.booleans(), chunk=st.integers(1, 17))
def test_where_a_log_is_divided_as_it_is_read_makes_no_difference(data, plain, chunk):
    whole = read(data, plain=plain)
    assert read(data, plain=plain, chunk=chunk) == whole
    whole.decode()
    assert b"2443533" not in whole
    assert b"jo@" not in whole
    assert not plain or b"\x1b" not in whole


@given(data=TEXTS, cut=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_a_log_that_was_cut_anywhere_is_text_and_tells(data, cut):
    begin, end = sorted(min(place, len(data)) for place in cut)
    parts = (Part(0, begin, end - begin), Part(end, len(data)))
    text = read(data, parts=parts)
    text.decode()
    assert (b"left out here: %d]\n" % (end - begin) in text) == (end > begin)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m\n", b"red\n"),
        (b"\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\\n", b"link\n"),
        (b"\x1b]0;never ended\nnext\x07\n", b"0;never ended\nnext\x07\n"),
        (b"\x1b(B\x1b[m\x1b7\x1b8\x1b=\x1bcsgr0\n", b"sgr0\n"),
        (b"\x1b[2K\r\x1b[?25h50%\r\x1b[2K100%\n", b"100%\n"),
        (b"\x1bPq#0;2;0\x1b\\picture\n", b"picture\n"),
        (b"ends\n\x1b[0m", b"ends\n"),
    ],
)
def test_escape_sequences_are_left_out(written, shown):
    assert read(written, plain=True) == shown


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "unit",
    [b"x", b"\r", b"\x1b]", b"\x1b[0;", b"50%\r", b"registered to", b"Set parameter LicenseID to value ", b"\xff"],
)
def test_a_line_without_end_takes_time_in_proportion(unit, plain):
    def seconds(size):
        file = io.BytesIO(unit * (size // len(unit)))
        began = time.process_time()
        for _ in readable(file, (Part(0, size),), plain=plain):
            pass
        return time.process_time() - began

    short = min(seconds(1 << 20) for _ in range(2))
    assert seconds(1 << 22) < 12 * short + 0.2


@pytest.mark.parametrize("before", [0, 1, 20, 30, 45, 4090, 4100])
def test_a_licence_in_a_line_without_end_is_masked_wherever_that_is_divided(before):
    filler = b"y" * ((1 << 20) + (1 << 16) - 4096 - before)
    text = read(filler + b" Set parameter LicenseID to value 2443533 " + b"z" * (1 << 21))
    assert b"LicenseID to value *** z" in text
    assert re.fullmatch(rb"y+ Set parameter LicenseID to value \*\*\* z+", text)


def test_progress_in_a_line_without_end_is_shown_as_it_stood_last():
    text = b"".join(b"\r%6d of the nodes" % number for number in range(200_000))
    assert read(text + b"\ndone\n") == b"199999 of the nodes\ndone\n"
