"""Where things stand: names that are ours and names that are not, and folders that others could write to."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.errors import SpoolRefused, SpoolUnavailable
from nxtrack.spool import claims, ids, layout, recovery, retention
from nxtrack.spool.layout import STATES, split_name
from nxtrack.spool.listing import Entry
from nxtrack.spool.store import Spool

ODD = [
    "",
    ".",
    ".active",
    "lost",
    "x.ready",
    "0" * 26,
    "0" * 26 + ".",
    "0" * 26 + ".ready.copy",
    "0" * 26 + ".READY",
    "0" * 26 + ".ready ",
    "0" * 25 + ".ready",
    "o" * 26 + ".ready",
    "7" + "Z" * 25 + ".ready",
    "\udcff" * 26 + ".ready",
    ".nfs000000000001",
]


@pytest.mark.parametrize("name", ODD)
def test_names_that_are_not_ours_are_told(name):
    assert split_name(name) is None


@given(st.sampled_from(STATES))
def test_names_that_are_ours_are_taken_apart(state):
    run_id = ids.new_id()
    assert split_name(f"{run_id}.{state}") == (run_id, state)


def test_foreign_files_stop_nobody(store, ready):
    run_id = ready()
    for name in ODD:
        if name not in {"", "."}:
            Path(store.paths.runs, name).write_text("x")
            Path(store.paths.payloads, name).write_text("x")
    os.mkdir(os.path.join(store.paths.runs, "a folder"))
    assert layout.names(store.paths) == [(run_id, "active")]
    assert [*store.waiting()] == [Entry(run_id, "ready")]
    assert store.summary().counts["ready"] == 1
    assert recovery.recover(store) == recovery.Recovery()
    assert retention.prune(store, rejected=True).runs == 0


def test_a_spool_that_is_not_there_holds_nothing(store):
    assert layout.names(store.paths) == []
    assert [*store.entries()] == []
    assert sum(store.summary().counts.values()) == 0
    assert recovery.recover(store) == recovery.Recovery()
    assert retention.prune(store) == retention.Pruned()
    assert not os.path.exists(store.root)


def test_names_are_listed_oldest_first_by_state(store, ready, begin):
    first, second = ready(), ready()
    for run_id in (first, second):
        claims.claim(store, run_id, "ready").release()
    third = begin()
    assert layout.names(store.paths) == [(first, "ready"), (second, "ready"), (third.run_id, "active")]
    assert layout.names(store.paths, "active") == [(third.run_id, "active")]
    assert layout.names(store.paths, "synced", "ready") == [(first, "ready"), (second, "ready")]
    third.close()


def use(spool):
    return [
        spool.prepare,
        spool.check,
        spool.summary,
        lambda: [*spool.entries()],
        lambda: recovery.recover(spool),
        lambda: retention.prune(spool),
    ]


def test_a_spool_behind_a_link_is_refused(store, ready, tmp_path):
    ready()
    os.symlink(store.root, tmp_path / "link")
    for action in use(Spool(str(tmp_path / "link"))):
        with pytest.raises(SpoolRefused, match="is not a folder; set NXTRACK_DIR"):
            action()


@pytest.mark.parametrize("name", ["runs", "payloads", "quarantine"])
def test_a_folder_of_the_spool_behind_a_link_is_refused(store, ready, tmp_path, name):
    ready()
    os.rename(os.path.join(store.root, name), tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", os.path.join(store.root, name))
    for action in use(Spool(store.root)):
        with pytest.raises(SpoolRefused, match="is not a folder"):
            action()


@pytest.mark.parametrize("name", [".", "runs", "payloads", "quarantine"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(store, ready, name, mode):
    ready()
    os.chmod(os.path.join(store.root, name), mode)
    for action in use(Spool(store.root)):
        with pytest.raises(SpoolRefused, match="can be written by other users; run `chmod go-w"):
            action()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away needs root")
@pytest.mark.parametrize("name", [".", "runs"])
def test_a_folder_of_another_user_is_refused(store, ready, name):
    ready()
    os.chown(os.path.join(store.root, name), 65534, 65534)
    for action in use(Spool(store.root)):
        with pytest.raises(SpoolRefused, match="belongs to another user"):
            action()


def test_a_folder_that_others_may_read_is_taken(store, begin):
    os.mkdir(store.root, 0o755)
    begin().close()
    assert stat.S_IMODE(os.stat(store.paths.runs).st_mode) == 0o700


def test_a_file_in_the_way_is_told(store, tmp_path):
    Path(store.root).write_text("")
    with pytest.raises(SpoolUnavailable, match="file exists"):
        store.prepare()
    with pytest.raises(SpoolRefused):
        store.check()
    below = Spool(store.root + "/below")
    for action in (below.prepare, below.check, lambda: layout.names(below.paths)):
        with pytest.raises(SpoolUnavailable):
            action()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_place_without_permission_is_told(tmp_path):
    os.chmod(tmp_path, 0o755)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        spool = Spool(str(closed / "spool"))
        for action in use(spool):
            with pytest.raises(SpoolUnavailable, match="permission denied"):
                action()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("name", ["runs", "payloads"])
def test_a_folder_that_cannot_be_listed_is_told(tmp_path, name):
    spool = Spool(str(tmp_path / "spool"))
    spool.prepare()
    for folder in spool.paths:
        os.chown(folder, 65534, 65534)
    os.chmod(os.path.join(spool.root, name), 0)
    paths = [tmp_path, *tmp_path.parents]
    modes = [path.stat().st_mode for path in paths]
    for path in paths[:3]:
        path.chmod(0o711)
    os.seteuid(65534)
    try:
        for action in (spool.summary, lambda: retention.prune(spool)):
            with pytest.raises(SpoolUnavailable, match="permission denied"):
                action()
    finally:
        os.seteuid(0)
        for path, mode in zip(paths[:3], modes, strict=False):
            path.chmod(stat.S_IMODE(mode))


def test_what_the_system_says_becomes_part_of_a_sentence():
    assert layout.reason(OSError(errno.ENOSPC, "No space left on device")) == "no space left on device"
