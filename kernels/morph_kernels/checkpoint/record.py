"""The commit record: says in the object store that a checkpoint was committed, should the ledger be lost.

A DSSE envelope around the RFC 8785 form of one document, signed by the training job's key; without a key the envelope
holds no signature, and no rebuild believes it. The document says what its key in the store says as well, so that a
record cannot be copied to another place. Everything else stands in the manifest, which the record names by digest.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from morph_kernels.artifact.document import Fields, MalformedError
from morph_kernels.artifact.envelope import MORPH_PAYLOAD, SignedPayload, parse_envelope
from morph_kernels.artifact.roles import COMMIT_KIND, Role
from morph_kernels.artifact.signature import judge_envelope
from morph_kernels.artifact.signing import KeySigner
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.canonical import canonical_bytes
from morph_kernels.identity import NAME_PATTERN, ObjectKey
from morph_kernels.reasons import Reason
from morph_kernels.store.keys import InvalidKeyError, commit_record_key, parse_key

MAX_RECORD_BYTES = 64 * 1024
_FORMAT = 1
_NAME = re.compile(NAME_PATTERN)
_KEY = re.compile(r"[\x21-\x7e]{1,1024}")
_WHAT = "commit record"


@dataclass(frozen=True)
class CommitRecord:
    """What was committed, and where it stands in its ledger's order."""

    tenant: str
    run: str
    branch: str
    checkpoint: UUID
    parent: UUID | None
    epoch: int
    step: int
    manifest_digest: str
    manifest_key: ObjectKey
    timeline: int
    sequence: int

    @property
    def key(self) -> ObjectKey:
        """Where it lies."""
        return commit_record_key(self.tenant, self.run, self.sequence, timeline=self.timeline)

    def to_document(self) -> dict[str, Any]:
        """Return the document that the training job signs."""
        return {
            "_type": COMMIT_KIND,
            "branch": self.branch,
            "checkpoint": str(self.checkpoint),
            "epoch": self.epoch,
            "format": _FORMAT,
            "manifest_digest": self.manifest_digest,
            "manifest_key": self.manifest_key,
            "parent": None if self.parent is None else str(self.parent),
            "run": self.run,
            "sequence": self.sequence,
            "step": self.step,
            "tenant": self.tenant,
            "timeline": self.timeline,
        }

    def to_bytes(self, signer: KeySigner | None) -> bytes:
        """Return the stored form, signed where there is a key."""
        if signer is not None:
            return signer.sign(self.to_document())
        return SignedPayload(canonical_bytes(self.to_document()), MORPH_PAYLOAD, None, None).to_bytes()

    def is_told_by(self, stored: bytes) -> bool:
        """Return whether stored bytes say the same, whichever key signed them."""
        try:
            told = parse_envelope(stored, what=_WHAT, max_bytes=MAX_RECORD_BYTES)
        except MalformedError:
            return False
        return told.payload == canonical_bytes(self.to_document())


def verify_record(envelope: bytes, *, key: str, trust: TrustPolicy, now: datetime) -> CommitRecord | Rejected:
    """Return the record that lies under a key, if a trainer who is trusted at `now` signed it for this place."""
    signed = judge_envelope(
        envelope, what=_WHAT, max_bytes=MAX_RECORD_BYTES, roles={Role.TRAINER}, trust=trust, now=now
    )
    if isinstance(signed, Rejected):
        return signed
    try:
        return _parse(signed.document, key)
    except MalformedError as error:
        return Rejected(error.reason, str(error))
    except InvalidKeyError as error:
        return Rejected(Reason.MALFORMED, f"{_WHAT}: {error}")


def _parse(document: dict[str, Any], key: str) -> CommitRecord:
    fields = Fields(document, what=_WHAT)
    fields.equal("_type", COMMIT_KIND)
    fields.equal("format", _FORMAT)
    record = CommitRecord(
        tenant=fields.text("tenant", _NAME),
        run=fields.text("run", _NAME),
        branch=fields.text("branch", _NAME),
        checkpoint=_checkpoint(fields.take("checkpoint")),
        parent=None if (parent := fields.take("parent")) is None else _checkpoint(parent),
        epoch=fields.integer("epoch"),
        step=fields.integer("step"),
        manifest_digest=fields.digest("manifest_digest"),
        manifest_key=parse_key(fields.text("manifest_key", _KEY)),
        timeline=fields.integer("timeline"),
        sequence=fields.integer("sequence"),
    )
    fields.close()
    if record.key != key:
        raise MalformedError(_WHAT, f"it belongs to {record.key}")
    return record


def _checkpoint(value: Any) -> UUID:
    try:
        found = UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise MalformedError(_WHAT, "a checkpoint's id is none") from None
    if str(found) != value:
        raise MalformedError(_WHAT, "a checkpoint's id is not in its one written form")
    return found
