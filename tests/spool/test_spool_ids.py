"""Run ids: unique, sorted by time, told from anything else."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nxtrack.spool import ids

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
texts = st.tuples(st.sampled_from("0123456"), st.text(ALPHABET, min_size=25, max_size=25)).map("".join)


def test_ids_sort_by_the_time_they_were_made():
    made = []
    for _ in range(200):
        made.append(ids.new_id())
        before = time.time_ns()
        while time.time_ns() == before:
            pass
    assert made == sorted(made)


def test_ids_are_unique_among_threads():
    made = []

    def make():
        made.extend([ids.new_id() for _ in range(5_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 20_000
    assert all(map(ids.is_id, made))


def test_a_forked_process_does_not_repeat_its_parents_ids():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.new_id().encode())
        os._exit(0)
    ours = ids.new_id()
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert ids.is_id(theirs)
    assert theirs[16:] != ours[16:]


def test_an_id_tells_when_it_was_made():
    before = datetime.now(UTC) - timedelta(milliseconds=2)
    assert before <= ids.time_of(ids.new_id()) <= datetime.now(UTC)


@given(st.text(ALPHABET, min_size=26, max_size=26) | texts)
def test_every_id_has_a_time(text):
    if ids.is_id(text):
        assert ids.time_of(text).tzinfo is UTC


@given(st.lists(texts, min_size=2, max_size=5))
def test_times_sort_as_ids_do(several):
    times = [ids.time_of(text) for text in sorted(several)]
    assert times == sorted(times)


@given(st.text(max_size=30))
def test_what_is_no_id_is_told(text):
    assert ids.is_id(text) == (len(text) == 26 and set(text) <= set(ALPHABET) and text[0] in "0123456")


def test_a_newline_at_the_end_makes_it_no_id():
    assert not ids.is_id(ids.new_id() + "\n")
    assert not ids.is_id(ids.new_id().lower())
