"""Gathers what belongs to one run before it is stored: payloads, and the metrics and assets found in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nxtrack.server.data.records import Artefact, StoredAsset

if TYPE_CHECKING:
    from nxtrack.server.data.contents import Findings
    from nxtrack.server.data.files import Draft, Payloads


@dataclass(kw_only=True)
class Gathering:
    """What one run has.

    Attributes:
        made: The payloads that were made for it: to be removed when it is not stored.
    """

    payloads: Payloads
    artefacts: dict[str, Artefact] = field(default_factory=dict[str, Artefact])
    assets: list[StoredAsset] = field(default_factory=list[StoredAsset])
    metrics: dict[str, Any] | None = None
    made: list[str] = field(default_factory=list[str])

    def add(self, kind: str, data: bytes) -> None:
        """Stores bytes that came with a request, or out of another payload."""
        payload = self.payloads.add(data)
        self.made.append(payload)
        self.artefacts[kind] = Artefact(payload=payload, size=len(data))

    def keep(self, kind: str, draft: Draft) -> Artefact:
        """Takes over what was written to a draft."""
        payload = draft.keep()
        self.made.append(payload)
        artefact = self.artefacts[kind] = Artefact(payload=payload, size=draft.size)
        return artefact

    def drop(self, kind: str) -> None:
        """Forgets one payload, and removes it."""
        payload = self.artefacts.pop(kind).payload
        self.made.remove(payload)
        self.payloads.remove([payload])

    def adopt(self, findings: Findings) -> None:
        """Takes over what was found in a payload; what was found last wins."""
        if findings.metrics is not None:
            self.metrics = findings.metrics
        if not findings.assets:
            return
        self.assets = []
        for number, asset in enumerate(findings.assets):
            kind = f"asset-{number}"
            self.add(kind, bytes(asset.content))
            self.assets.append(
                StoredAsset(
                    kind=kind,
                    name=asset.name,
                    description=asset.description or "",
                    content_type=asset.content_type,
                    visual=asset.visual,
                )
            )

    def forget(self) -> None:
        """Removes the payloads that were made, as the run is not stored."""
        self.payloads.remove(self.made)
        self.made.clear()
