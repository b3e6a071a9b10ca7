"""Who signed an envelope, and whether they may: the checks that every signed document goes through."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from morph_kernels.artifact.document import MalformedError, parse_document
from morph_kernels.artifact.envelope import SignedPayload, parse_envelope, signature_is_valid
from morph_kernels.artifact.roles import KINDS, Role, document_kind, payload_type
from morph_kernels.artifact.trust_policy import TrustedKey, TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.reasons import Reason


@dataclass(frozen=True)
class SignedDocument:
    """A document that a trusted key of a fitting role signed; its fields are still unread."""

    document: dict[str, Any]
    kind: str
    key: TrustedKey


def judge_envelope(
    data: bytes | memoryview,
    *,
    what: str,
    max_bytes: int,
    roles: Collection[Role],
    trust: TrustPolicy,
    now: datetime,
) -> SignedDocument | Rejected:
    """Return what was signed, if a believed key of one of the roles signed it; else why not.

    The payload is read only after its signature was checked.
    """
    try:
        signed = parse_envelope(data, what=what, max_bytes=max_bytes)
        key = _judge_key(signed, what, roles, trust, now)
        if isinstance(key, Rejected):
            return key
        if not signature_is_valid(signed, public_hex=key.public_hex):
            return Rejected(Reason.BAD_SIGNATURE, f"{what}: the signature does not fit")
        document = parse_document(signed.payload, what=what, max_bytes=max_bytes)
    except MalformedError as error:
        return Rejected(error.reason, str(error))
    kind = document_kind(document)
    if kind is None or kind not in KINDS[key.role] or signed.payload_type != payload_type(document):
        return Rejected(Reason.WRONG_ROLE, f"{what}: the {key.role} key does not vouch for {str(kind)[:80]!r}")
    return SignedDocument(document, kind, key)


def _judge_key(
    signed: SignedPayload, what: str, roles: Collection[Role], trust: TrustPolicy, now: datetime
) -> TrustedKey | Rejected:
    if signed.keyid is None:
        return Rejected(Reason.UNSIGNED, f"{what}: not signed")
    # A revoked key may have left the list, and must not then be merely unknown.
    if signed.keyid in trust.revoked:
        return Rejected(Reason.KEY_REVOKED, f"{what}: its key was revoked")
    key = trust.keys.get(signed.keyid)
    if key is None:
        return Rejected(Reason.UNTRUSTED_KEY, f"{what}: nobody trusts its key")
    problem: Rejected | None = None
    if key.role not in roles:
        problem = Rejected(Reason.WRONG_ROLE, f"{what}: signed by the {key.role} key")
    elif not key.not_before <= now <= key.not_after:
        problem = Rejected(Reason.KEY_EXPIRED, f"{what}: its key is not valid now")
    elif key.development and not trust.allow_development:
        problem = Rejected(Reason.DEVELOPMENT_KEY, f"{what}: signed by a development key")
    return problem or key
