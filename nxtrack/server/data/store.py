"""What the platform knows: applications, uploads and runs, in SQLite; payloads only by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nxtrack.server.data.measures import keep_measures
from nxtrack.server.data.records import (
    Artefact,
    Run,
    StoredApplication,
    StoredAsset,
    StoredExperiment,
    Upload,
    asset_of,
    encoded,
    run_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from nxtrack.server.data.database import Database

__all__ = [
    "Artefact",
    "Run",
    "Store",
    "StoredApplication",
    "StoredAsset",
    "StoredExperiment",
    "Upload",
    "UploadChanged",
]


class UploadChanged(Exception):  # a signal between two calls of this room, not an error of the tree
    """An upload was replaced, or swept, between looking at it and using it in a run."""


_RUN_COLUMNS = (
    "id, application, instance, name, description, status, created_at, duration, error, run_type, "
    "input_format, output_format, execution_class, experiment, options, metrics"
)

_EXPERIMENTS = (
    "SELECT experiment AS id, MIN(created_at) AS created_at, MAX(created_at) AS updated_at, COUNT(*) AS runs, "
    "SUM(status NOT IN ('queued', 'running')) AS completed FROM runs"
)


class Store:
    """The one way to the database. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    @property
    def revision(self) -> int:
        """Grows with every change, since the start: what was read at one revision holds for as long as it stays."""
        return self._database.revision

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """One consistent view, for questions that have a module of their own."""
        return self._database.read()

    # Applications

    def add_application(self, application: StoredApplication) -> bool:
        """Stores a new application; False when the id is taken."""
        with self._database.write() as db:
            return _ensure(db, application)

    def application(self, name: str) -> StoredApplication | None:
        """The application of that id."""
        with self._database.read() as db:
            row = db.execute("SELECT * FROM applications WHERE id = ?", (name,)).fetchone()
        return row and StoredApplication(**row)

    def applications(self, *, limit: int, after: str = "") -> list[StoredApplication]:
        """Applications in the order of their ids, beginning after one."""
        with self._database.read() as db:
            rows = db.execute("SELECT * FROM applications WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
            return [StoredApplication(**row) for row in rows]

    def update_application(
        self, name: str, *, new_name: str, description: str, default_instance: str | None
    ) -> StoredApplication | None:
        """Gives an application another name, description and default instance; None without such an id."""
        with self._database.write() as db:
            row = db.execute(
                "UPDATE applications SET name = ?, description = ?, default_instance = ? WHERE id = ? RETURNING *",
                (new_name, description, default_instance, name),
            ).fetchone()
        return row and StoredApplication(**row)

    def remove_application(self, name: str) -> list[str] | None:
        """Forgets an application with all it has; the payloads nobody refers to now, or None without such an id."""
        with self._database.write() as db:
            held = db.execute(
                "SELECT payload FROM uploads WHERE application = :name AND payload IS NOT NULL UNION "
                "SELECT payload FROM artefacts WHERE run IN (SELECT number FROM runs WHERE application = :name)",
                {"name": name},
            ).fetchall()
            if not db.execute("DELETE FROM applications WHERE id = ?", (name,)).rowcount:
                return None
            return _unused(db, (payload for (payload,) in held))

    # Uploads

    def add_upload(self, upload: Upload, owner: StoredApplication) -> None:
        """Stores a new upload id, and its application when this is the first that is heard of it."""
        with self._database.write() as db:
            _ensure(db, owner)
            db.execute(
                "INSERT INTO uploads (id, application, expires_at) VALUES (?, ?, ?)",
                (upload.id, upload.application, upload.expires_at),
            )

    def upload(self, name: str) -> Upload | None:
        """The upload of that id."""
        with self._database.read() as db:
            row = db.execute("SELECT * FROM uploads WHERE id = ?", (name,)).fetchone()
        return row and Upload(**row)

    def fill_upload(self, name: str, artefact: Artefact) -> list[str] | None:
        """Gives an upload its payload; the payloads nobody refers to now, or None without such an id."""
        with self._database.write() as db:
            old = db.execute("SELECT payload FROM uploads WHERE id = ?", (name,)).fetchone()
            if old is None:
                return None
            db.execute("UPDATE uploads SET payload = ?, size = ? WHERE id = ?", (artefact.payload, artefact.size, name))
            return _unused(db, [old["payload"]] if old["payload"] else [])

    def expire_uploads(self, before: int) -> list[str]:
        """Forgets uploads that expired before a time in seconds; the payloads nobody refers to now."""
        with self._database.write() as db:
            rows = db.execute("DELETE FROM uploads WHERE expires_at < ? RETURNING payload", (before,)).fetchall()
            return _unused(db, (payload for (payload,) in rows if payload))

    # Runs

    def add_run(
        self, run: Run, assets: Iterable[StoredAsset], *, uploads: Mapping[str, str], owner: StoredApplication
    ) -> None:
        """Stores a run.

        Args:
            run: The run, with its artefacts.
            assets: What is known of its assets.
            uploads: The payload that each upload it uses had when it was looked at.
            owner: The application to make when this is the first that is heard of it.

        Raises:
            UploadChanged: An upload has another payload by now.
        """
        with self._database.write() as db:
            for upload, payload in uploads.items():
                row = db.execute("SELECT payload FROM uploads WHERE id = ?", (upload,)).fetchone()
                if row is None or row["payload"] != payload:
                    raise UploadChanged
            _ensure(db, owner)
            values = [getattr(run, column) for column in _RUN_COLUMNS.split(", ")[:-2]]
            values += [encoded(run.options), encoded(run.metrics)]
            marks = ", ".join("?" * len(values))
            number = db.execute(f"INSERT INTO runs ({_RUN_COLUMNS}) VALUES ({marks})", values).lastrowid  # noqa: S608
            assert number is not None
            keep_measures(db, number, run.metrics)
            add_payloads(db, number, run.artefacts, assets)

    def run(self, application: str, name: str) -> Run | None:
        """The run of that id, with its artefacts."""
        with self._database.read() as db:
            row = db.execute("SELECT * FROM runs WHERE id = ? AND application = ?", (name, application)).fetchone()
            return row and run_of(row, artefacts_of(db, row["number"]))

    def runs(
        self,
        *,
        limit: int,
        application: str | None = None,
        status: str | None = None,
        experiment: str | None = None,
        before: int | None = None,
    ) -> list[Run]:
        """Runs, newest first, without their artefacts: of one application, status, experiment, before one number."""
        wanted = {
            "application = ?": application,
            "status = ?": status,
            "experiment = ?": experiment,
            "number < ?": before,
        }
        given = {clause: value for clause, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        query = f"SELECT * FROM runs {where} ORDER BY number DESC LIMIT ?"  # noqa: S608  # clauses of our own
        with self._database.read() as db:
            return [run_of(row, {}) for row in db.execute(query, (*given.values(), limit))]

    def experiments(self, application: str, *, limit: int, after: str = "") -> list[StoredExperiment]:
        """An application's batch experiments in the order of their ids, beginning after one."""
        with self._database.read() as db:
            rows = db.execute(
                f"{_EXPERIMENTS} WHERE application = ? AND experiment > ? GROUP BY experiment ORDER BY experiment "
                "LIMIT ?",
                (application, after, limit),
            )
            return [StoredExperiment(**row) for row in rows]

    def experiment(self, application: str, name: str) -> StoredExperiment | None:
        """The batch experiment of that id, when a run of the application names it."""
        with self._database.read() as db:
            row = db.execute(
                f"{_EXPERIMENTS} WHERE application = ? AND experiment = ? GROUP BY experiment", (application, name)
            ).fetchone()
        return row and StoredExperiment(**row)

    def assets(self, run: Run) -> list[StoredAsset]:
        """What is known of a run's assets, in the order they were given."""
        with self._database.read() as db:
            rows = db.execute(
                "SELECT kind, name, description, content_type, visual, size FROM assets "
                "JOIN artefacts USING (run, kind) WHERE run = ? ORDER BY CAST(SUBSTR(kind, 7) AS INTEGER)",
                (run.number,),
            )
            return [asset_of(row) for row in rows]

    def rename_run(self, run: Run, *, name: str, description: str) -> None:
        """Gives a run another name and description."""
        with self._database.write() as db:
            db.execute("UPDATE runs SET name = ?, description = ? WHERE number = ?", (name, description, run.number))

    def remove_run(self, run: Run) -> list[str]:
        """Forgets a run; the payloads nobody refers to now."""
        with self._database.write() as db:
            rows = db.execute("SELECT payload FROM artefacts WHERE run = ?", (run.number,)).fetchall()
            db.execute("DELETE FROM runs WHERE number = ?", (run.number,))
            return _unused(db, (payload for (payload,) in rows))

    def payloads(self) -> set[str]:
        """Every payload that anything refers to."""
        with self._database.read() as db:
            rows = db.execute(
                "SELECT payload FROM artefacts UNION SELECT payload FROM uploads WHERE payload IS NOT NULL"
            )
            return {payload for (payload,) in rows}


def add_payloads(
    db: sqlite3.Connection, number: int, artefacts: Mapping[str, Artefact], assets: Iterable[StoredAsset]
) -> None:
    """Stores what a run has, within the transaction."""
    db.executemany(
        "INSERT INTO artefacts (run, kind, payload, size) VALUES (?, ?, ?, ?)",
        [(number, kind, artefact.payload, artefact.size) for kind, artefact in artefacts.items()],
    )
    db.executemany(
        "INSERT INTO assets (run, kind, name, description, content_type, visual) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, asset.kind, asset.name, asset.description, asset.content_type, encoded(asset.visual))
            for asset in assets
        ],
    )


def artefacts_of(db: sqlite3.Connection, number: int) -> dict[str, Artefact]:
    """The artefacts of a run by kind, within the transaction."""
    rows = db.execute("SELECT kind, payload, size FROM artefacts WHERE run = ?", (number,))
    return {kind: Artefact(payload=payload, size=size) for kind, payload, size in rows}


def _ensure(db: sqlite3.Connection, application: StoredApplication) -> bool:
    cursor = db.execute(
        "INSERT INTO applications (id, name, description, default_instance, created_at) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            application.id,
            application.name,
            application.description,
            application.default_instance,
            application.created_at,
        ),
    )
    return cursor.rowcount == 1


def _unused(db: sqlite3.Connection, payloads: Iterable[str]) -> list[str]:
    """Those of the payloads that neither an upload nor a run refers to, within the transaction."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM uploads WHERE payload = :payload) "
        "OR EXISTS (SELECT 1 FROM artefacts WHERE payload = :payload)"
    )
    return [name for name in set(payloads) if not db.execute(query, {"payload": name}).fetchone()[0]]
