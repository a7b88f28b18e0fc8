"""Owns what one application of the platform can be asked: upload URLs, new runs, the list, and a run's parts."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar
from urllib.parse import quote

import msgspec

from nxtrack.cloud.messages import (
    ContentFormat,
    DownloadURL,
    ListedRun,
    NewRun,
    RunCreated,
    RunInformation,
    RunLogs,
    RunPage,
    RunResult,
    UploadURL,
)
from nxtrack.errors import AnswerLost, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nxtrack.cloud.client import Client

T = TypeVar("T")

INLINE_LIMIT: Final = 5_000_000
"""Bytes up to which an input or output comes inline ("Large payloads"); larger ones come by a URL of their own."""

DOWNLOAD_LIMIT: Final = 100_000_000
"""Bytes that a download may have ("Large payloads"); plans differ, so each call takes its own."""

_AS_URL = {"format": "url"}


class Application:
    """One application.

    Args:
        id: Its id, as in `NEXTMV_APP_ID`.
        client: The way to the platform.

    Raises:
        SettingsError: No application can have that id.
    """

    def __init__(self, id: str, client: Client) -> None:  # noqa: A002  (the platform's name for it)
        if re.fullmatch(r"[A-Za-z0-9._-]{1,128}", id) is None or id in {".", ".."}:
            raise SettingsError(
                f"{id[:130]!r} is no application id: it has 1 to 128 letters, digits, dots, dashes or underscores."
            )
        self.id = id
        self._client = client
        self._path = f"/v1/applications/{quote(id, safe='')}"

    def upload_url(self) -> UploadURL:
        """Asks for a place to upload one artefact to, valid for 15 minutes ("Track runs", step 1)."""
        answer = self._client.call("POST", f"{self._path}/runs/uploadurl", answer=UploadURL)
        if not answer.upload_id or not answer.upload_url:
            raise AnswerLost("The platform gave an upload URL without id or address: try again.")
        return answer

    def upload(
        self,
        source: BinaryIO | bytes,
        size: int | None = None,
        *,
        upload_url: UploadURL,
        content_type: str = "application/json",
    ) -> None:
        """Uploads one artefact; see `Client.put` for what is raised.

        Args:
            source: The bytes, or a file that is read from where it stands.
            size: Bytes to upload; by default all that are left, which a file must be seekable for.
            upload_url: Where to, from the method of that name.
            content_type: The media type.
        """
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        if size is None:
            start = file.tell()
            size = file.seek(0, os.SEEK_END) - start
            file.seek(start)
        self._client.put(upload_url.upload_url, file, size, content_type=content_type)

    def new_run(self, run: NewRun, *, instance_id: str | None = None) -> RunCreated:
        """Posts a run ("Track runs", step 5). There is no idempotency key: after `AnswerLost` it may exist."""
        query = {"instance_id": instance_id} if instance_id else None
        created = self._client.call("POST", f"{self._path}/runs", answer=RunCreated, body=run, query=query)
        if not created.run_id:
            raise AnswerLost("The platform took the run but gave it no id: look for it in the list of runs.")
        return created

    def list_runs(self, *, pages: int | None = None) -> Iterator[ListedRun]:
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
            page = self._client.call("GET", f"{self._path}/runs", answer=RunPage, query=query)
            yield from page.runs
            token = page.next_page_token
            if not token:
                return
            if token in seen:
                raise AnswerLost(f"The list of runs of {self.id} goes round in a circle.")
            seen.add(token)
            query = {"pagetoken": token}
        raise AnswerLost(f"The list of runs of {self.id} is too long to be looked through.")

    def run_metadata(self, id: str) -> RunInformation:  # noqa: A002
        """Returns what is known of a run besides its payloads."""
        return self._client.call("GET", f"{self._run(id)}/metadata", answer=RunInformation)

    def run_result(self, id: str, *, limit: int = DOWNLOAD_LIMIT) -> RunResult:  # noqa: A002
        """Returns a run with its output.

        Args:
            id: The run's id.
            limit: Bytes that the output may have.

        Returns:
            The run; an output that is no JSON is left as `{"url": ...}`, and `run_output` gives its bytes.
        """
        metadata = self.run_metadata(id).metadata
        inline = _is_inline(metadata.format.output, metadata.output_size)
        query = None if inline else _AS_URL
        result = self._client.call("GET", self._run(id), answer=RunResult, query=query)
        if isinstance(result.output, msgspec.Raw) and not inline and _is_json(metadata.format.output):
            place = _decode(bytes(result.output), DownloadURL)
            result.output = _decode(self._client.download(place.url, limit=limit), msgspec.Raw)
        return result

    def run_input(self, id: str, *, limit: int = DOWNLOAD_LIMIT) -> bytes:  # noqa: A002
        """Returns a run's input, of at most `limit` bytes, as it was given."""
        metadata = self.run_metadata(id).metadata
        inline = _is_inline(metadata.format.input, metadata.input_size)
        return self._payload(f"{self._run(id)}/input", limit, inline=inline)

    def run_output(self, id: str, *, limit: int = DOWNLOAD_LIMIT) -> bytes:  # noqa: A002
        """Returns a run's output, of at most `limit` bytes, as it was given."""
        metadata = self.run_metadata(id).metadata
        inline = _is_inline(metadata.format.output, metadata.output_size)
        return self._payload(f"{self._run(id)}/output", limit, inline=inline)

    def run_logs(self, id: str, *, limit: int = DOWNLOAD_LIMIT) -> str:  # noqa: A002
        """Returns a run's logs; their answer may have `limit` bytes."""
        return self._client.call("GET", f"{self._run(id)}/logs", answer=RunLogs, limit=limit).log

    def _run(self, id: str) -> str:  # noqa: A002
        if not id or id in {".", ".."}:  # these would lead to another resource
            raise SettingsError(f"{id!r} is no run id.")
        return f"{self._path}/runs/{quote(id, safe='')}"

    def _payload(self, path: str, limit: int, *, inline: bool) -> bytes:
        if inline:
            return self._client.fetch("GET", path, limit=limit)
        place = self._client.call("GET", path, answer=DownloadURL, query=_AS_URL)
        return self._client.download(place.url, limit=limit)


def _is_json(form: ContentFormat | None) -> bool:
    return form is None or form.type == "json"


def _is_inline(form: ContentFormat | None, size: float) -> bool:
    return size <= INLINE_LIMIT and _is_json(form)


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    raise AnswerLost("The platform gave an output that is no JSON: `run_output` returns it as it is.")
