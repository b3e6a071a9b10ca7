"""The proof of a deletion: what was removed, why and when, signed by the auditor and kept in the store.

The auditor signs it because its key already answers for what the log says, and because nobody who removes things holds
that key. The proof names the event by which the removal began (`kernel.purge_started`), which says the same in the
chain; the event that ended it (`kernel.purged`) names the proof.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from morph_assets.registry.removal import ObjectKind
from morph_kernels.artifact.document import Fields, MalformedError, format_time
from morph_kernels.artifact.roles import DELETION_KIND, Role
from morph_kernels.artifact.signature import judge_envelope
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.identity import BlobDigest, BlueprintDigest, KernelDigest, ObjectKey
from morph_kernels.reasons import Reason
from morph_kernels.store.keys import InvalidKeyError, parse_key

MAX_PROOF_BYTES = 1024 * 1024
_TEXT = re.compile(r"(?s).{0,10000}")


@dataclass(frozen=True)
class DeletedObject:
    """One object that was removed from the store."""

    kind: ObjectKind
    key: ObjectKey
    digest: BlobDigest
    size_bytes: int

    def to_document(self) -> dict[str, Any]:
        """Return what the proof says of it."""
        return {
            "digest": self.digest,
            "key": self.key,
            "kind": self.kind,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class DeletionProof:
    """What a proof says."""

    tenant: str
    kernel_digest: KernelDigest
    blueprint_digest: BlueprintDigest
    reason: str
    policy: str
    purge_seq: int
    objects: tuple[DeletedObject, ...]
    deleted_at: datetime

    def to_document(self) -> dict[str, Any]:
        """Return the document that the auditor signs."""
        return {
            "_type": DELETION_KIND,
            "blueprint_digest": self.blueprint_digest,
            "deleted_at": format_time(self.deleted_at),
            "kernel_digest": self.kernel_digest,
            "objects": [deleted.to_document() for deleted in self.objects],
            "policy": self.policy,
            "purge_seq": self.purge_seq,
            "reason": self.reason,
            "tenant": self.tenant,
        }


def verify_deletion(
    envelope: bytes, *, tenant: str, kernel: KernelDigest, trust: TrustPolicy, now: datetime
) -> DeletionProof | Rejected:
    """Return the proof if a trusted auditor signed it of this kernel of this tenant; else why not."""
    what = "deletion proof"
    signed = judge_envelope(envelope, what=what, max_bytes=MAX_PROOF_BYTES, roles={Role.AUDITOR}, trust=trust, now=now)
    if isinstance(signed, Rejected):
        return signed
    try:
        return _parse(signed.document, tenant, kernel)
    except MalformedError as error:
        return Rejected(error.reason, str(error))
    except InvalidKeyError as error:
        return Rejected(Reason.MALFORMED, str(error))


def _parse(document: Mapping[str, Any], tenant: str, kernel: KernelDigest) -> DeletionProof:
    fields = Fields(document, what="deletion proof")
    fields.equal("_type", DELETION_KIND)
    fields.equal("tenant", tenant)
    fields.equal("kernel_digest", kernel)
    proof = DeletionProof(
        tenant=tenant,
        kernel_digest=kernel,
        blueprint_digest=BlueprintDigest(fields.digest("blueprint_digest")),
        reason=fields.text("reason", _TEXT),
        policy=fields.text("policy", _TEXT),
        purge_seq=fields.integer("purge_seq", low=1),
        objects=fields.items("objects", _parse_object),
        deleted_at=fields.time("deleted_at"),
    )
    fields.close()
    return proof


def _parse_object(document: Any) -> DeletedObject:
    fields = Fields(document, what="deleted object")
    deleted = DeletedObject(
        kind=cast("ObjectKind", fields.choice("kind", frozenset({"bundle", "report"}))),
        key=parse_key(fields.text("key", _TEXT)),
        digest=BlobDigest(fields.digest("digest")),
        size_bytes=fields.integer("size_bytes"),
    )
    fields.close()
    return deleted
