"""Anchors: the heads of all tenants' chains at one moment, signed by the auditor and kept outside of the database.

An anchor is the envelope of this document, under `anchors/<number>`; the next one names the sha256 of its bytes, so
that none can be taken out. Tenants stand in it by the sha256 of their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from morph_assets.registry.connection import Registry
from morph_assets.registry.events import LOG, Chain, ChainHead
from morph_kernels.artifact.document import Fields, MalformedError, format_time
from morph_kernels.artifact.roles import AUDIT_HEAD_KIND, Role
from morph_kernels.artifact.signature import judge_envelope
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import is_digest

MAX_ANCHOR_BYTES = 4 * 1024 * 1024
NO_ANCHOR = "0" * 64


@dataclass(frozen=True)
class AnchoredHead:
    """The newest event of a tenant's log and of its chain of refusals; number 0 and a hash of zeros for none."""

    seq: int
    hash: bytes
    security_seq: int
    security_hash: bytes

    def of(self, chain: Chain) -> ChainHead:
        """Return one of the two heads."""
        if chain is LOG:
            return ChainHead(self.seq, self.hash)
        return ChainHead(self.security_seq, self.security_hash)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in the anchor."""
        return {
            "hash": self.hash.hex(),
            "security_hash": self.security_hash.hex(),
            "security_seq": self.security_seq,
            "seq": self.seq,
        }


@dataclass(frozen=True)
class Anchor:
    """One anchor. `previous` is the digest of the one before it, zeros for the first; `heads` go by tenant digests."""

    number: int
    previous: str
    timeline: int
    issued_at: datetime
    heads: Mapping[str, AnchoredHead] = field(hash=False)

    def to_document(self) -> dict[str, Any]:
        """Return the document that the auditor signs."""
        return {
            "_type": AUDIT_HEAD_KIND,
            "heads": {tenant: head.to_document() for tenant, head in self.heads.items()},
            "issued_at": format_time(self.issued_at),
            "number": self.number,
            "previous": self.previous,
            "timeline": self.timeline,
        }

    def head_of(self, tenant: str) -> AnchoredHead | None:
        """Return what the anchor says of a tenant; None for one that was not there yet."""
        return self.heads.get(tenant_digest(tenant))


def tenant_digest(tenant: str) -> str:
    """Return what stands for a tenant in an anchor."""
    return sha256_hex(tenant.encode())


def current_heads(registry: Registry) -> tuple[int, dict[str, AnchoredHead]]:
    """Return the timeline and the heads of all tenants at one moment, by their digests. As auditor."""
    with registry.transaction() as connection:
        rows = connection.execute(
            """SELECT morph.current_timeline(), tenant_digest, seq, hash, security_seq, security_hash
               FROM morph.anchor_heads()"""
        ).fetchall()
    return int(rows[0][0]), {tenant: AnchoredHead(*head) for _, tenant, *head in rows}


def verify_anchor(envelope: bytes, *, number: int, trust: TrustPolicy, now: datetime) -> Anchor | Rejected:
    """Return the anchor if an auditor who is trusted at `now` signed it under this number; else why not."""
    what = f"anchor {number}"
    signed = judge_envelope(envelope, what=what, max_bytes=MAX_ANCHOR_BYTES, roles={Role.AUDITOR}, trust=trust, now=now)
    if isinstance(signed, Rejected):
        return signed
    try:
        return _parse(signed.document, number)
    except MalformedError as error:
        return Rejected(error.reason, str(error))


def _parse(document: Mapping[str, Any], number: int) -> Anchor:
    fields = Fields(document, what=f"anchor {number}")
    fields.equal("_type", AUDIT_HEAD_KIND)
    fields.equal("number", number)
    anchor = Anchor(
        number=number,
        previous=fields.digest("previous"),
        timeline=fields.integer("timeline", low=1),
        issued_at=fields.time("issued_at"),
        heads=_parse_heads(fields.nested("heads")),
    )
    fields.close()
    return anchor


def _parse_heads(fields: Fields) -> dict[str, AnchoredHead]:
    heads: dict[str, AnchoredHead] = {}
    for tenant, document in fields.rest().items():
        head = Fields(document, what="anchored head")
        heads[tenant] = AnchoredHead(
            seq=head.integer("seq"),
            hash=bytes.fromhex(head.digest("hash")),
            security_seq=head.integer("security_seq"),
            security_hash=bytes.fromhex(head.digest("security_hash")),
        )
        head.close()
        if not is_digest(tenant):
            raise MalformedError("anchored head", "names no tenant's digest")
    return heads
