"""Signs where every chain stands and puts it outside of the database, so that not even its owner can rewrite them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from morph_assets.connections import Connections
from morph_assets.registry.audit.anchor import NO_ANCHOR, Anchor, current_heads, tenant_digest, verify_anchor
from morph_assets.registry.audit.chain import read_rows
from morph_assets.registry.events import LOG, SECURITY, Chain, ChainHead, RelayName
from morph_assets.registry.relays import UnanchoredWindow, advance_relay, relay_seq, unanchored_window
from morph_assets.usecases.archive_log import archive_log
from morph_assets.usecases.find_anchors import StoredAnchor, find_newest_anchor
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.errors import MorphError
from morph_kernels.store.keys import anchor_key

_ATTEMPTS = 20


class AnchorRefusedError(MorphError):
    """The newest anchor cannot be gone on from: nobody trusted signed it, or the log no longer holds what it says."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"anchor {number}: {why}; run `morph audit verify`")
        self.number = number


class AnchorContestedError(MorphError):
    """Other auditors kept signing the next number first."""

    retryable: ClassVar[bool] = True

    def __init__(self, number: int) -> None:
        super().__init__(f"anchor {number}: other auditors kept being first; try again")


@dataclass(frozen=True)
class AnchoredLog:
    """The newest anchor, what it says of this tenant, and what had waited for it.

    `created` is False where nothing had happened since the anchor before, or somebody else's covers it.
    """

    number: int
    seq: int
    hash: bytes
    created: bool
    waited: UnanchoredWindow


def anchor_log(connections: Connections) -> AnchoredLog:
    """Archive what is not yet in the store, then sign the heads of all chains under the next number.

    Raises:
        StoreError: the store does not answer.
        SignerError: the auditor's signer failed.
        AnchorRefusedError: the newest anchor is not the auditor's, or the log contradicts it.
        AnchorContestedError: others were always first; a later try may win.
    """
    for chain in (LOG, SECURITY):
        archive_log(connections, chain)
    registry = connections.registry("auditor")
    waited = unanchored_window(registry)
    for _ in range(_ATTEMPTS):
        newest = find_newest_anchor(connections)
        known = None if newest is None else _judge(connections, newest)
        timeline, heads = current_heads(registry)
        if newest is not None and known is not None and (known.timeline, dict(known.heads)) == (timeline, heads):
            return _remember(connections, known, created=False, waited=waited)
        anchor = Anchor(
            number=1 if newest is None else newest.number + 1,
            previous=NO_ANCHOR if newest is None else newest.digest,
            timeline=timeline,
            issued_at=datetime.now(UTC),
            heads=heads,
        )
        envelope = connections.signer(Role.AUDITOR).sign(anchor.to_document())
        if connections.store.put_if_absent(anchor_key(anchor.number), envelope):
            return _remember(connections, anchor, created=True, waited=waited)
    raise AnchorContestedError(anchor.number)


def _judge(connections: Connections, newest: StoredAnchor) -> Anchor:
    """Return the anchor that the next one goes on from: the auditor's, and still true of this tenant's chains."""
    verdict = verify_anchor(newest.envelope, number=newest.number, trust=connections.trust(), now=datetime.now(UTC))
    if isinstance(verdict, Rejected):
        raise AnchorRefusedError(newest.number, f"{verdict.reason}: {verdict.detail}")
    head = verdict.head_of(connections.tenant)
    timeline, _ = current_heads(connections.registry("auditor"))
    # A restored backup has lost what came after it: its new timeline says so, and is anchored in its turn.
    if head is not None and verdict.timeline == timeline:
        for chain in (LOG, SECURITY):
            _require(connections, chain, newest.number, head.of(chain))
    return verdict


def _require(connections: Connections, chain: Chain, number: int, head: ChainHead) -> None:
    rows = read_rows(connections.registry("auditor"), chain, after=head.seq - 1, up_to=head.seq, limit=1)
    if head.seq and (not rows or rows[0].hash != head.hash):
        raise AnchorRefusedError(number, f"event {head.seq} of the {chain.name} is not the one it was signed over")


def _remember(connections: Connections, anchor: Anchor, *, created: bool, waited: UnanchoredWindow) -> AnchoredLog:
    registry = connections.registry("auditor")
    head = anchor.heads[tenant_digest(connections.tenant)]
    reached: dict[RelayName, int] = {"anchor": anchor.number, "anchored": head.seq}
    for relay, seq in reached.items():
        at = relay_seq(registry, relay)
        if at < seq:
            advance_relay(registry, relay, expected=at, seq=seq)  # somebody else may be further already
    return AnchoredLog(anchor.number, head.seq, head.hash, created, waited)
