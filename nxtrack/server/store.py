"""What the platform knows: applications, uploads and runs, in SQLite; payloads only by their ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from nxtrack.server.database import Database


class UploadChanged(Exception):  # a signal between two calls of this room, not an error of the tree
    """An upload was replaced, or swept, between looking at it and using it in a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredApplication:
    """An application. `created_at` in microseconds since 1970."""

    id: str
    name: str
    description: str
    default_instance: str | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload id: `payload` is None until something was PUT. `expires_at` in seconds since 1970."""

    id: str
    application: str
    expires_at: int
    payload: str | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One payload of a run, and its size in bytes."""

    payload: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """What is known of an asset besides its content, which is the artefact of the same `kind`."""

    kind: str
    name: str
    description: str
    content_type: str
    visual: dict[str, Any] | None
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it is stored. `created_at` in microseconds since 1970, `duration` in milliseconds."""

    id: str
    application: str
    instance: str
    name: str
    description: str
    status: str
    created_at: int
    duration: int
    error: str
    run_type: str
    input_format: str
    output_format: str
    execution_class: str
    experiment: str | None
    options: dict[str, str]
    metrics: dict[str, Any] | None
    number: int = 0
    artefacts: Mapping[str, Artefact] = field(default_factory=dict[str, Artefact])


_RUN_COLUMNS = (
    "id, application, instance, name, description, status, created_at, duration, error, run_type, "
    "input_format, output_format, execution_class, experiment, options, metrics"
)


class Store:
    """The one way to the database. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

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
            values += [_encoded(run.options), _encoded(run.metrics)]
            marks = ", ".join("?" * len(values))
            number = db.execute(f"INSERT INTO runs ({_RUN_COLUMNS}) VALUES ({marks})", values).lastrowid  # noqa: S608
            db.executemany(
                "INSERT INTO artefacts (run, kind, payload, size) VALUES (?, ?, ?, ?)",
                [(number, kind, artefact.payload, artefact.size) for kind, artefact in run.artefacts.items()],
            )
            db.executemany(
                "INSERT INTO assets (run, kind, name, description, content_type, visual) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (number, asset.kind, asset.name, asset.description, asset.content_type, _encoded(asset.visual))
                    for asset in assets
                ],
            )

    def run(self, application: str, name: str) -> Run | None:
        """The run of that id, with its artefacts."""
        with self._database.read() as db:
            row = db.execute("SELECT * FROM runs WHERE id = ? AND application = ?", (name, application)).fetchone()
            if row is None:
                return None
            artefacts = db.execute("SELECT kind, payload, size FROM artefacts WHERE run = ?", (row["number"],))
            return _run(row, {kind: Artefact(payload=payload, size=size) for kind, payload, size in artefacts})

    def runs(
        self, *, limit: int, application: str | None = None, status: str | None = None, before: int | None = None
    ) -> list[Run]:
        """Runs, newest first, without their artefacts: of one application, of one status, older than one number."""
        wanted = {"application = ?": application, "status = ?": status, "number < ?": before}
        given = {clause: value for clause, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        query = f"SELECT * FROM runs {where} ORDER BY number DESC LIMIT ?"  # noqa: S608  # clauses of our own
        with self._database.read() as db:
            return [_run(row, {}) for row in db.execute(query, (*given.values(), limit))]

    def assets(self, run: Run) -> list[StoredAsset]:
        """What is known of a run's assets, in the order they were given."""
        with self._database.read() as db:
            rows = db.execute(
                "SELECT kind, name, description, content_type, visual, size FROM assets "
                "JOIN artefacts USING (run, kind) WHERE run = ? ORDER BY CAST(SUBSTR(kind, 7) AS INTEGER)",
                (run.number,),
            )
            return [_asset(row) for row in rows]

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


def _run(row: sqlite3.Row, artefacts: Mapping[str, Artefact]) -> Run:
    values: dict[str, Any] = dict(row)
    values["options"] = msgspec.json.decode(values["options"])
    values["metrics"] = _decoded(values["metrics"])
    return Run(**values, artefacts=artefacts)


def _asset(row: sqlite3.Row) -> StoredAsset:
    values: dict[str, Any] = dict(row)
    values["visual"] = _decoded(values["visual"])
    return StoredAsset(**values)


def _encoded(value: object) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _decoded(value: bytes | None) -> dict[str, Any] | None:
    return None if value is None else msgspec.json.decode(value, type=dict[str, Any])
