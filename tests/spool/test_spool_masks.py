"""What is masked in the log of a run that did not end: by its recovery, and for whoever looks at it before."""

import json
import os
import re
import threading

import pytest

from nxtrack.spool import masks
from nxtrack.spool.recovery import recover
from nxtrack.spool.store import Entry

TEXT = b"a key-hidden\nodd \xff key-unseen"
MASKED = b"a ***\nodd \\xff ***\n[nxtrack: bytes that are no UTF-8, shown as \\xNN: 1]\n"
KEYS = re.compile("KEY-[a-z]+", re.IGNORECASE)
LEFT_OUT = (
    b"[nxtrack: the log is left out: functions of redact mask it as its run ends, and no other process has them]\n"
)


@pytest.fixture
def died(store, begin):
    """Makes a run whose process died, and whose log was not masked; gives its id."""

    def make(*patterns, text=TEXT):
        run = begin()
        masks.keep(store.paths, run.run_id, patterns)
        run.log(text)
        run.close()
        return run.run_id

    return make


@pytest.fixture
def logs(store):
    """Reads a run's log before its recovery and after it, which has to be the same."""

    def read(run_id):
        texts = []
        for entry in (Entry(run_id, "ready", died=True), Entry(run_id, "ready")):
            source = store.artefact(store.read(entry), "logs")
            texts.append(None if source is None else source.read())
            assert source is None or source.size == len(texts[-1])
            if entry.died:
                assert recover(store).problems == []
        assert not os.path.lexists(sidecar(store, run_id))
        assert texts[0] == texts[1]
        return texts[0]

    return read


def sidecar(store, run_id):
    return store.paths.payload(f"{run_id}.masks")


def test_patterns_are_masked_before_recovery_and_after_it(died, logs, store):
    run_id = died(KEYS)
    assert logs(run_id) == MASKED
    with open(store.paths.log(run_id), "rb") as file:
        assert b"key-" not in file.read()


@pytest.mark.parametrize("patterns", [(None,), (KEYS, None)])
def test_what_only_functions_could_mask_is_left_out(died, logs, store, patterns):
    run_id = died(*patterns)
    assert logs(run_id) == LEFT_OUT
    with open(store.paths.log(run_id), "rb") as file:
        assert file.read() == LEFT_OUT


def test_what_an_older_version_left_is_read(died, logs, store):
    run_id = died(None)
    with open(sidecar(store, run_id), "w") as file:
        json.dump([{"pattern": "key-[a-z]+", "flags": 32}], file)
    assert logs(run_id) == MASKED


def test_an_older_version_cannot_take_functions_for_nothing(died, store):
    run_id = died(None)
    with open(sidecar(store, run_id)) as file:
        (found,) = json.load(file)
    assert found["pattern"] is None  # where it wants text, without which it withholds the log


@pytest.mark.parametrize("content", ["", "5", '[{"pattern": "(", "flags": 0}]', '[{"flags": 0}]', "[" * 5000])
def test_a_log_is_withheld_when_what_is_to_be_masked_cannot_be_read(died, logs, store, content):
    run_id = died(KEYS)
    with open(sidecar(store, run_id), "w") as file:
        file.write(content)
    assert logs(run_id).startswith(b"[nxtrack: the log is withheld")


@pytest.mark.parametrize("patterns", [(KEYS,), (None,)])
def test_an_empty_log_is_none(died, logs, patterns):
    assert logs(died(*patterns, text=b"")) is None


def test_a_run_that_goes_on_is_masked_for_who_looks_at_it(store, begin):
    run = begin()
    masks.keep(store.paths, run.run_id, [KEYS])
    run.log(TEXT)
    assert store.artefact(store.read(Entry(run.run_id, "active")), "logs").read() == MASKED
    masks.drop(store.paths, run.run_id)
    masks.keep(store.paths, run.run_id, [KEYS, None])
    assert store.artefact(store.read(Entry(run.run_id, "active")), "logs").read() == LEFT_OUT
    run.close()


def test_a_log_that_was_masked_when_its_run_ended_is_whole(store, begin, ended):
    run = begin()
    masks.keep(store.paths, run.run_id, [None])
    run.log(b"one\ntwo\n")
    run.rewrite_log(bytes.upper)
    run.log(b"three\n")
    assert not os.path.lexists(sidecar(store, run.run_id))
    run.finish(ended)
    assert store.artefact(store.read(Entry(run.run_id, "ready")), "logs").read() == b"ONE\nTWO\nthree\n"


def test_no_lock_is_held_while_a_log_is_changed(store, begin, ended):
    run = begin()
    run.log(b"one\n")

    def change(data):
        thread = threading.Thread(target=run.log, args=(b"of a thread\n",))
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        return data.upper()

    run.rewrite_log(change)
    run.finish(ended)
    found = store.artefact(store.read(Entry(run.run_id, "ready")), "logs").read()
    assert sorted(found.splitlines()) == [b"ONE", b"of a thread"]


def test_what_could_not_be_changed_is_gone(store, begin, ended):
    run = begin()
    run.log(b"x" * 65530 + b"\nsecret\n")
    given = []

    def change(data):
        given.append(len(data))
        if len(given) == 2:
            raise ValueError
        return data.upper()

    with pytest.raises(ValueError):
        run.rewrite_log(change)
    run.log(b"after\n")
    run.finish(ended)
    found = store.artefact(store.read(Entry(run.run_id, "ready")), "logs").read()
    assert found == b"X" * 65530 + b"\nafter\n"


def test_a_child_that_is_forked_meanwhile_leaves_it_to_its_parent(store, run_program):
    out = run_program("""
        from nxtrack.spool import masks
        run = begin(store)
        masks.keep(store.paths, run.run_id, [None])
        run.log(b"one\\n")
        def change(data):
            child = os.fork()
            if child:
                os.waitpid(child, 0)
                say(os.path.exists(store.paths.payload(f"{run.run_id}.masks")))
            return data.upper()
        parent = os.getpid()
        run.rewrite_log(change)
        if os.getpid() != parent:
            os._exit(0)
        run.finish(End(status="succeeded", at=now(), duration_ms=5))
        say(store.artefact(store.read(store.find(run.run_id)), "logs").read())
    """)
    assert out.split() == ["True", "b'ONE\\n'"]
