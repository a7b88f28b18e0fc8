"""Payloads written piece by piece: what they are found to be, also by a recovery, and also when they grow on."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from nxtrack.spool import growing, ids, owner
from nxtrack.spool.records import End, Input, Output, Start, now
from nxtrack.spool.recovery import recover
from nxtrack.spool.store import Spool


@pytest.fixture
def spool(tmp_path):
    return Spool(str(tmp_path / "spool"))


@pytest.fixture
def begin(spool):
    def make():
        start = Start(id=ids.new_id(), at=now(), owner=owner.this_process())
        return spool.begin(start, None, "power")

    return make


def put(writer, kind, data, wished=None):
    record, descriptor = writer.sidecars.grow(kind, wished)
    writer.append(record)
    os.write(descriptor, data)
    return record, descriptor


def only(spool):
    (entry,) = spool.entries()
    run = spool.read(entry)
    return run, {kind: source.read() for kind in ("input", "output") if (source := spool.artefact(run, kind))}


def tar(name, data):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


KINDS = {
    b' {"a": [1, 2]} \n': "object",
    b"[]": "array",
    b"true": "scalar",
    b'{"a": 1': "text",
    b'{"a": 1} x': "text",
    b'{"a": "\xff"}': "bytes",
    b"[" * 100_000: "text",
    "ä".encode()[:1]: "bytes",
    b"   \n": "text",
    gzip.compress(b"no archive"): "bytes",
    tar("a", b"b"): "archive",
    tar("a", b"b")[:20]: "bytes",
}


@pytest.mark.parametrize(("data", "kind"), KINDS.items(), ids=map(str, range(len(KINDS))))
def test_what_bytes_are(tmp_path, data, kind):
    path = tmp_path / "file"
    path.write_bytes(data + b"what was written later")
    assert growing.kind_of(str(path), len(data)) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"a": 1,\n "b": [2]}\n', "object"),
        (b'["' + b"x" * 100 + b'"]', "array"),
        (b'{"a": 1}\n{"b": 2}\n', "text"),
        (b'{"a": 1,\n "b": 2]', "text"),
        (b"words\nwords", "text"),
        (b'{"a":\n"\xff"}', "bytes"),
    ],
)
def test_what_is_too_large_to_be_read_through_is_known_by_its_looks(tmp_path, monkeypatch, data, kind):
    monkeypatch.setattr(growing, "LARGEST_CHECKED", 4)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert growing.kind_of(str(path), len(data)) == kind


def test_a_recovery_settles_what_grew(spool, begin):
    writer = begin()
    _, first = put(writer, Input, b'{"a": 1}')
    _, second = put(writer, Output, b"\xff\xfe")
    writer.close()  # as its process dies
    assert only(spool)[1] == {"input": b'{"a": 1}', "output": b"\xff\xfe"}
    # A recovery that died before had made the archive already.
    (name,) = [name for name in os.listdir(spool.paths.payloads) if name.endswith(".output")]
    (open(spool.paths.payload(f"{name}.tar.gz"), "wb")).close()
    assert len(recover(spool).recovered) == 1
    # The program lives on, and what copies its streams does so too.
    os.write(first, b"more")
    os.write(second, b"more")
    os.close(first)
    os.close(second)
    run, data = only(spool)
    assert (run.form("input"), run.form("output")) == ("json", "multi-file")
    assert data["input"] == b'{"a": 1}'
    with tarfile.open(fileobj=io.BytesIO(data["output"])) as archive:
        assert archive.extractfile("output").read() == b"\xff\xfe"


def test_a_recovery_copes_with_what_is_empty_or_gone(spool, begin):
    writer = begin()
    os.close(put(writer, Input, b"")[1])
    record, descriptor = put(writer, Output, b"found")
    os.close(descriptor)
    os.unlink(spool.paths.payload(record.file))
    writer.close()
    assert only(spool)[1] == {}
    recover(spool)
    run, data = only(spool)
    assert data == {}
    assert run.end.error == "process died: killed while solving"
    assert run.output.notes == ("What there was of it is gone.",)
    assert (run.form("input"), run.form("output")) == ("json", "json")


def test_a_finished_run_keeps_what_became_of_it_and_nothing_else(spool, begin):
    writer = begin()
    records = []
    for kind, data in ((Input, b""), (Output, b"[1]")):
        record, descriptor = put(writer, kind, data)
        os.close(descriptor)
        records.append(writer.sidecars.settle(record))
    writer.finish(*records, End(status="succeeded", at=now(), duration_ms=1))
    run, data = only(spool)
    assert data == {"output": b'{"solution":[1]}'}
    assert os.listdir(spool.paths.payloads) == [run.output.file]


def test_a_change_to_what_grew_is_told(spool, begin):
    writer = begin()
    record, descriptor = put(writer, Output, b"found")
    os.close(descriptor)
    writer.finish(writer.sidecars.settle(record), End(status="succeeded", at=now(), duration_ms=1))
    with open(spool.paths.payload(record.file), "r+b") as file:
        file.write(b"F")
    with pytest.raises(Exception, match="does not match its checksum"):
        only(spool)
