"""What a fault suite counts, and the table it prints."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faults.bench import Bench

T = TypeVar("T")


@dataclass
class Tally:
    """What came of one kind of fault.

    Attributes:
        injections: Faults that were really injected; a point at which nothing happened is none.
        runs: Tracked runs that were exposed to them.
        lost: Runs that the user's process began and that are neither on the platform nor told to be left out.
        doubled: Runs that are on the platform more than once.
        wrong: Runs that arrived with another content, and user programs that noticed us.
        findings: A sentence for each lost, doubled or wrong one, the first ones.
        skipped: Why the kind does not apply on this machine; such a kind counts nothing.
        seconds: How long it took.
    """

    injections: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    findings: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def found(self, what: str, sentence: str) -> None:
        """Counts one `lost`, `doubled` or `wrong`, and keeps the sentence."""
        setattr(self, what, getattr(self, what) + 1)
        if len(self.findings) < 20:
            self.findings.append(f"{what}: {sentence}")


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        name: What the table calls it.
        run: Injects faults, `size` of them or as many as there are points, and has the bench judge each.
        quick: How many in the everyday suite.
        full: How many at full size.
        needs: Returns why the kind does not apply on this machine, or "".
    """

    name: str
    run: Callable[[Bench, int], None]
    quick: int
    full: int
    needs: Callable[[], str] = lambda: ""

    def measure(self, bench: Bench, size: int) -> Tally:
        """Runs the kind and returns what came of it."""
        bench.tally = tally = Tally(skipped=self.needs())
        began = time.monotonic()
        if not tally.skipped:
            self.run(bench, size)
        tally.seconds = time.monotonic() - began
        return tally


def spread(points: Sequence[T], size: int) -> list[T]:
    """Returns at most `size` of the points, evenly spread, the first and the last among them."""
    if len(points) <= size:
        return list(points)
    if size < 2:
        return list(points[:size])
    return [points[round(i * (len(points) - 1) / (size - 1))] for i in range(size)]


def table(rows: Sequence[tuple[str, Tally]]) -> str:
    """Returns the rows as a Markdown table, with their sum at its end."""
    total = Tally()
    lines = ["| fault | injections | runs | lost | doubled | wrong |", "|---|--:|--:|--:|--:|--:|"]
    for name, tally in rows:
        if tally.skipped:
            lines.append(f"| {name} | does not apply here: {tally.skipped} | | | | |")
            continue
        counts = (tally.injections, tally.runs, tally.lost, tally.doubled, tally.wrong)
        lines.append(f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |")
        for what in ("injections", "runs", "lost", "doubled", "wrong"):
            setattr(total, what, getattr(total, what) + getattr(tally, what))
    kinds = sum(1 for _, tally in rows if not tally.skipped)
    counts = (total.injections, total.runs, total.lost, total.doubled, total.wrong)
    lines.append(f"| **{kinds} kinds** | " + " | ".join(f"**{count:,}**" for count in counts) + " |")
    return "\n".join(lines)
