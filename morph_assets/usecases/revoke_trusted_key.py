"""Takes a key out now: what only it vouched for is refused, and what can be signed by a good key is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from morph_assets.connections import Connections
from morph_assets.progress import Progress
from morph_assets.registry.kernels import list_attestations, list_kernels
from morph_assets.usecases.change_trust import ChangedTrust, find_trust_folder, renew_indexes, tell_trust_change
from morph_kernels.artifact.envelope import MAX_ATTESTATION_BYTES
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.signature import judge_envelope
from morph_kernels.artifact.signing import load_signer
from morph_kernels.artifact.trust import TRUST_NAME, TrustError, key_path, load_trust, revoke_key
from morph_kernels.artifact.trust_change import rotate_key
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest

_BUILDERS = frozenset({Role.COMPILER, Role.EVALUATOR})
_FEWEST_DIGITS = 8


def revoke_trusted_key(connections: Connections, keyid: str, reason: str, progress: Progress) -> ChangedTrust:
    """Revoke a key for good; where it is the one that signs here, its role gets another at once.

    Again: nothing changes but what an earlier call that was killed left undone. The key's first digits are enough.

    Raises:
        TrustError: no such key is listed or several begin so, or the trust file cannot be believed.
        KeyFileError: the root's key does not lie here.
    """
    folder = find_trust_folder(connections)
    keyid = _find_keyid(load_trust(folder / TRUST_NAME), keyid)
    policy = revoke_key(folder, keyid)
    role = policy.keys[keyid].role
    signs_now = None
    if _signs_here(folder, role, keyid):
        rotated = rotate_key(folder, role, overlap=timedelta())
        policy, signs_now = rotated.policy, rotated.keyid
    facts = {"role": str(role), "version": policy.version, "reason": reason, "signs_now": signs_now}
    told = tell_trust_change(connections, "revoked", keyid, facts)
    renewed, problem = renew_indexes(connections, progress) if role is Role.PUBLISHER else ((), None)
    unvouched: tuple[str, ...] = ()
    if role in _BUILDERS:
        unvouched, problem = _find_unvouched(connections, policy, progress)
    return ChangedTrust(
        role=str(role),
        keyid=keyid,
        version=policy.version,
        signs_now=signs_now,
        renewed=renewed,
        unvouched=unvouched,
        told=told,
        problem=problem,
    )


def _find_keyid(policy: TrustPolicy, begins: str) -> str:
    found = sorted(keyid for keyid in policy.keys if keyid.startswith(begins))
    if len(begins) < _FEWEST_DIGITS or len(found) != 1:
        raise TrustError(f"{len(found)} keys begin with {begins!r}: name one by at least {_FEWEST_DIGITS} digits")
    return found[0]


def _signs_here(folder: Path, role: Role, keyid: str) -> bool:
    path = key_path(folder, role)
    return path.exists() and load_signer(path).keyid == keyid


def _find_unvouched(
    connections: Connections, policy: TrustPolicy, progress: Progress
) -> tuple[tuple[str, ...], str | None]:
    """Return the published kernels for which a compiler's or an evaluator's word is missing now."""
    found: list[str] = []
    try:
        published = list_kernels(connections.registry("platform"), states=("PUBLISHED",))
        with progress("looking through published kernels", total=len(published)) as advance:
            for kernel in published:
                if not _is_vouched(connections, kernel.digest, policy):
                    found.append(str(kernel.digest))
                advance(1)
    except MorphError as error:
        return tuple(found), str(error)
    return tuple(found), None


def _is_vouched(connections: Connections, kernel: KernelDigest, policy: TrustPolicy) -> bool:
    now, roles = datetime.now(UTC), set()
    for attestation in list_attestations(connections.registry("platform"), kernel):
        signed = judge_envelope(
            attestation.envelope,
            what="attestation",
            max_bytes=MAX_ATTESTATION_BYTES,
            roles=_BUILDERS,
            trust=policy,
            now=now,
        )
        if not isinstance(signed, Rejected):
            roles.add(signed.key.role)
    return roles == _BUILDERS
