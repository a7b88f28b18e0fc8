"""Owns `nxtrack status`: what the spool holds, at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nxtrack import settings
from nxtrack.cli.output import ago, emit, folder, line, rfc3339, say, size, them
from nxtrack.errors import SpoolError
from nxtrack.spool.store import Spool, spool

if TYPE_CHECKING:
    from nxtrack.settings import Settings
    from nxtrack.spool.layout import State
    from nxtrack.spool.listing import Summary
    from nxtrack.spool.reader import RunRecord


def status(*, as_json: bool) -> int:
    """Prints what the spool holds.

    Returns:
        The exit status.
    """
    chosen = settings.current()
    runs = spool(settings.spool_dir(chosen))
    summary = runs.summary()
    if as_json:
        emit(
            {
                **summary.counts,
                "died": summary.died,
                "quarantined": summary.quarantined,
                "lost": summary.lost,
                "bytes": summary.size,
                "oldest_ready": rfc3339(summary.oldest_ready),
            }
        )
    else:
        say(*_page(runs, summary, chosen))
    return 0


def _page(runs: Spool, summary: Summary, chosen: Settings) -> list[str]:
    most = "" if chosen.max_spool is None else f" of {size(chosen.max_spool)}"
    counts = summary.counts
    rows = [(counts["active"], "active", _active(runs, summary)), (counts["ready"], "ready", _ready(summary))]
    if number := counts["unconfirmed"]:
        hint = f"the platform may have taken {them(number)}; `nxtrack flush` looks before sending again"
        rows.append((number, "unconfirmed", hint))
    if number := counts["synced"]:
        rows.append((number, "synced", f"`nxtrack clean` removes {them(number)}"))
    if counts["rejected"]:
        rows.append((counts["rejected"], "rejected", _rejected(runs)))
    if summary.quarantined:
        hint = f"damaged, set aside in {folder(runs.paths.quarantine)}"
        rows.append((summary.quarantined, "quarantined", hint))
    rows.append((summary.lost, "lost", "could not be recorded: no room, or no permission" if summary.lost else ""))
    width = max(len(str(number)) for number, _, _ in rows)
    names = max(len(name) for _, name, _ in rows)
    return [
        f"spool  {folder(runs.root)}   {size(summary.size)}{most}",
        *(f" {number:>{width}} {name:<{names}}  {hint}".rstrip() for number, name, hint in rows),
    ]


def _active(runs: Spool, summary: Summary) -> str:
    if summary.oldest_active is None:
        return ""
    run = _first(runs, "active")
    who = f" (pid {run.start.owner.pid} {line(run.start.source, 60)})" if run else ""
    return f"oldest began {ago(summary.oldest_active)}{who}"


def _ready(summary: Summary) -> str:
    if summary.oldest_ready is None:
        return ""
    died = f", {summary.died} of a process that died" if summary.died else ""
    return f"oldest {ago(summary.oldest_ready)}{died}; `nxtrack flush` delivers {them(summary.counts['ready'])}"


def _rejected(runs: Spool) -> str:
    run = _first(runs, "rejected")
    if run is None or run.rejected is None:
        return "`nxtrack list --state rejected`"
    return f"{line(run.rejected.error, 80)} `nxtrack show {run.start.id}`"


def _first(runs: Spool, state: State) -> RunRecord | None:
    for entry in runs.entries(state):
        try:
            return runs.read(entry)
        except SpoolError:  # Damaged, or gone on to another state: the counts tell enough.
            return None
    return None
