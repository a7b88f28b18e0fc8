"""The bytes to upload: those that were given, or none at all."""

import os
from pathlib import Path

import msgspec
import pytest

from nxtrack.errors import RunCorrupt
from nxtrack.spool import claims, recovery
from nxtrack.spool.artefacts import Source
from nxtrack.spool.records import Asset, Input, Metric, Output
from nxtrack.spool.writer import Content

BIG = b'"' + b"x" * 300_000 + b'"'


@pytest.fixture
def claimed(store, ready):
    claim = claims.claim(store, ready(BIG, BIG), "ready")
    yield claim
    claim.release()


def test_large_and_small_payloads_are_what_was_given(claimed, store, ready):
    assert claimed.artefact("input").read() == BIG
    assert claimed.artefact("output").size == len(BIG)
    small = claims.claim(store, ready(), "ready")
    assert small.artefact("input").read() == b'{"n":1}'
    assert small.artefact("output").size == len(b'{"x":2}')
    assert small.artefact("logs") is None
    small.release()


def test_a_run_may_have_no_artefacts(store, begin, ended):
    run = begin(None)
    run.log(b"")
    run.finish(ended)
    claim = claims.claim(store, run.run_id, "ready")
    assert [claim.artefact(kind) for kind in ("input", "output", "logs")] == [None] * 3
    claim.release()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b" ", lambda data: b"y" + data[1:]])
def test_a_changed_payload_is_told(claimed, store, change):
    path = Path(store.paths.payload(f"{claimed.run_id}.0.json"))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RunCorrupt, match=r"0\.json does not match its checksum"):
        claimed.artefact("input")
    assert claimed.artefact("output").read() == BIG


def test_a_lost_payload_is_told(claimed, store):
    os.unlink(store.paths.payload(f"{claimed.run_id}.0.json"))
    with pytest.raises(RunCorrupt, match=r"0\.json is gone from the spool"):
        claimed.artefact("input")


def test_a_payload_that_became_a_link_is_not_followed(claimed, store, tmp_path):
    path = store.paths.payload(f"{claimed.run_id}.0.json")
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(RunCorrupt):
        claimed.artefact("input")


@pytest.mark.parametrize("name", ["../lost", "/etc/passwd", "0" * 26 + ".0.json", "..", ""])
def test_a_payload_that_is_not_the_runs_own_is_refused(claimed, name):
    claimed.run.input = Input(file=name, size=1, crc=1)
    with pytest.raises(RunCorrupt, match="not its own"):
        claimed.artefact("input")


def test_a_payload_without_bytes_is_damage(claimed):
    claimed.run.input = Input()
    with pytest.raises(RunCorrupt, match="a payload is missing"):
        claimed.artefact("input")


def test_a_run_that_never_returned_gives_what_it_had_logged(store, begin, ended):
    run = begin()
    run.append(Metric(name="gap", value=0.5), Metric(name="gap", value=0.1), Metric(name="n", value=None))
    run.append(Asset(data=msgspec.Raw(b'{"name":"a"}')))
    run.finish(ended)
    claim = claims.claim(store, run.run_id, "ready")
    found = msgspec.json.decode(claim.artefact("output").read())
    assert found == {"metrics": {"gap": 0.1, "n": None}, "assets": [{"name": "a"}]}
    claim.release()


def test_an_output_wins_over_what_was_logged(store, begin, ended):
    run = begin()
    run.append(Metric(name="gap", value=0.5))
    run.finish(run.payload(Output, Content(b"{}")), ended)
    claim = claims.claim(store, run.run_id, "ready")
    assert claim.artefact("output").read() == b"{}"
    claim.release()


def test_a_log_counts_to_where_it_was_when_asked_for(store, ready, begin, ended):
    run = begin()
    run.log(b"12345")
    run.finish(ended)
    claim = claims.claim(store, run.run_id, "ready")
    source = claim.artefact("logs")
    with open(store.paths.log(run.run_id), "ab") as file:
        file.write(b"6789")
    assert (source.size, source.read()) == (5, b"12345")
    os.unlink(store.paths.log(run.run_id))
    with pytest.raises(RunCorrupt, match=r"\.log is gone"):
        source.read()
    claim.release()


@pytest.mark.parametrize(
    ("log", "odd"),
    [(b"\xff", "1"), (b"a\xffb\n" * 50_000, "50,000"), ("ä".encode()[:1], "1"), (b"x" * 70_000 + b"\xc3", "1")],
)
def test_a_log_of_other_bytes_is_made_text(store, begin, ended, log, odd):
    run = begin()
    run.log(log)
    run.finish(ended)
    claim = claims.claim(store, run.run_id, "ready")
    source = claim.artefact("logs")
    text = log.decode("utf-8", "backslashreplace")
    told = f"[nxtrack: bytes that are no UTF-8, shown as \\xNN: {odd}]\n"
    assert source.read().decode() == text + ("" if text.endswith("\n") else "\n") + told
    assert source.size == len(source.read())
    claim.release()


def test_waiting_runs_hold_no_files_open(store, ready):
    claim = claims.claim(store, ready(BIG), "ready")
    before = len(os.listdir("/proc/self/fd"))
    kept = [claim.artefact("input") for _ in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert {source.size for source in kept} == {len(BIG)}
    claim.release()


def test_bytes_are_a_source_too():
    assert Source(data=b"abc").read() == b"abc"


@pytest.fixture
def logged(store, begin, ended):
    """Gives a claimed run with a log, and the log's path."""
    run = begin()
    run.log(b"incumbent 57\n")
    run.finish(ended)
    claim = claims.claim(store, run.run_id, "ready")
    yield claim, Path(store.paths.log(run.run_id))
    claim.release()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"", lambda data: b"y" + data[1:]])
def test_a_changed_log_is_told(logged, change):
    claim, path = logged
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RunCorrupt, match="its log does not match its checksum"):
        claim.artefact("logs")


def test_a_lost_log_is_told(logged):
    claim, path = logged
    path.unlink()
    with pytest.raises(RunCorrupt, match=r"\.log is gone from the spool"):
        claim.artefact("logs")


@pytest.mark.parametrize("more", [b"a child goes on\n", b"\xff"])
def test_what_is_logged_after_the_end_is_no_part_of_it(logged, more):
    claim, path = logged
    path.write_bytes(path.read_bytes() + more)
    assert claim.artefact("logs").read() == b"incumbent 57\n"


def test_a_log_of_other_bytes_ends_where_the_run_did(store, begin, ended):
    run = begin()
    run.log(b"a\xffb\n")
    run.finish(ended)
    path = Path(store.paths.log(run.run_id))
    path.write_bytes(path.read_bytes() + b"later \xfe")
    claim = claims.claim(store, run.run_id, "ready")
    assert claim.artefact("logs").read() == b"a\\xffb\n[nxtrack: bytes that are no UTF-8, shown as \\xNN: 1]\n"
    claim.release()


def test_of_a_dead_run_the_log_is_known_from_its_recovery_on(store, run_program):
    out = run_program("run = begin(store)\nrun.log(b'last word\\n')\nsay(run.run_id)\nos._exit(0)")
    recovery.recover(store)
    path = Path(store.paths.log(out.strip()))
    path.write_bytes(b"lost word\n")
    claim = claims.claim(store, out.strip(), "ready")
    with pytest.raises(RunCorrupt, match="its log does not match"):
        claim.artefact("logs")
    claim.release()
