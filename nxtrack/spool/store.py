"""Owns the spool as its users see it: beginning runs, looking into them, counting them."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from msgspec import structs

from nxtrack.errors import RunCorrupt, RunNotFound, SpoolUnavailable
from nxtrack.spool import artefacts, captures, ids, layout, losses, masks, owner, reader, room, system, writer
from nxtrack.spool.captures import Captures
from nxtrack.spool.layout import STATES, State
from nxtrack.spool.listing import Entry, Summary, Waiting
from nxtrack.spool.records import End, Input

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from nxtrack.settings import Durability
    from nxtrack.spool.artefacts import Source
    from nxtrack.spool.captures import Capture
    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import Artefact, Start
    from nxtrack.spool.writer import Content, RunWriter

LOCK_FILE = system.READ_APPEND | os.O_CREAT

DIED = "process died: killed while solving"
"""`error_message` of a run whose process was killed."""


class Spool:
    """The runs of one folder. Any number of threads and processes may use it at once.

    Attributes:
        root: The folder.
        room: How full it is.
        captures: The files at hand that take what is written to descriptors.
        is_prepared: This process has made, or seen, its folders; see `prepare`.
    """

    def __init__(self, root: str) -> None:
        """Looks at nothing yet; the folder is made when the first run begins."""
        self.root = root
        self.paths = layout.layout(root)
        self.room = room.Room(self.paths)
        self.captures = Captures(self.paths)
        self.is_prepared = False

    def begin(
        self,
        start: Start,
        content: Content | None,
        durability: Durability,
        *,
        max_spool: int | None = None,
        capture: Capture | None = None,
        patterns: tuple[re.Pattern[str] | None, ...] = (),
    ) -> RunWriter:
        """Records that a run begins, with its input, before its solver is called.

        Args:
            start: What is known of the run.
            content: Its input, or None when it has none.
            durability: What `RunWriter.finish` promises.
            max_spool: Bytes that the spool may hold, or None for no limit.
            capture: What takes its log until it ends; the start names it.
            patterns: What is masked in the log if the process dies before `RunWriter.rewrite_log`; see `masks.keep`.

        Raises:
            SpoolFull: It holds more than it may, and all of it waits for delivery.
            SpoolRefused: The spool is somebody else's, or others may write to it.
            SpoolUnavailable: It cannot be written; nothing of the run is left behind.
        """
        if not self.is_prepared:
            self.prepare()
        if max_spool is not None:
            self.room.admit(max_spool)
        if patterns:
            self._keep_patterns(start.id, patterns)
        try:
            return self._begin(start, content, durability, capture)
        except FileNotFoundError:
            # The folder was there and is gone: somebody cleaned up.
            self.prepare()
        except OSError as error:
            if not self.room.relieve(error):
                raise SpoolUnavailable(layout.reason(error)) from error
        try:
            return self._begin(start, content, durability, capture)
        except OSError as error:
            raise SpoolUnavailable(layout.reason(error)) from error

    def _begin(
        self, start: Start, content: Content | None, durability: Durability, capture: Capture | None
    ) -> RunWriter:
        paths, told = self.paths, self.room.wrote
        run = writer.RunWriter(paths, start.id, durability, start.max_log, told=told, capture=capture)
        try:
            if not run.locked:
                start = structs.replace(start, unlocked=True)
            if content is None:
                run.append(start)
            else:
                run.append(start, run.payload(Input, content))
        except BaseException:
            run.discard()
            raise
        if losses.remembered(self.root):
            losses.add(self.root, 0, create=True)
        return run

    def _keep_patterns(self, run_id: str, patterns: tuple[re.Pattern[str] | None, ...]) -> None:
        try:
            masks.keep(self.paths, run_id, patterns)
        except OSError as error:
            raise SpoolUnavailable(layout.reason(error)) from error

    def prepare(self) -> None:
        """Makes the spool's folders.

        Raises:
            SpoolRefused: The spool is somebody else's, or others may write to it.
            SpoolUnavailable: It cannot be made.
        """
        _prepare_process()
        layout.prepare(self.paths)
        with suppress(OSError):  # It is made when something is lost, then.
            losses.prepare(self.root)
        with suppress(OSError):  # as above, and while there are inodes
            os.close(os.open(self.paths.recovery_lock, LOCK_FILE, 0o600))
        self.room.prepare()
        self.is_prepared = True

    def count_lost(self) -> int:
        """Counts one more run that could not be recorded; returns how many there are."""
        return losses.add(self.root, create=self.is_prepared)

    def entries(self, *states: State, newest_first: bool = False) -> Iterator[Entry]:
        """Lists runs, oldest first, by their names; what is called active is looked at when its turn comes.

        A run whose process died is listed as ready, which is what the next flush makes it.

        Raises:
            SpoolRefused: The spool is somebody else's, or others may write to it.
            SpoolUnavailable: The spool cannot be read.
        """
        self.check()
        wanted = frozenset(states or STATES)
        names = layout.listed(self.paths)
        for name in reversed(names) if newest_first else names:
            run = layout.split_name(name)
            if run is None:
                continue
            run_id, state = run
            died = False
            if state == "active" and wanted & {"active", "ready"}:
                ended = self._has_ended(run_id)
                died = not ended and self.died(run_id)
                state = "ready" if ended or died else state
            if state in wanted:
                yield Entry(run_id, state, died)

    def _has_ended(self, run_id: str) -> bool:
        try:
            return self.paths.has_ended(run_id)
        except OSError as error:
            raise SpoolUnavailable(f"Run {run_id} cannot be looked at: {layout.reason(error)}.") from error

    def waiting(self) -> Waiting:
        """Lists the runs that can be delivered, by their names: those that are ready, then what is unconfirmed.

        Raises:
            SpoolRefused: The spool is somebody else's, or others may write to it.
            SpoolUnavailable: The spool cannot be read.
        """
        self.check()
        return Waiting(layout.waiting(self.paths))

    def check(self) -> None:
        """Refuses a spool that others may write to; one that does not exist yet holds nothing, and passes.

        Raises:
            SpoolRefused: The spool is somebody else's, or others may write to it.
            SpoolUnavailable: The spool cannot be read.
        """
        try:
            for folder in self.paths:
                system.check_private(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise SpoolUnavailable(f"The spool {self.root} cannot be read: {layout.reason(error)}.") from error

    def died(self, run_id: str) -> bool:
        """Says whether an active run's process has died. Takes its lock only for the blink of an eye."""
        try:
            descriptor = layout.open_file(self.paths.run(run_id, "active"), system.READ_APPEND)
        except OSError:
            return False
        try:
            run, _ = reader.load(run_id, descriptor)
            if run is None or owner.is_foreign(run.start.owner):
                return False
            return (not run.start.unlocked and system.try_lock(descriptor)) or owner.is_gone(run.start.owner)
        except (OSError, RunCorrupt):
            return False
        finally:
            os.close(descriptor)

    def find(self, run_id: str) -> Entry:
        """Finds a run by its id, or by the beginning of its id.

        Raises:
            RunNotFound: There is none, or more than one begins so.
        """
        wanted = run_id.upper()
        found = [entry for entry in self.entries() if entry.run_id.startswith(wanted)]
        if len(found) == 1 and wanted:
            return found[0]
        if not found or not wanted:
            raise RunNotFound(f"No run {run_id} is in the spool; `nxtrack list` shows those that are.")
        raise RunNotFound(f"{len(found)} runs begin with {run_id}; give more of the id.")

    def read(self, entry: Entry) -> RunRecord:
        """Reads what is known of a run; of a dead one, what recovery will make of it.

        Raises:
            RunNotFound: It is gone, or another process just changed its state.
            RunCorrupt: Its file is damaged.
            SpoolUnavailable: Its file cannot be opened now.
        """
        state: State = "active" if entry.died else entry.state
        try:
            descriptor = layout.open_file(self.paths.found(entry.run_id, state), system.READ)
        except FileNotFoundError as error:
            raise RunNotFound(f"Run {entry.run_id} is no longer {state}.") from error
        except OSError as error:
            kind = RunCorrupt if error.errno in layout.NO_FILE else SpoolUnavailable
            raise kind(f"Run {entry.run_id} cannot be read: {layout.reason(error)}.") from error
        try:
            run, _ = reader.load(entry.run_id, descriptor)
            if run is None:
                raise RunCorrupt(f"Run {entry.run_id} was never begun.")
            if entry.died:
                run.end = run.end or self.obituary(run, descriptor)
            return run
        finally:
            os.close(descriptor)

    def obituary(self, run: RunRecord, descriptor: int) -> End:
        """Returns the end of a run whose process did not write one, after the time it is known to have run.

        Args:
            run: The run.
            descriptor: Its open file.
        """
        written = os.fstat(descriptor).st_mtime
        with suppress(OSError):  # Not every run has a log.
            written = max(written, os.stat(captures.path_of_log(self.paths, run.start)).st_mtime)  # noqa: PTH116
        began = run.start.at.timestamp()
        lasted = max(0.0, written - began)
        if run.start.monotonic and run.start.owner.boot == owner.this_process().boot:
            # The wall clock may have been set meanwhile; longer than until now it has not lasted.
            lasted = min(lasted, time.monotonic() - run.start.monotonic)
        end = End(
            status="failed",
            at=run.start.at + timedelta(seconds=lasted),
            duration_ms=max(0, round(lasted * 1000)),
            error=DIED,
            recovered=True,
        )
        well = system.marked(descriptor)
        if well is None:
            return end
        # Its process lived on; only the disk took no more.
        note = "The run ended, and the disk took neither its output nor its end."
        if well:
            return structs.replace(end, status="succeeded", error=None, notes=(note,))
        return structs.replace(end, error=note, notes=(note,))

    def artefact(self, run: RunRecord, kind: Artefact) -> Source | None:
        """Returns the bytes of one artefact of a run, or None when it has none of the kind.

        Raises:
            RunCorrupt: They are not what was recorded.
        """
        return artefacts.artefact(self.paths, run, kind)

    def summary(self) -> Summary:
        """Counts what the spool holds.

        Raises:
            SpoolRefused: The spool is somebody else's, or others may write to it.
            SpoolUnavailable: The spool cannot be read.
        """
        self.check()
        # Once over all files, for the sizes and the states: a hundred thousand of them take their time.
        total = 0
        names: list[str] = []
        for name, found in layout.files(self.paths.runs):
            total += found.st_size
            ended = name.endswith(".active") and system.has_ended(found.st_mode)
            names.append(f"{name.removesuffix('active')}ready" if ended else name)
        runs: dict[str, list[str]] = {state: [] for state in STATES}
        for name in layout.ours(names):
            run_id, _, state = name.partition(".")
            runs[state].append(run_id)
        dead = set(filter(self.died, runs["active"]))
        if dead:
            runs["active"] = [run_id for run_id in runs["active"] if run_id not in dead]
            runs["ready"] += dead
        oldest = {state: ids.time_of(min(run_ids)) for state, run_ids in runs.items() if run_ids}
        beside = [layout.folder_size(folder) for folder in self.paths[2:]]
        return Summary(
            counts={state: len(runs[state]) for state in STATES},
            died=len(dead),
            quarantined=beside[-1][0],
            lost=losses.read(self.root),
            size=total + sum(size for _, size in beside),
            oldest_ready=oldest.get("ready"),
            oldest_active=oldest.get("active"),
        )


@cache
def _prepare_process() -> None:
    # Not at import: a program that tracks nothing shall not carry our handler.
    system.at_fork(_forked)


def _forked() -> None:
    writer.detach_all()
    captures.forget()
    losses.forget()
    room.forget()


@cache
def spool(root: str) -> Spool:
    """Returns the spool in a folder: one object for each folder and process."""
    return Spool(root)
