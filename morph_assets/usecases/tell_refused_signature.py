"""Tells the chain of refusals of bytes that nobody trusted vouches for."""

from morph_assets.connections import Connections
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.reasons import Reason

_SIGNATURE_REASONS = frozenset(
    {
        Reason.UNSIGNED,
        Reason.UNTRUSTED_KEY,
        Reason.WRONG_ROLE,
        Reason.BAD_SIGNATURE,
        Reason.KEY_EXPIRED,
        Reason.KEY_REVOKED,
        Reason.DEVELOPMENT_KEY,
        Reason.ATTESTATION_MISMATCH,
        Reason.WRONG_TENANT,
    }
)


def tell_refused_signature(connections: Connections, subject: str, rejected: Rejected, *, role: str) -> None:
    """Tell, as the role that refused it, what about the subject was not believed; other rejections are not told."""
    if rejected.reason in _SIGNATURE_REASONS:
        facts = {"reason": str(rejected.reason), "detail": rejected.detail}
        connections.registry(role).refusals.tell("security.signature_refused", facts, subject=subject)
