"""The queue of remote runs, kept in the database: who is next, what executes, and how each one ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nxtrack.server.data.measures import keep_measures
from nxtrack.server.data.records import Run, encoded, run_of
from nxtrack.server.data.store import add_payloads, artefacts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nxtrack.server.data.database import Database
    from nxtrack.server.data.records import Artefact, StoredAsset


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExecution:
    """What must be known of a program that runs in order to end it, and to clean up, after a crash.

    Attributes:
        run: The number of its run.
        mark: What all its processes carry in their environment.
        folder: Its working folder.
        logs: The id of the payload that its logs become.
        pid: Its first process, once that was started.
        born: When that process was started, as `processes.born` tells it.
    """

    run: int
    mark: str
    folder: str
    logs: str
    pid: int | None = None
    born: str | None = None


class RunQueue:
    """Remote runs on their way. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, *, mark: str, folder: str, logs: str, now: int) -> Run | None:
        """Turns the oldest queued run into a running one, at a time in microseconds, and notes its execution."""
        with self._database.write() as db:
            row = db.execute(
                "UPDATE runs SET status = 'running', started_at = ? WHERE number = "
                "(SELECT number FROM runs WHERE status = 'queued' ORDER BY number LIMIT 1) RETURNING *",
                (now,),
            ).fetchone()
            if row is None:
                return None
            db.execute(
                "INSERT INTO executions (run, mark, folder, logs) VALUES (?, ?, ?, ?)",
                (row["number"], mark, folder, logs),
            )
            return run_of(row, artefacts_of(db, row["number"]))

    def begun(self, run: Run, *, pid: int, born: str | None) -> None:
        """Notes the process that executes a run."""
        with self._database.write() as db:
            db.execute("UPDATE executions SET pid = ?, born = ? WHERE run = ?", (pid, born, run.number))

    def finish(self, run: Run, artefacts: Mapping[str, Artefact], assets: Iterable[StoredAsset] = ()) -> bool:
        """Stores how a running run ended, and what it left.

        Args:
            run: With its new status, end, duration, error and metrics.
            artefacts: The payloads it did not have before.
            assets: What is known of those among them that are assets.

        Returns:
            False when the run was forgotten meanwhile, or had ended before: then nothing was stored.
        """
        with self._database.write() as db:
            db.execute("DELETE FROM executions WHERE run = ?", (run.number,))
            changed = db.execute(
                "UPDATE runs SET status = ?, ended_at = ?, duration = ?, error = ?, metrics = ? "
                "WHERE number = ? AND status = 'running'",
                (run.status, run.ended_at, run.duration, run.error, encoded(run.metrics), run.number),
            )
            if not changed.rowcount:
                return False
            keep_measures(db, run.number, run.metrics)
            add_payloads(db, run.number, artefacts, assets)
            return True

    def cancel(self, run: Run, *, reason: str, now: int) -> bool:
        """Cancels a run that is still queued; False for any other."""
        with self._database.write() as db:
            changed = db.execute(
                "UPDATE runs SET status = 'canceled', ended_at = ?, error = ? WHERE number = ? AND status = 'queued'",
                (now, reason, run.number),
            )
            return changed.rowcount == 1

    def waiting(self) -> int:
        """How many runs are queued."""
        with self._database.read() as db:
            return int(db.execute("SELECT COUNT(*) FROM runs WHERE status = 'queued'").fetchone()[0])

    def active(self, application: str | None = None) -> list[Run]:
        """The queued and running runs, of one application or of all, newest first."""
        with self._database.read() as db:
            rows = db.execute(
                "SELECT * FROM runs WHERE status IN ('queued', 'running') AND (:only IS NULL OR application = :only) "
                "ORDER BY number DESC",
                {"only": application},
            )
            return [run_of(row, {}) for row in rows]

    def executions(self) -> list[StoredExecution]:
        """Every execution that was not seen to its end."""
        with self._database.read() as db:
            return [StoredExecution(**row) for row in db.execute("SELECT * FROM executions ORDER BY run")]

    def logs(self, run: Run) -> str | None:
        """The id of the payload that a running run's logs become; None when it does not run."""
        with self._database.read() as db:
            row = db.execute("SELECT logs FROM executions WHERE run = ?", (run.number,)).fetchone()
            return None if row is None else str(row["logs"])
