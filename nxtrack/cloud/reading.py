"""Owns how a run's input and output come back: inline or by a presigned URL, into the memory or into a file."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nxtrack.cloud import archives, transfers
from nxtrack.cloud.messages import DownloadURL
from nxtrack.cloud.payloads import too_large
from nxtrack.cloud.retries import HARMLESS
from nxtrack.errors import AnswerLost

if TYPE_CHECKING:
    import os

    from nxtrack.cloud.messages import Form
    from nxtrack.cloud.runs import Runs
    from nxtrack.cloud.transfers import Progress

AS_URL: Final = {"format": "url"}
"""The query that asks for a presigned URL in place of the bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An input or output as the platform keeps it.

    Attributes:
        runs: The way to it.
        path: Its own path.
        what: What it is, as a sentence begins.
        form: Its format.
        size: Bytes that it has, as the run's metadata say.
    """

    runs: Runs
    path: str
    what: str
    form: Form
    size: float

    @property
    def is_json(self) -> bool:
        """Whether an answer can hold it."""
        return self.form == "json"

    @property
    def is_inline(self) -> bool:
        """Whether an answer does hold it."""
        return self.is_json and self.size <= self.runs.limits.inline

    def bytes_of(self, limit: int | None, progress: Progress | None = None) -> bytes:
        """Returns it; see `Runs.run_output`."""
        limit = self._checked(limit)
        client = self.runs.client
        if self.is_inline:
            return client.patience.repeat(lambda: client.fetch("GET", self.path, limit=limit), HARMLESS)
        file = io.BytesIO()
        transfers.download_into(client, file, ask=self._ask, limit=limit, progress=progress)
        return file.getvalue()

    def write(self, to: str | os.PathLike[str], limit: int | None, *, unpack: bool, progress: Progress | None) -> Path:
        """Writes it, by a URL whatever its size, so that it comes byte for byte; see `Runs.run_output`."""
        limit = self._checked(limit)
        client = self.runs.client
        if unpack:
            with tempfile.TemporaryDirectory(prefix="nxtrack-") as folder:
                archive = Path(folder, "archive.tar.gz")
                transfers.download(client, archive, ask=self._ask, limit=limit, progress=progress)
                archives.unpack(archive, to, what=self.what)
        else:
            transfers.download(client, to, ask=self._ask, limit=limit, progress=progress)
        return Path(to)

    def _checked(self, limit: int | None) -> int:
        limit = self.runs.limits.download if limit is None else limit
        if self.size > limit:
            raise too_large(self.what, int(self.size), limit)
        return limit

    def _ask(self) -> str:
        return self.runs.client.call("GET", self.path, answer=DownloadURL, query=AS_URL).url


def decoded(data: bytes) -> Any:
    """Returns what a JSON output says.

    Raises:
        AnswerLost: It is no JSON.
    """
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):
        pass
    raise AnswerLost("The platform gave an output that is no JSON: `run_output` returns it as it is.")
