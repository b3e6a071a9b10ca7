"""Judges the anchors in the store: whose they are, and that none of them is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from morph_assets.connections import Connections
from morph_assets.registry.audit.anchor import NO_ANCHOR, Anchor, verify_anchor
from morph_assets.registry.audit.finding import Finding, Tampering
from morph_assets.registry.relays import relay_seq
from morph_assets.usecases.find_anchors import StoredAnchor, find_anchors, find_newest_anchor
from morph_kernels.artifact.verdict import Rejected


@dataclass(frozen=True)
class CheckedAnchors:
    """The anchors that may be believed, by number, and what is wrong with the others."""

    believed: tuple[Anchor, ...]
    findings: tuple[Finding, ...]

    @property
    def newest(self) -> Anchor | None:
        """The newest one that may be believed."""
        return self.believed[-1] if self.believed else None


def check_anchors(connections: Connections, *, newest_only: bool = False) -> CheckedAnchors:
    """Judge every anchor, or the newest alone.

    The newest must be signed by an auditor who is trusted now. An older one was made before the one behind it, which
    names its digest: its key must have been valid then, so that a key that has ended since spoils nothing.

    Raises:
        StoreError: the store does not answer.
        TrustError: the trust file cannot be believed.
    """
    if newest_only:
        newest = find_newest_anchor(connections)
        stored = {} if newest is None else {newest.number: newest}
        lowest = min(stored, default=1)
    else:
        stored, lowest = find_anchors(connections), 1
    known = relay_seq(connections.registry("auditor"), "anchor")
    highest = max([known, *stored])
    missing = [
        _finding(number, Tampering.ANCHOR_MISSING, _why_missing(number, known, stored))
        for number in range(lowest, highest + 1)
        if number not in stored
    ]
    believed, forged = _judge(connections, [stored[number] for number in sorted(stored)])
    findings = sorted([*missing, *forged], key=lambda finding: finding.position)
    return CheckedAnchors(tuple(believed), tuple(findings))


def _judge(connections: Connections, stored: Sequence[StoredAnchor]) -> tuple[list[Anchor], list[Finding]]:
    trust, now = connections.trust(), datetime.now(UTC)
    believed, forged = list[Anchor](), list[Finding]()
    later: Anchor | None = None
    for anchor in reversed(stored):
        verdict = verify_anchor(anchor.envelope, number=anchor.number, trust=trust, now=now)
        if isinstance(verdict, Rejected):
            forged.append(_finding(anchor.number, Tampering.ANCHOR_FORGED, f"{verdict.reason}: {verdict.detail}"))
            later = None
            continue
        if later is not None and later.number == anchor.number + 1 and later.previous != anchor.digest:
            forged.append(_finding(anchor.number, Tampering.ANCHOR_FORGED, "not the one that the next anchor names"))
            continue
        if anchor.number == 1 and verdict.previous != NO_ANCHOR:
            forged.append(_finding(1, Tampering.ANCHOR_FORGED, "names an anchor before the first"))
        believed.append(verdict)
        later, now = verdict, verdict.issued_at
    return believed[::-1], forged


def _why_missing(number: int, known: int, stored: dict[int, StoredAnchor]) -> str:
    later = [found for found in stored if found > number]
    return f"the store has anchor {min(later)}" if later else f"the registry remembers to have made anchor {known}"


def _finding(number: int, kind: Tampering, detail: str) -> Finding:
    return Finding("anchors", number, kind, detail)
