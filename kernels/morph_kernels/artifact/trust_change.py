"""Changes of who is trusted: a key of another host, and a new key in place of one that signs here.

Every change is one new version of the trust file, signed by the root, whole or not at all. A rotation makes its key
aside, lists it, and only then lets it sign: killed in between, every signature is still one that the file lists, and
the next rotation of the role ends the one that was begun.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.signing import KeySigner, generate_key, key_id, load_signer
from morph_kernels.artifact.trust import (
    KEYS_NAME,
    SKEW,
    TRUST_NAME,
    hold_trust,
    key_path,
    load_trust,
    root_signer,
    write_trust,
)
from morph_kernels.artifact.trust_policy import TrustedKey, TrustError, TrustPolicy, is_public_key
from morph_kernels.durable_file import flush

__all__ = ["DEFAULT_OVERLAP", "DEFAULT_VALIDITY", "RotatedKey", "add_key", "rotate_key"]

DEFAULT_VALIDITY = timedelta(days=3653)
# What the publisher signed is signed anew at once. What the others signed cannot be: without another word their old
# keys go on vouching for it until they end.
DEFAULT_OVERLAP = {Role.PUBLISHER: timedelta(days=7)}
_NEXT = "next"


@dataclass(frozen=True)
class RotatedKey:
    """The key that signs now, the one before it, and until when that one is believed; None where there was none."""

    policy: TrustPolicy
    keyid: str
    old_keyid: str | None
    old_until: datetime | None


def add_key(
    folder: Path,
    role: Role,
    public_hex: str,
    *,
    valid_for: timedelta = DEFAULT_VALIDITY,
    now: datetime | None = None,
) -> TrustPolicy:
    """Trust a key whose private half lies on another host, in one role; idempotent while it is listed so.

    Raises:
        TrustError: no public key, the root's role, listed in another role, or revoked; or the file cannot be believed.
        KeyFileError: the root's key does not lie in the folder.
    """
    now = now or _now()
    _require_signing_role(role)
    if not is_public_key(public_hex):
        raise TrustError("a public key is 64 hexadecimal digits, as a key's maker was told them")
    keyid = key_id(public_hex)
    with hold_trust(folder):
        policy = load_trust(folder / TRUST_NAME)
        _require_new(policy, keyid, role)
        if keyid in policy.keys:
            return policy
        added = TrustedKey(keyid, public_hex, role, now - SKEW, now + valid_for)
        return _write(folder, policy, {keyid: added}, now)


def rotate_key(
    folder: Path, role: Role, *, overlap: timedelta | None = None, now: datetime | None = None
) -> RotatedKey:
    """Make a role's next key; it signs at once, and the one before it is believed for the overlap.

    Args:
        folder: the trust folder, with the root's key.
        role: any but the root.
        overlap: None is `DEFAULT_OVERLAP`, and without one of the role the old key's own end.
        now: the present when None.

    Raises:
        TrustError: the root's role, or the file cannot be believed.
        KeyFileError: the root's key does not lie in the folder.
    """
    now = now or _now()
    _require_signing_role(role)
    overlap = DEFAULT_OVERLAP.get(role) if overlap is None else overlap
    with hold_trust(folder):
        policy = load_trust(folder / TRUST_NAME)
        # Before any key is made: who has no root key here cannot list it.
        root_signer(folder, policy)
        signer, old = _open_next(folder, role, policy), _find_listed(folder, role, policy)
        if signer.keyid not in policy.keys:
            policy = _write(folder, policy, _exchange(signer, old, overlap, now), now)
        _let_sign(folder, role)
    ended = None if old is None else policy.keys[old.keyid]
    return RotatedKey(policy, signer.keyid, *((None, None) if ended is None else (ended.keyid, ended.not_after)))


def _exchange(
    signer: KeySigner, old: TrustedKey | None, overlap: timedelta | None, now: datetime
) -> dict[str, TrustedKey]:
    """Return the entries that a rotation writes: the new key, and the old one with its earlier end."""
    development = old is not None and old.development
    new = TrustedKey(
        signer.keyid, signer.public_hex, signer.role, now - SKEW, now + DEFAULT_VALIDITY, development=development
    )
    if old is None:
        return {new.keyid: new}
    until = old.not_after if overlap is None else min(old.not_after, now + overlap)
    return {new.keyid: new, old.keyid: replace(old, not_after=max(until, old.not_before))}


def _write(folder: Path, policy: TrustPolicy, changed: dict[str, TrustedKey], now: datetime) -> TrustPolicy:
    path = folder / TRUST_NAME
    following = replace(policy, keys={**policy.keys, **changed}, version=policy.version + 1, issued_at=now)
    write_trust(path, following, root_signer(folder, policy))
    return load_trust(path)


def _next_path(folder: Path, role: Role) -> Path:
    return folder / KEYS_NAME / _NEXT / f"{role}.pem"


def _open_next(folder: Path, role: Role, policy: TrustPolicy) -> KeySigner:
    path = _next_path(folder, role)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and load_signer(path).keyid in policy.revoked:
        # Listed by a rotation that was killed, and revoked before it could sign.
        path.unlink()
    if not path.exists():
        generate_key(path)
    return load_signer(path)


def _find_listed(folder: Path, role: Role, policy: TrustPolicy) -> TrustedKey | None:
    """Return the key that signs here now, where the trust file lists it; keys of other hosts are left as they are."""
    path = key_path(folder, role)
    return policy.keys.get(load_signer(path).keyid) if path.exists() else None


def _let_sign(folder: Path, role: Role) -> None:
    path = key_path(folder, role)
    _next_path(folder, role).replace(path)
    flush(path.parent)


def _require_signing_role(role: Role) -> None:
    if role is Role.ROOT:
        raise TrustError("the root's key is what hosts pin: it is not listed, and changed only by telling every host")


def _require_new(policy: TrustPolicy, keyid: str, role: Role) -> None:
    if keyid in policy.revoked:
        raise TrustError(f"key {keyid} was revoked, and never comes back: make another")
    listed = policy.keys.get(keyid)
    if listed is not None and listed.role is not role:
        raise TrustError(f"key {keyid} is listed as the {listed.role}'s: every role needs its own")


def _now() -> datetime:
    return datetime.now(UTC)
