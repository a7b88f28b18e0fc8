"""Owns what can be asked of an application's runs: to be posted, listed, looked at, canceled; and what they hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, overload
from urllib.parse import quote

import msgspec

from nxtrack.cloud import livelogs, transfers
from nxtrack.cloud.client import ANSWER_LIMIT, Client
from nxtrack.cloud.limits import DEFAULT_LIMITS, Limits
from nxtrack.cloud.messages import (
    ListedRun,
    LiveLogs,
    RunCreated,
    RunInformation,
    RunListItem,
    RunLogs,
    RunPage,
    RunResult,
    read_message,
)
from nxtrack.cloud.reading import AS_URL, Stored, decoded
from nxtrack.cloud.retries import HARMLESS, UNDONE
from nxtrack.errors import AnswerLost, SettingsError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from nxtrack.cloud.messages import ErrorLog, LogEntry, NewRun
    from nxtrack.cloud.transfers import Progress

T = TypeVar("T")
Part = Literal["input", "output"]

_LONGEST_ID = 500


class Runs:
    """The runs of one application; see `Application`, which says what its arguments are."""

    def __init__(
        self,
        id: str,  # noqa: A002  (the platform's name for it)
        client: Client | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        default_instance_id: str | None = None,
    ) -> None:
        # Where a variable is not set, None comes.
        if re.fullmatch(r"[A-Za-z0-9._-]{1,128}", id or "") is None or id in {".", ".."}:
            raise SettingsError(
                f"{id!r:.130} is no application id: it has 1 to 128 letters, digits, dots, dashes or underscores."
            )
        self.id = id
        self.client = client or Client()
        self.limits = limits
        self.default_instance_id = default_instance_id
        self.endpoint = f"/v1/applications/{quote(id, safe='')}"

    def post_run(self, run: NewRun, *, instance_id: str | None = None) -> str:
        """Posts a run once, as it is ("Track runs", step 5); `new_run` and `track_run` do the rest.

        There is no idempotency key: after `AnswerLost` the platform may have taken it.
        """
        query = {"instance_id": instance_id} if instance_id else None
        created = self.client.call("POST", f"{self.endpoint}/runs", answer=RunCreated, body=run, query=query)
        if not (created.run_id.isprintable() and 0 < len(created.run_id) <= _LONGEST_ID):
            raise AnswerLost("The platform took the run but gave it no id: look for it in the list of runs.")
        return created.run_id

    def list_runs(self, *, pages: int | None = None) -> Iterator[RunListItem]:
        """Yields the application's runs, newest first as far as seen, asking for pages as they are needed.

        Args:
            pages: Pages to ask for at most; 50 runs a page have been seen.

        Raises:
            AnswerLost: The list goes on behind the last of those pages, or goes round in a circle, so what it does
                not hold is not known.
        """
        query: dict[str, str] | None = None
        seen: set[str] = set()
        while pages is None or len(seen) < pages:
            page = self._get(f"{self.endpoint}/runs", RunPage, query=query)
            for item in page.runs:
                yield _listed(item)
            token = page.next_page_token
            if not token:
                return
            if token in seen:
                raise AnswerLost(f"The list of runs of {self.id} goes round in a circle.")
            seen.add(token)
            query = {"pagetoken": token}
        raise AnswerLost(f"The list of runs of {self.id} is too long to be looked through.")

    def run_metadata(self, run_id: str) -> RunInformation:
        """Returns what is known of a run besides its payloads."""
        return self._get(f"{self._run(run_id)}/metadata", RunInformation)

    def run_result(self, run_id: str, *, limit: int | None = None) -> RunResult:
        """Returns a run with its output, whether it has ended, and how, or not.

        Args:
            run_id: The run's id.
            limit: Bytes that the output may have; by default `limits.download`.

        Returns:
            The run. Its `output` is the decoded JSON; None where there is none, or where it is no JSON: `run_output`
            gives its bytes.

        Raises:
            TooLarge: The output has more bytes.
        """
        path = self._run(run_id)
        stored = self._stored(run_id, "output")
        if stored.is_inline:
            return self._result(path)
        result = self._result(path, AS_URL)
        # The URL is a secret, and this is what people print.
        result.output = decoded(stored.bytes_of(limit)) if result.output is not None and stored.is_json else None
        return result

    def run_error_log(self, run_id: str) -> ErrorLog | None:
        """Returns what a failed run said, or None for one that has not failed."""
        return self._result(self._run(run_id), AS_URL).error_log

    @overload
    def run_output(
        self, run_id: str, to: None = None, *, limit: int | None = None, progress: Progress | None = None
    ) -> bytes: ...
    @overload
    def run_output(
        self,
        run_id: str,
        to: str | os.PathLike[str],
        *,
        unpack: bool = False,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Path: ...
    def run_output(
        self,
        run_id: str,
        to: str | os.PathLike[str] | None = None,
        *,
        unpack: bool = False,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> bytes | Path:
        """Returns a run's output as it was given, or writes it to a file in constant memory.

        Args:
            run_id: The run's id.
            to: The file; until all is there, what stands under this name stays as it is.
            unpack: The output is an archive, and `to` a folder to put its files into, which is new or empty.
            limit: Bytes that it may have; by default `limits.download`.
            progress: Told the bytes that are through, and all.

        Returns:
            The bytes, or the path.

        Raises:
            TooLarge: It has more bytes; none was kept.
            NotFound: There is no such run, or it has no output.
            ArchiveRefused: It is no archive that is safe to unpack.
            CloudError: It could not be had.
            OSError: The file cannot be written.
        """
        stored = self._stored(run_id, "output")
        if to is None:
            return stored.bytes_of(limit, progress)
        return stored.write(to, limit, unpack=unpack, progress=progress)

    @overload
    def run_input(
        self, run_id: str, to: None = None, *, limit: int | None = None, progress: Progress | None = None
    ) -> bytes: ...
    @overload
    def run_input(
        self,
        run_id: str,
        to: str | os.PathLike[str],
        *,
        unpack: bool = False,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Path: ...
    def run_input(
        self,
        run_id: str,
        to: str | os.PathLike[str] | None = None,
        *,
        unpack: bool = False,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> bytes | Path:
        """Returns a run's input as it was given, or writes it to a file in constant memory; as `run_output`."""
        stored = self._stored(run_id, "input")
        if to is None:
            return stored.bytes_of(limit, progress)
        return stored.write(to, limit, unpack=unpack, progress=progress)

    @overload
    def run_logs(self, run_id: str, to: None = None, *, limit: int | None = None) -> str: ...
    @overload
    def run_logs(self, run_id: str, to: str | os.PathLike[str], *, limit: int | None = None) -> Path: ...
    def run_logs(
        self, run_id: str, to: str | os.PathLike[str] | None = None, *, limit: int | None = None
    ) -> str | Path:
        """Returns a run's logs, or writes them to a file.

        Args:
            run_id: The run's id.
            to: The file.
            limit: Bytes that the answer may have; by default `limits.download`.
        """
        logs = self._get(f"{self._run(run_id)}/logs", RunLogs, limit=self._limit(limit)).log
        if to is None:
            return logs
        with transfers.written(to) as file:
            file.write(logs.encode("utf-8", "replace"))
        return Path(to)

    def follow_logs(self, run_id: str) -> Iterator[LogEntry]:
        """Yields what a run logs, as it comes, from its beginning until it has ended.

        Raises:
            CloudError: The platform could not be asked.
        """
        return livelogs.follow(self, run_id)

    def live_logs(self, run_id: str, since: str = "") -> LiveLogs:
        """Returns what a run has logged since an answer whose `next_page_token` is given (SDK)."""
        query = {"since": since} if since else None
        return self._get(f"{self._run(run_id)}/logs/live", LiveLogs, query=query)

    def cancel_run(self, run_id: str) -> None:
        """Has a run stopped that waits or runs; it ends as `canceled`."""
        path = f"{self._run(run_id)}/cancel"
        self.client.patience.repeat(lambda: self.client.fetch("PATCH", path), HARMLESS)

    def delete_run(self, run_id: str) -> None:
        """Deletes a run with all it holds (SDK)."""
        path = self._run(run_id)
        self.client.patience.repeat(lambda: self.client.fetch("DELETE", path), UNDONE)

    def _get(
        self, path: str, answer: type[T], *, query: Mapping[str, str] | None = None, limit: int = ANSWER_LIMIT
    ) -> T:
        return self.client.patience.repeat(
            lambda: self.client.call("GET", path, answer=answer, query=query, limit=limit), HARMLESS
        )

    def _result(self, path: str, query: Mapping[str, str] | None = None) -> RunResult:
        # A failed run's log stands in it as well.
        return self._get(path, RunResult, query=query, limit=ANSWER_LIMIT + self.limits.download)

    def _limit(self, limit: int | None) -> int:
        return self.limits.download if limit is None else limit

    def _run(self, run_id: str) -> str:
        if not run_id or run_id in {".", ".."}:  # these would lead to another resource
            raise SettingsError(f"{run_id!r} is no run id.")
        return f"{self.endpoint}/runs/{quote(run_id, safe='')}"

    def _stored(self, run_id: str, part: Part) -> Stored:
        path = self._run(run_id)
        known = self.run_metadata(run_id).metadata
        form = known.format.input if part == "input" else known.format.output
        return Stored(
            runs=self,
            path=f"{path}/{part}",
            what=f"The {part} of run {run_id}",
            form="json" if form is None else form.type,
            size=known.input_size if part == "input" else known.output_size,
        )


def _listed(raw: msgspec.Raw) -> RunListItem:
    """Returns a run of a list; of one that holds anything odd, only what tells it again."""
    try:
        return read_message(bytes(raw), RunListItem)
    except (ValueError, RecursionError):
        pass
    try:
        run = msgspec.json.decode(raw, type=ListedRun)
    except (ValueError, RecursionError):
        pass
    else:
        return RunListItem(id=run.id, description=run.description or "", created_at=run.created_at or "")
    raise AnswerLost("The platform's list holds a run that cannot be read.")
