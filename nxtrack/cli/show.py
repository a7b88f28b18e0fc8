"""Owns `nxtrack show`: all that is known of one run, as a page, as JSON, or one artefact's bytes as they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack import settings
from nxtrack.cli.output import ago, emit, line, on_stdout, plain, rfc3339, say, shorten, size, span
from nxtrack.cli.page import folded, metrics, options
from nxtrack.cli.runs import Row, row
from nxtrack.errors import FileUnusable, RunCorrupt, RunNotFound
from nxtrack.spool.records import ARCHIVES
from nxtrack.spool.store import Spool, spool

if TYPE_CHECKING:
    from nxtrack.spool.artefacts import Source
    from nxtrack.spool.listing import Entry
    from nxtrack.spool.reader import RunRecord
    from nxtrack.spool.records import Artefact, Form

_ARTEFACTS: tuple[Artefact, ...] = ("input", "output", "logs")
_LOG_BYTES = 16_384
_LOG_LINES = 12
_PAYLOAD_LINES = {"input": 8, "output": 16}
_READ_BYTES = 4_000_000
_STATES = {
    "active": "active: its process lives",
    "ready": "ready: it waits for delivery",
    "unconfirmed": "unconfirmed: the platform may have taken it; the next flush looks before sending again",
    "synced": "synced: the platform has it",
    "rejected": "rejected: the platform will not take it as it is",
}


class Detail(Row, kw_only=True):
    """A run with all that is known of it.

    Attributes:
        input: Its input, as JSON; a text as a string, and null for an archive.
        input_format: What it is; `json` too when there is none.
        output: Its output; likewise.
        output_format: What it is.
        logs: Its logs as text; bytes that are no UTF-8 are shown as U+FFFD.
        metrics: The last value of each metric.
        options: Its options, as the platform gets them.
        source: What was tracked.
        notes: What was altered or left out when it was recorded.
    """

    input: msgspec.Raw | None
    input_format: Form
    output: msgspec.Raw | None
    output_format: Form
    logs: str
    metrics: dict[str, Any]
    options: dict[str, str]
    description: str | None
    instance_id: str | None
    batch_experiment_id: str | None
    source: str
    pid: int
    ended_at: str | None
    notes: list[str]


def show(run_id: str, *, as_json: bool) -> int:
    """Prints all that is known of a run.

    Args:
        run_id: Its id, or the beginning of it.
        as_json: As a JSON object.

    Returns:
        The exit status.

    Raises:
        RunNotFound: There is no such run, or more than one.
        RunCorrupt: Its file is damaged.
    """
    runs = spool(settings.spool_dir(settings.current()))
    entry, run = _read(runs, run_id)
    if as_json:
        emit(_detail(runs, entry, run))
    else:
        say(*_page(runs, entry, run))
    return 0


def print_artefact(run_id: str, kind: Artefact) -> int:
    """Prints the bytes of one artefact on stdout, as they are.

    Raises:
        RunNotFound: There is no such run, or it has no artefact of the kind.
        RunCorrupt: They are not what was recorded.
    """
    runs = spool(settings.spool_dir(settings.current()))
    entry, run = _read(runs, run_id)
    source = runs.artefact(run, kind)
    if source is None:
        if kind == "logs":  # A solver that printed nothing has logs, and they are empty.
            return 0
        raise RunNotFound(f"Run {entry.run_id} has no {kind}.")
    if run.form(kind) in ARCHIVES and sys.stdout.isatty():
        raise FileUnusable(f"The {kind} of run {entry.run_id} is an archive, a .tar.gz: send it to a file.")
    left = source.size
    with source.open() as file:
        while left and (chunk := file.read(min(left, 1 << 20))):
            with on_stdout() as stdout:
                stdout.buffer.write(chunk)
            left -= len(chunk)
    return 0


def _read(runs: Spool, run_id: str) -> tuple[Entry, RunRecord]:
    entry = runs.find(run_id)
    try:
        return entry, runs.read(entry)
    except RunNotFound:
        # It changed its state between the two looks, which it does rarely: the second time settles it.
        entry = runs.find(run_id)
        return entry, runs.read(entry)


def _detail(runs: Spool, entry: Entry, run: RunRecord) -> Detail:
    sources = {kind: runs.artefact(run, kind) for kind in _ARTEFACTS if run.form(kind) not in ARCHIVES}
    data = {kind: source.read() for kind, source in sources.items() if source is not None}
    return Detail(
        **msgspec.structs.asdict(row(entry, run)),
        input=_embedded(data.get("input"), run.form("input")),
        input_format=run.form("input"),
        output=_embedded(data.get("output"), run.form("output")),
        output_format=run.form("output"),
        logs=data.get("logs", b"").decode("utf-8", "replace"),
        metrics={metric.name: metric.value for metric in run.metrics},
        options=run.start.options,
        description=run.start.description or None,
        instance_id=run.start.instance_id,
        batch_experiment_id=run.start.batch_experiment_id,
        source=run.start.source,
        pid=run.start.owner.pid,
        ended_at=rfc3339(run.end.at) if run.end else None,
        notes=_notes(run),
    )


def _embedded(data: bytes | None, form: Form) -> msgspec.Raw | None:
    if data is None:
        return None
    return msgspec.Raw(data if form == "json" else msgspec.json.encode(data.decode("utf-8", "replace")))


def _notes(run: RunRecord) -> list[str]:
    notes: list[str] = []
    for name, record in (("input", run.input), ("output", run.output)):
        notes += [f"{name}: {note}" for note in record.notes] if record else []
    return notes + list(run.end.notes if run.end else ())


def _page(runs: Spool, entry: Entry, run: RunRecord) -> list[str]:
    start, end = run.start, run.end
    facts = [("state", _STATES[entry.state])]
    if run.rejected:
        facts.append(("", line(run.rejected.error, 400)))
    took = "" if end is None else f", took {span(end.duration_ms / 1000)}"
    facts += [
        ("status", "still running" if end is None else end.status + (f": {line(end.error, 400)}" if end.error else "")),
        ("began", f"{start.at.astimezone():%Y-%m-%d %H:%M:%S %Z} ({ago(start.at)}){took}"),
        ("tracked", f"{line(start.source)} (pid {start.owner.pid})"),
        ("application", line(start.app_id or "none named: NEXTMV_APP_ID or --app-id decides when flushing")),
    ]
    if run.posted:
        facts.append(("platform", f"run {line(run.posted.run_id)} of {line(run.posted.place)}"))
    named = (("name", start.name), ("description", start.description), ("instance", start.instance_id))
    facts += [(label, line(value, 400)) for label, value in named if value]
    page = [f"Run {entry.run_id}", *(f"  {label:<12} {text}".rstrip() for label, text in facts if text)]
    page += options(start.options) + metrics(run.metrics)
    for kind in ("input", "output"):
        page += _payload(runs, run, kind, entry.run_id)
    page += _log_tail(runs, run)
    if notes := _notes(run):
        page += ["", "Altered or left out when it was recorded:", *(f"  {line(note, 400)}" for note in notes)]
    return page + _next(entry, run)


def _next(entry: Entry, run: RunRecord) -> list[str]:
    """Returns what there is to do with the run, the likeliest first."""
    hints: list[str] = []
    if entry.state in {"ready", "unconfirmed"}:
        hints.append("`nxtrack flush` delivers it")
    elif entry.state == "rejected":
        hints.append(f"`nxtrack retry {entry.run_id}` sends it back")
    if run.end is not None and run.input is not None:
        hints.append(f"`nxtrack replay {entry.run_id} module:function` runs it again")
    return ["", f"Next: {'; '.join(hints)}."] if hints else []


def _payload(runs: Spool, run: RunRecord, kind: Artefact, run_id: str) -> list[str]:
    """Returns the beginning of a payload, folded, and how to get at all of it."""
    title = kind.capitalize()
    command = f"`nxtrack show {run_id} --{kind}` prints it"
    try:
        source = runs.artefact(run, kind)
        if source is None:
            return ["", f"{title}: none"]
        data = source.read() if source.size <= _READ_BYTES else b""
        lines, whole = folded(data, _PAYLOAD_LINES[kind]) if data else ([], False)
    except RunCorrupt as error:
        return ["", f"{title}: {line(str(error))}"]
    more = [] if whole else [f"  … {size(source.size)} in all; {command}"]
    form = "" if run.form(kind) == "json" else f" ({run.form(kind)})"
    return ["", f"{title}{form}:", *(f"  {text}" for text in lines), *more]


def _log_tail(runs: Spool, run: RunRecord) -> list[str]:
    source = runs.artefact(run, "logs")
    if source is None:
        return []
    lines, whole = _last_lines(source)
    title = "Log:" if whole else f"Log, its last {len(lines)} lines; `nxtrack show {run.start.id} --logs` prints all:"
    # Progress bars overwrite their line by carriage returns; what was seen last is what counts.
    return ["", title, *(f"  {shorten(plain(text.rstrip().rpartition(chr(13))[2].expandtabs()))}" for text in lines)]


def _last_lines(source: Source) -> tuple[list[str], bool]:
    with source.open() as file:
        start = max(0, source.size - _LOG_BYTES)
        skip = start
        while skip and (passed := file.read(min(skip, 1 << 20))):
            skip -= len(passed)
        lines = file.read(source.size - start).decode("utf-8", "replace").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines[-_LOG_LINES:], not start and len(lines) <= _LOG_LINES
