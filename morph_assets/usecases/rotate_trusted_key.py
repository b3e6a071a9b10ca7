"""Gives a role its next key, and publishes by it what the role signs anew."""

from datetime import timedelta

from morph_assets.connections import Connections
from morph_assets.progress import Progress
from morph_assets.usecases.change_trust import ChangedTrust, find_trust_folder, renew_indexes, tell_trust_change
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.trust_change import rotate_key


def rotate_trusted_key(
    connections: Connections, role: Role, progress: Progress, *, overlap: timedelta | None = None
) -> ChangedTrust:
    """Make the role's next key, which signs at once; the one before is believed for the overlap.

    The publisher's indexes are published anew. What the other roles signed cannot be: by default their old keys go on
    vouching for it until they end. A rotation that was killed is ended, not begun once more.

    Raises:
        TrustError: the root's role, or the trust file cannot be believed.
        KeyFileError: the root's key does not lie here.
    """
    rotated = rotate_key(find_trust_folder(connections), role, overlap=overlap)
    until = None if rotated.old_until is None else rotated.old_until.isoformat()
    facts = {"role": str(role), "version": rotated.policy.version, "instead_of": rotated.old_keyid, "until": until}
    told = tell_trust_change(connections, "rotated", rotated.keyid, facts)
    renewed, problem = renew_indexes(connections, progress) if role is Role.PUBLISHER else ((), None)
    return ChangedTrust(
        role=str(role),
        keyid=rotated.keyid,
        version=rotated.policy.version,
        signs_now=rotated.keyid,
        old_keyid=rotated.old_keyid,
        old_until=rotated.old_until,
        renewed=renewed,
        told=told,
        problem=problem,
    )
