"""Trusts a key whose private half lies on another host."""

from datetime import timedelta

from morph_assets.connections import Connections
from morph_assets.usecases.change_trust import ChangedTrust, find_trust_folder, tell_trust_change
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.signing import key_id
from morph_kernels.artifact.trust_change import add_key


def add_trusted_key(connections: Connections, role: Role, public_hex: str, *, valid_for: timedelta) -> ChangedTrust:
    """List a public key in a role; again: nothing changes.

    Raises:
        TrustError: it is no public key, listed in another role, revoked, or for the root.
        KeyFileError: the root's key does not lie here.
    """
    policy = add_key(find_trust_folder(connections), role, public_hex, valid_for=valid_for)
    keyid = key_id(public_hex)
    facts = {"role": str(role), "version": policy.version, "until": policy.keys[keyid].not_after.isoformat()}
    told = tell_trust_change(connections, "added", keyid, facts)
    return ChangedTrust(str(role), keyid, policy.version, told=told)
