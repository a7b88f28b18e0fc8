"""The SQLite database: its schema and migrations, one writer at a time, and readers that never wait for it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nxtrack.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_MIGRATIONS = (
    """
    CREATE TABLE applications (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        default_instance TEXT,
        created_at INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE uploads (
        id TEXT PRIMARY KEY,
        application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
        expires_at INTEGER NOT NULL,
        payload TEXT,
        size INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX uploads_by_payload ON uploads (payload);
    CREATE INDEX uploads_by_expiry ON uploads (expires_at);
    CREATE INDEX uploads_by_application ON uploads (application);

    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
        instance TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        status TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        duration INTEGER NOT NULL,
        error TEXT NOT NULL,
        run_type TEXT NOT NULL,
        input_format TEXT NOT NULL,
        output_format TEXT NOT NULL,
        execution_class TEXT NOT NULL,
        experiment TEXT,
        options BLOB NOT NULL,
        metrics BLOB
    );
    CREATE INDEX runs_by_application ON runs (application, number);
    CREATE INDEX runs_by_status ON runs (status, number);

    CREATE TABLE artefacts (
        run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        payload TEXT NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (run, kind)
    ) WITHOUT ROWID;
    CREATE INDEX artefacts_by_payload ON artefacts (payload);

    CREATE TABLE assets (
        run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        content_type TEXT NOT NULL,
        visual BLOB,
        PRIMARY KEY (run, kind)
    ) WITHOUT ROWID;
    """,
    # Runs that are executed here. An execution has no foreign key: its processes are to be found, and ended, even
    # when its run is forgotten.
    """
    ALTER TABLE runs ADD COLUMN started_at INTEGER;
    ALTER TABLE runs ADD COLUMN ended_at INTEGER;

    CREATE TABLE executions (
        run INTEGER PRIMARY KEY,
        mark TEXT NOT NULL,
        folder TEXT NOT NULL,
        logs TEXT NOT NULL,
        pid INTEGER,
        born TEXT
    );

    CREATE INDEX runs_by_duration ON runs (duration, number);
    CREATE INDEX runs_by_application_and_duration ON runs (application, duration, number);
    CREATE INDEX runs_by_application_and_status ON runs (application, status, number);
    CREATE INDEX runs_by_experiment ON runs (experiment, number) WHERE experiment IS NOT NULL;
    CREATE INDEX runs_by_application_and_experiment ON runs (application, experiment, number)
        WHERE experiment IS NOT NULL;
    """,
    # The numbers in runs' metrics, by which the history sorts and draws; it also sorts by name, and searches by time.
    """
    CREATE TABLE measures (
        run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value REAL NOT NULL,
        application TEXT NOT NULL,
        PRIMARY KEY (run, name)
    ) WITHOUT ROWID;
    CREATE INDEX measures_by_value ON measures (name, value, run, application);
    INSERT INTO measures (run, name, value, application)
        SELECT number, key, CAST(json_each.value AS REAL), application
        FROM runs, json_each(CAST(metrics AS TEXT))
        WHERE metrics IS NOT NULL AND json_valid(CAST(metrics AS TEXT)) AND json_each.type IN ('integer', 'real');

    CREATE INDEX runs_by_title ON runs (COALESCE(NULLIF(name, ''), id) COLLATE NOCASE);
    CREATE INDEX runs_by_time ON runs (created_at);
    """,
)


class Database:
    """Connections to one database file, which one platform at a time may have open.

    Raises:
        ServerError: Another platform has it open, a newer version has written it, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "platform.db"
        self._writing = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        # How many transactions were stored since the start: while it stays, so does all that can be read.
        self.revision = 0
        self._closed = False
        self._claim = _claim(folder)
        try:
            self._writer = self._connect()
            try:
                self._migrate()
            except BaseException:
                self._writer.close()
                raise
        except sqlite3.Error as error:
            self._claim.close()
            raise ServerError(f"{self._path} cannot be used ({error}): give another folder by --data.") from error
        except BaseException:
            self._claim.close()
            raise

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection, None, None]:
        """One transaction: all of it is stored when the block ends, and nothing when it raises."""
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # SQLite ends a transaction by itself on some errors, such as a full disk, and on others it goes on.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            self.revision += 1

    @contextmanager
    def read(self) -> Generator[sqlite3.Connection, None, None]:
        """One consistent view of the data, as of its first query."""
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._connect()
        try:
            reader.execute("BEGIN")
            yield reader
            reader.execute("ROLLBACK")
        except BaseException:
            # What failed on it may fail again: the next one who reads gets a new one.
            reader.close()
            raise
        self._readers.append(reader)
        if self._closed:
            self._close_readers()

    def close(self) -> None:
        """Closes every connection; one that is still read from closes itself after that."""
        self._closed = True
        with self._writing:
            self._writer.close()
        self._close_readers()
        self._claim.close()

    def _close_readers(self) -> None:
        with suppress(IndexError):
            while True:
                self._readers.pop().close()

    def _connect(self) -> sqlite3.Connection:
        # Worker threads take connections in turn, never two at once, which is what SQLite asks for.
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise ServerError(f"{self._path} was written by a newer nxtrack: upgrade, or give another --data.")
        for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
            # In one transaction with its number, so that a platform killed here starts over cleanly.
            self._writer.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _claim(folder: Path) -> sqlite3.Connection:
    """Takes the folder for this process, by a lock that SQLite knows how to hold on every system."""
    claim = sqlite3.connect(folder / "in-use.db", isolation_level=None, check_same_thread=False, timeout=0)
    try:
        claim.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        claim.close()
        raise ServerError(f"Another platform is using {folder}: stop it, or give another folder by --data.") from error
    return claim
