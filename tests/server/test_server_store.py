"""What survives: restarts, other platforms, damage, and many clients at once."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from nxtrack.errors import ServerError
from nxtrack.server.data.database import Database
from nxtrack.server.data.store import Artefact, Store, Upload
from nxtrack.server.endpoints.intake import accept_run
from nxtrack.server.options import ServeOptions
from nxtrack.server.refusals import ApiRefusal
from nxtrack.server.serve import running
from nxtrack.server.state import open_platform


def test_everything_survives_a_restart(start):
    with contextlib.ExitStack() as first:
        api = start(session_of=first)
        run_id = api.track(name="kept", data=b'{"a":1}', output=b'{"metrics":{"x":1}}', logs=b"log", options={"o": "1"})
        before = api.runs(f"/{run_id}").json()
        upload, waiting = api.upload(b'"late"'), api.upload_url()
    again = start()
    assert again.runs(f"/{run_id}").json() == before
    assert again.runs(f"/{run_id}/input").content == b'{"a":1}'
    assert again.runs(f"/{run_id}/logs").json() == {"log": "log"}
    assert [run["id"] for run in again.runs().json()["runs"]] == [run_id]
    # The secret survives as well: a URL given out before the restart is still good.
    path = waiting["upload_url"].partition("/uploads/")[2]
    assert again.put(f"{again.url}/uploads/{path}", b'"later"').status_code == 200
    for upload_id, data in ((upload, "late"), (waiting["upload_id"], "later")):
        late = again.post({"upload_id": upload_id, "result": {"status": "succeeded"}}).json()["run_id"]
        assert again.runs(f"/{late}/input").json() == data


def test_a_start_clears_away_what_a_kill_left(start):
    with contextlib.ExitStack() as first:
        api = start(session_of=first)
        run_id = api.track(data=b'"kept"')
        known = {path for path in (api.data / "payloads").rglob("*") if path.is_file()}
    (api.data / "partial" / "half").write_bytes(b"half")
    orphan = api.data / "payloads" / "ab" / "abcd"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"nobody's")
    again = start()
    assert not list((again.data / "partial").iterdir())
    assert {path for path in (again.data / "payloads").rglob("*") if path.is_file()} == known
    assert again.runs(f"/{run_id}/input").json() == "kept"


def test_a_full_database_says_so_and_goes_on_when_there_is_room(tmp_path):
    """SQLite ends the transaction by itself then: there is nothing to roll back, and nothing half stored."""
    database = Database(tmp_path)
    try:
        with database.write() as db:
            db.execute("CREATE TABLE things (body BLOB)")
        (pages,) = database._writer.execute("PRAGMA page_count").fetchone()
        database._writer.execute(f"PRAGMA max_page_count = {pages}")
        revision = database.revision
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="full"), database.write() as db:
                db.execute("INSERT INTO things VALUES (?)", (b"small",))
                db.execute("INSERT INTO things VALUES (?)", (bytes(1_000_000),))
        assert database.revision == revision
        database._writer.execute(f"PRAGMA max_page_count = {pages + 1_000}")
        with database.write() as db:
            db.execute("INSERT INTO things VALUES (?)", (b"small",))
        with database.read() as db:
            assert db.execute("SELECT COUNT(*) FROM things").fetchone()[0] == 1
    finally:
        database.close()


def test_a_transaction_that_cannot_be_stored_is_given_up(tmp_path):
    """Foreign keys that are checked at its end refuse it there, and leave it open."""
    database = Database(tmp_path)
    try:
        with database.write() as db:
            db.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
            db.execute("CREATE TABLE children (p INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(sqlite3.IntegrityError), database.write() as db:
            db.execute("INSERT INTO children VALUES (1)")
        with database.write() as db:
            db.execute("INSERT INTO parents VALUES (1)")
        with database.read() as db:
            assert db.execute("SELECT COUNT(*) FROM children").fetchone()[0] == 0
    finally:
        database.close()


def test_a_reader_that_failed_is_not_used_again(tmp_path):
    database = Database(tmp_path)
    try:
        readers = []
        for wanted in ("SELECT nonsense", "SELECT 1"):
            with contextlib.suppress(sqlite3.OperationalError), database.read() as db:
                readers.append(db)
                db.execute(wanted)
        assert readers[0] is not readers[1]
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            readers[0].execute("SELECT 1")
        # One that is still read from when all is closed is closed after that.
        with database.read() as db:
            database.close()
            assert db.execute("SELECT 1").fetchone()[0] == 1
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            db.execute("SELECT 1")
    finally:
        database.close()


def test_the_data_is_for_its_owner_only(api):
    assert api.data.stat().st_mode & 0o777 == 0o700
    assert (api.data / "secret").stat().st_mode & 0o777 == 0o600


def test_two_platforms_never_share_a_folder(api):
    with pytest.raises(ServerError, match="Another platform is using"):
        open_platform(ServeOptions(data=api.data))


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match="cannot hold the platform's data"):
        open_platform(ServeOptions(data=tmp_path / "file" / "data"))


def test_a_damaged_secret_stops_the_start_and_lets_go_of_the_folder(tmp_path):
    open_platform(ServeOptions(data=tmp_path)).close()
    (tmp_path / "secret").write_bytes(b"short")
    for _ in range(2):
        with pytest.raises(ServerError, match="damaged"):
            open_platform(ServeOptions(data=tmp_path))


def test_a_newer_database_is_left_alone(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "platform.db")) as db:
        db.execute("PRAGMA user_version = 99")
    for _ in range(2):
        with pytest.raises(ServerError, match="newer nxtrack"):
            Database(tmp_path)


def test_a_damaged_database_is_told(tmp_path):
    (tmp_path / "platform.db").write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(ServerError, match="cannot be used"):
            Database(tmp_path)


def test_a_write_that_fails_changes_nothing(tmp_path):
    database = Database(tmp_path)
    with contextlib.closing(database):
        insert = "INSERT INTO applications (id, name, description, created_at) VALUES ('a', '', '', 0)"
        with pytest.raises(ZeroDivisionError), database.write() as db:
            db.execute(insert)
            raise ZeroDivisionError
        with database.read() as db:
            assert db.execute("SELECT COUNT(*) FROM applications").fetchone()[0] == 0


def test_a_reader_outlives_the_close(tmp_path):
    """A request that is still being answered when the platform stops."""
    database = Database(tmp_path)
    with database.read() as db:
        database.close()
        assert db.execute("SELECT COUNT(*) FROM runs").fetchone()[0] == 0


def test_a_reader_sees_one_moment(tmp_path):
    database = Database(tmp_path)
    with contextlib.closing(database), database.read() as db:
        query = "SELECT COUNT(*) FROM applications"
        assert db.execute(query).fetchone()[0] == 0
        with database.write() as writer:
            writer.execute("INSERT INTO applications (id, name, description, created_at) VALUES ('a', '', '', 0)")
        assert db.execute(query).fetchone()[0] == 0
        with database.read() as later:
            assert later.execute(query).fetchone()[0] == 1


@pytest.fixture
def platform(tmp_path):
    with contextlib.closing(open_platform(ServeOptions(data=tmp_path))) as made:
        yield made


def uploaded(platform, data):
    owner = platform.application("app")
    upload = Upload(id="up", application="app", expires_at=2**40, payload=None, size=0)
    if platform.store.upload("up") is None:
        platform.store.add_upload(upload, owner)
    artefact = Artefact(payload=platform.payloads.add(data), size=len(data))
    platform.payloads.remove(platform.store.fill_upload("up", artefact))


def test_an_upload_id_nobody_has_is_not_filled(platform):
    assert platform.store.fill_upload("nonesuch", Artefact(payload="00", size=0)) is None
    assert platform.store.upload("nonesuch") is None


BODY = b'{"upload_id": "up", "result": {"status": "succeeded", "output_upload_id": "up"}}'


def test_an_upload_replaced_while_its_run_is_taken_in_is_looked_at_again(platform, monkeypatch):
    uploaded(platform, b'{"metrics": {"n": 1}}')
    add_run, calls = Store.add_run, []

    def replaced_meanwhile(self, run, assets, **more):
        calls.append(run)
        if len(calls) == 1:
            uploaded(platform, b'{"metrics": {"n": 2}}')
        add_run(self, run, assets, **more)

    monkeypatch.setattr(Store, "add_run", replaced_meanwhile)
    run = platform.store.run("app", accept_run(platform, "app", None, BODY))
    assert len(calls) == 2
    assert run.metrics == {"n": 2}
    assert platform.payloads.read(run.artefacts["input"].payload) == b'{"metrics": {"n": 2}}'


def test_an_upload_replaced_over_and_over_is_a_conflict(platform, monkeypatch):
    uploaded(platform, b"{}")
    add_run = Store.add_run

    def replaced_meanwhile(self, run, assets, **more):
        uploaded(platform, b"{}")
        add_run(self, run, assets, **more)

    monkeypatch.setattr(Store, "add_run", replaced_meanwhile)
    with pytest.raises(ApiRefusal, match="being replaced") as refusal:
        accept_run(platform, "app", None, BODY)
    assert refusal.value.status == 409


def test_a_run_that_cannot_be_stored_leaves_no_file(platform, monkeypatch):
    def fail(self, run, assets, **more):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Store, "add_run", fail)
    with pytest.raises(sqlite3.OperationalError):
        accept_run(platform, "app", None, b'{"input": 1, "result": {"status": "failed"}}')
    assert not [path for path in (platform.data / "payloads").rglob("*") if path.is_file()]


def test_a_fault_is_answered_and_told_on_the_terminal(api, monkeypatch, caplog):
    """What nobody foresaw is a sentence for the client and a traceback for the terminal."""

    def fail(self, name):
        raise ZeroDivisionError

    monkeypatch.setattr(Store, "application", fail)
    answer = api.call("GET", "/applications/a")
    assert answer.status_code == 500
    assert "its terminal shows why" in answer.json()["error"]
    end = time.monotonic() + 5
    while "ZeroDivisionError" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)
    assert "ZeroDivisionError" in caplog.text


def test_a_page_whose_data_is_gone_is_told_in_words(api, monkeypatch):
    def fail(self):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(Store, "reading", fail)
    answer = api.page()
    assert answer.status_code == 503
    assert "unable to open database file" in answer.text


def test_sixteen_clients_at_once(api):
    """Each run is there exactly once, with its own bytes, in an order that never changes."""
    made, lock = {}, threading.Lock()

    def client(number):
        with requests.Session() as session:
            session.trust_env = False
            mine = type(api)(api.url, api.data, api.clock, app=f"app-{number % 3}", session=session)
            for count in range(8):
                data = f'{{"n": {number}, "c": {count}}}'.encode()
                run_id = mine.track(data=data, output=data, logs=data)
                with lock:
                    made[run_id] = (mine.app, data)
                assert mine.runs(f"/{run_id}").json()["output"] == {"n": number, "c": count}
                assert mine.runs().status_code == 200

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(client, number) for number in range(16)]:
            done.result()
    assert len(made) == 128
    listed = []
    for app in ("app-0", "app-1", "app-2"):
        token = {}
        while True:
            page = api.runs(app=app, params=token).json()
            listed += [(run["id"], app) for run in page["runs"]]
            if "next_page_token" not in page:
                break
            token = {"pagetoken": page["next_page_token"]}
    assert sorted(listed) == sorted((run_id, app) for run_id, (app, _) in made.items())
    for run_id, (app, data) in made.items():
        assert api.runs(f"/{run_id}/input", app=app).content == data


def test_many_platforms_leave_nothing_open(tmp_path):
    """A demo starts and stops one after the other: no thread, no descriptor stays."""

    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0

    threads, files = threading.active_count(), None
    for _ in range(4):
        with running(ServeOptions(port=0, data=tmp_path)) as platform, requests.Session() as session:
            session.trust_env = False
            assert session.get(f"{platform.url}/healthz", timeout=10).status_code == 200
        files = files or descriptors()
    # A thread that is told to end needs a moment for it, and so does the last of its descriptors.
    deadline = time.monotonic() + 10
    while (threading.active_count() > threads or descriptors() > files) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    assert descriptors() <= files
