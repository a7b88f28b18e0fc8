"""Claims: one deliverer at a time, whose journal the next one finds, and nothing that another process owns."""

import errno
import os
import resource
import shutil
import stat
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from nxtrack.errors import RunCorrupt, SpoolUnavailable
from nxtrack.spool import claims, frames, owner, reader, recovery
from nxtrack.spool.listing import Entry
from nxtrack.spool.records import Absent, Posted, Posting, Rejected, Retried, Unsent, Uploaded, now
from nxtrack.spool.store import Spool

PLACE = "https://example.invalid/v1/applications/routing"


def claim(store, run_id, state="ready"):
    return claims.claim(store, run_id, state)


def posting():
    return Posting(place=PLACE, moment=owner.moment())


def posted():
    return Posted(run_id="devint-1", app_id="routing", place=PLACE, at=now())


def uploaded(kind="input", upload_id="u1"):
    return Uploaded(artefact=kind, upload_id=upload_id, place=PLACE, moment=owner.moment())


@contextmanager
def no_more_files():
    """Has this process at its limit of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/dev/null", os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_run_that_cannot_be_looked_at_is_not_taken_for_gone(store, ready, monkeypatch):
    run_id, look = ready(), os.lstat

    def broken(path, **_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "lstat", broken)
    with pytest.raises(SpoolUnavailable, match=run_id):
        claim(store, run_id)
    monkeypatch.setattr(os, "lstat", look)
    assert claim(store, run_id).run_id == run_id


def test_a_claimed_run_is_busy_for_others(store, ready, run_program):
    run_id = ready()
    program = """
        claimed = claims.claim(store, sys.argv[2], "ready")
        say("busy" if claimed is None else "free")
    """
    claimed = claim(store, run_id)
    assert claimed.run_id == run_id
    assert claim(store, run_id) is None
    assert run_program(program, run_id) == "busy\n"
    claimed.release()
    claimed.release()
    assert run_program(program, run_id) == "free\n"


def test_a_killed_flusher_gives_its_claim_back(store, ready, start_program):
    run_id = ready()
    flusher = start_program(
        """
        claimed = claims.claim(store, sys.argv[2], "ready")
        claimed.checkpoint(Posting(place="there", moment=owner.moment()), durable=True)
        say("posting")
        time.sleep(60)
        """,
        run_id,
    )
    flusher.stdout.readline()
    assert claim(store, run_id) is None
    flusher.kill()
    flusher.wait()
    claimed = claim(store, run_id)
    assert claimed.run.posting.place == "there"
    claimed.release()


def test_the_journal_is_there_for_the_next(store, ready):
    run_id = ready()
    claimed = claim(store, run_id)
    input_, logs = uploaded(), uploaded("logs", "u2")
    claimed.checkpoint(input_)
    claimed.checkpoint(logs)
    post = posting()
    claimed.checkpoint(post, durable=True)
    claimed.release()
    claimed = claim(store, run_id)
    assert claimed.run.uploads == {"input": input_, "logs": logs}
    assert claimed.run.posting == post
    claimed.checkpoint(Absent())
    assert claimed.run.posting is None
    claimed.checkpoint(post)
    claimed.checkpoint(Unsent())
    done = posted()
    claimed.checkpoint(post)
    claimed.checkpoint(done)
    claimed.settle("synced")
    assert claim(store, run_id) is None
    claimed = claim(store, run_id, "synced")
    assert claimed.run.posted == done
    assert claimed.run.posting is None
    claimed.release()


def test_a_rejected_run_sent_back_is_uploaded_anew(store, ready):
    run_id = ready()
    claimed = claim(store, run_id)
    claimed.checkpoint(uploaded())
    claimed.settle("rejected", Rejected(error="no", at=now()))
    claimed = claim(store, run_id, "rejected")
    assert claimed.run.rejected.error == "no"
    claimed.settle("ready", Retried(at=now()))
    claimed = claim(store, run_id)
    assert claimed.run.rejected is None
    assert claimed.run.uploads == {}
    claimed.release()


def test_settling_in_the_same_state_lets_go(store, ready):
    run_id = ready()
    claim(store, run_id).settle("ready")
    claim(store, run_id).release()


def file_of(store, run_id):
    """Returns where the file of a ready run is by now."""
    return Path(store.paths.found(run_id, "ready"))


@pytest.mark.parametrize("tail", [b"0", b'deadbeef {"t":"post'])
def test_a_torn_tail_is_trimmed_before_more_is_written(store, ready, tail):
    run_id = ready()
    path = file_of(store, run_id)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(tail)
    claimed = claim(store, run_id)
    assert file_of(store, run_id).read_bytes() == whole
    claimed.checkpoint(posting())
    claimed.release()
    assert not frames.decode(file_of(store, run_id).read_bytes()).damaged
    assert claims.claim(store, run_id, "ready").run.posting is not None


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 5000, b'deadbeef {"t":\0\0'])
def test_a_tail_of_zeros_may_have_told_of_a_post(store, ready, tail):
    """A killed process writes no zeros: a power cut took what stood there."""
    run_id = ready()
    path = file_of(store, run_id)
    with path.open("ab") as file:
        file.write(tail)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    for _ in range(2):
        claimed = claim(store, run_id)
        assert claimed.run.posting.place == ""
        assert claimed.run.posting.moment.at.timestamp() == 1_700_000_000
        claimed.release()
    assert not frames.decode(file_of(store, run_id).read_bytes()).damaged


@pytest.mark.parametrize("cut", [0, 10, -10])
def test_a_run_that_ends_too_early_is_damaged(store, ready, cut):
    run_id = ready()
    path = file_of(store, run_id)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(RunCorrupt, match=f"Run {run_id} is damaged: its file ends too early"):
        claim(store, run_id)


def test_a_damaged_run_is_set_aside_as_it_was_found(store, ready):
    run_id, other = ready(), ready()
    path = file_of(store, run_id)
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunCorrupt, match="checksum"):
        claim(store, run_id)
    claims.quarantine(store, run_id, "ready")
    claims.quarantine(store, run_id, "ready")
    assert Path(store.paths.quarantine, path.name).read_bytes() == content
    assert [entry.run_id for entry in store.entries()] == [other]
    assert store.summary().quarantined == 1


def test_a_quarantine_that_cannot_be_reached_is_told(store, ready):
    run_id = ready()
    os.rmdir(store.paths.quarantine)
    Path(store.paths.quarantine).write_text("")
    with pytest.raises(SpoolUnavailable, match="cannot be set aside"):
        claims.quarantine(store, run_id, "ready")


def test_a_stale_name_is_no_claim(store, ready):
    run_id = ready()
    assert claim(store, run_id, "synced") is None
    claim(store, run_id).release()
    path = store.paths.run(run_id, "ready")
    descriptor = os.open(path, os.O_RDONLY)
    assert claims.is_same(descriptor, path)
    claim(store, run_id).settle("unconfirmed")
    assert not claims.is_same(descriptor, path)
    claim(store, run_id, "unconfirmed").settle("ready")
    assert claims.is_same(descriptor, path)
    Path(path + "x").write_text("")
    os.replace(path + "x", path)
    assert not claims.is_same(descriptor, path)
    os.close(descriptor)


def test_a_run_that_changes_its_state_while_it_is_claimed_is_claimed_once(store, ready):
    """Who opened the file under its old name gets the lock when the first is done, and must let go."""
    run_id = ready()
    stop, stale = threading.Event(), []

    def other():
        while not stop.is_set():
            claimed = claim(store, run_id, "ready")
            if claimed is not None:
                stale.append(claimed.run.posted)
                claimed.release()

    threads = [threading.Thread(target=other) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        while (claimed := claim(store, run_id, "ready")) is None:
            pass
        claimed.settle("unconfirmed")
        while (claimed := claim(store, run_id, "unconfirmed")) is None:
            pass
        claimed.settle("ready")
    while (claimed := claim(store, run_id, "ready")) is None:
        pass
    claimed.settle("synced", posted())
    stop.set()
    for thread in threads:
        thread.join()
    assert set(stale) <= {None}


def test_a_link_or_a_folder_is_no_run(store, ready, tmp_path):
    run_id = ready()
    claim(store, run_id).release()
    path = store.paths.run(run_id, "ready")
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(RunCorrupt):
        claim(store, run_id)
    claims.quarantine(store, run_id, "ready")
    os.mkdir(path)
    with pytest.raises(RunCorrupt):
        claim(store, run_id)


def test_a_run_that_cannot_be_opened_for_now_is_not_damaged(store, ready):
    """At the limit of open files a sound run must not end in quarantine."""
    run_id = ready()
    with no_more_files(), pytest.raises(SpoolUnavailable, match="too many open files"):
        claim(store, run_id)
    claim(store, run_id).release()


def test_a_payload_that_cannot_be_opened_for_now_is_not_damaged(store, ready):
    big = b'"' + b"x" * 300_000 + b'"'
    claimed = claim(store, ready(big))
    with no_more_files(), pytest.raises(SpoolUnavailable, match="too many open files"):
        claimed.artefact("input")
    source = claimed.artefact("input")
    with no_more_files(), pytest.raises(SpoolUnavailable, match="too many open files"):
        source.open()
    assert source.read() == big
    claimed.release()


def test_what_cannot_be_journaled_is_not_done(disk, fill, ready, begin, ended):
    spool = Spool(disk("256k"))
    run = begin(spool=spool)
    run.finish(ended)
    os.unlink(f"{spool.root}/reserve")
    ballast = fill(spool.root)
    claimed = claims.claim(spool, run.run_id, "ready")
    path = file_of(spool, run.run_id)
    with pytest.raises(SpoolUnavailable, match="kept as it is: its journal cannot be written, no space left"):
        for _ in range(100):
            claimed.checkpoint(uploaded(upload_id="u" * 100))
    kept = claimed.run.uploads.get("input")
    with pytest.raises(SpoolUnavailable):
        claimed.settle("rejected", Rejected(error="x" * 5000, at=now()))
    assert not frames.decode(path.read_bytes()).damaged
    os.unlink(ballast)
    claimed = claims.claim(spool, run.run_id, "ready")
    assert claimed.run.uploads.get("input") == kept
    assert claimed.run.rejected is None
    claimed.release()


def test_after_its_release_a_claim_writes_and_renames_nothing(store, ready):
    """Another process may have the run by now, and another file this one's descriptor."""
    run_id = ready()
    claimed = claim(store, run_id)
    claimed.release()
    path = file_of(store, run_id)
    before = path.read_bytes()
    others = [os.open(store.paths.root + "/other", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    with pytest.raises(SpoolUnavailable):
        claimed.checkpoint(posting())
    with pytest.raises(SpoolUnavailable):
        claimed.settle("synced")
    with pytest.raises(SpoolUnavailable):
        claimed.settle("rejected", Rejected(error="no", at=now()))
    assert path.read_bytes() == before
    assert os.fstat(others[0]).st_size == 0
    for descriptor in others:
        os.close(descriptor)


def test_a_late_upload_never_writes_into_another_file(store, ready, hurried):
    """A flush that is stopped lets go of its runs while threads of theirs still end."""
    run_id = ready()
    foreign = store.paths.root + "/other"
    for _ in range(40):
        claimed = claim(store, run_id)
        go = threading.Barrier(4)

        def work(claimed=claimed, go=go):
            go.wait()
            try:
                for _ in range(50):
                    claimed.checkpoint(Unsent())
            except SpoolUnavailable:
                pass

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        go.wait()
        claimed.release()
        descriptors = [os.open(foreign, os.O_RDWR | os.O_CREAT) for _ in range(4)]
        for thread in threads:
            thread.join()
        assert os.stat(foreign).st_size == 0
        for descriptor in descriptors:
            os.close(descriptor)
    content = file_of(store, run_id).read_bytes()
    assert not frames.decode(content).damaged


def test_a_new_state_that_cannot_be_written_keeps_the_run(store, ready):
    run_id = ready()
    claimed = claim(store, run_id)
    os.mkdir(store.paths.run(run_id, "synced"))
    with pytest.raises(SpoolUnavailable, match="could not be marked synced"):
        claimed.settle("synced", posted())
    os.rmdir(store.paths.run(run_id, "synced"))
    claimed = claim(store, run_id)
    assert claimed.run.posted is not None
    claimed.settle("synced")


def test_journals_may_be_written_side_by_side(store, ready):
    run_id = ready()
    claimed = claim(store, run_id)

    def work(kind):
        for number in range(50):
            claimed.checkpoint(uploaded(kind, str(number)))

    threads = [threading.Thread(target=work, args=[kind]) for kind in ("input", "output", "logs")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed.release()
    run = reader.parse(run_id, file_of(store, run_id).read_bytes())
    assert {kind: upload.upload_id for kind, upload in run.uploads.items()} == dict.fromkeys(
        ("input", "output", "logs"), "49"
    )


@pytest.mark.parametrize("later", ["synced", "unconfirmed", "rejected"])
def test_an_older_copy_of_a_run_is_not_delivered_again(store, ready, later):
    """Somebody copied a backup over the spool."""
    run_id = ready()
    ended, older = file_of(store, run_id), store.paths.run(run_id, "ready")
    backup = shutil.copy2(ended, f"{store.root}/backup")
    claim(store, run_id).settle(later)
    for copy in (ended, older):
        shutil.copy2(backup, copy)
    for _ in range(2):
        with pytest.raises(RunCorrupt, match="there twice"):
            claims.claim(store, run_id, "ready")
        claims.quarantine(store, run_id, "ready")
    assert claims.claim(store, run_id, "ready") is None
    claims.claim(store, run_id, later).release()


def test_an_older_copy_is_set_aside_while_the_run_waits(store, ready):
    run_id = ready()
    ended = file_of(store, run_id)
    backup = shutil.copy2(ended, f"{store.root}/backup")
    claim(store, run_id).release()
    shutil.copy2(backup, ended)
    with pytest.raises(RunCorrupt, match="there twice"):
        claims.claim(store, run_id, "ready")
    claims.quarantine(store, run_id, "ready")
    claims.claim(store, run_id, "ready").release()
    assert os.listdir(store.paths.runs) == [f"{run_id}.ready"]


def test_a_run_that_ended_is_called_ready_once_it_is_claimed(store, ready):
    run_id = ready()
    assert os.listdir(store.paths.runs) == [f"{run_id}.active"]
    claim(store, run_id).release()
    assert os.listdir(store.paths.runs) == [f"{run_id}.ready"]
    assert stat.S_IMODE(file_of(store, run_id).stat().st_mode) == 0o600
    assert [*store.entries()] == [Entry(run_id, "ready")]


def test_without_its_mark_a_run_that_ended_waits_for_recovery(store, ready):
    """A backup brings files back with modes of its own, and some file systems have none."""
    run_id = ready()
    file_of(store, run_id).chmod(0o600)
    assert claims.claim(store, run_id, "ready") is None
    assert [*store.entries()] == [Entry(run_id, "ready", died=True)]
    recovery.recover(store)
    claimed = claim(store, run_id)
    assert claimed.run.end.status == "succeeded"
    claimed.release()
