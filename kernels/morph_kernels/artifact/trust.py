"""The trust file on disk: read it, make it with its keys, revoke a key in it. `trust_change` adds and rotates keys."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.signing import KeySigner, generate_key, load_signer
from morph_kernels.artifact.trust_policy import (
    MAX_TRUST_BYTES,
    TrustedKey,
    TrustError,
    TrustPolicy,
    encode_trust,
    parse_trust,
)
from morph_kernels.durable_file import replace_file
from morph_kernels.folder_lock import hold_folder

__all__ = [
    "KEYS_NAME",
    "SKEW",
    "TRUST_NAME",
    "Role",
    "TrustError",
    "TrustPolicy",
    "TrustedKey",
    "create_trust",
    "hold_trust",
    "key_path",
    "load_trust",
    "parse_trust",
    "read_trust",
    "revoke_key",
    "root_signer",
    "write_trust",
]

TRUST_NAME = "trust.json"
KEYS_NAME = "keys"
# Ten years: a kernel must stay loadable as long as somebody may restore a checkpoint that names it.
_VALID_DAYS = 3653
# Hosts that share a trust file may differ a little in what time it is.
SKEW = timedelta(minutes=5)


def load_trust(path: Path, *, root_pin: str | None = None, allow_development: bool = False) -> TrustPolicy:
    """Read a trust file.

    Args:
        path: the file; a symbolic link is followed, for those who distribute it by one.
        root_pin: the root's public key in hexadecimal (`MORPH_TRUST_ROOT`), or None to believe the file's own.
        allow_development: whether development keys are believed.

    Raises:
        TrustError: no such file, unreadable, damaged, changed, or another root.
    """
    data = read_trust(path)
    try:
        return parse_trust(data, root_pin=root_pin, allow_development=allow_development)
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error


def read_trust(path: Path) -> bytes:
    """Return the bytes of a trust file, which `parse_trust` judges.

    Raises:
        TrustError: no such file, or unreadable.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_TRUST_BYTES + 1)
    except OSError as error:
        raise TrustError(f"cannot read the trust file {path}: {error.strerror}") from error


def key_path(folder: Path, role: Role) -> Path:
    """Return where the private key of a role lies in a trust folder."""
    return folder / KEYS_NAME / f"{role}.pem"


def create_trust(folder: Path, *, development: bool = False, now: datetime | None = None) -> TrustPolicy:
    """Make a key for every role and the root-signed trust file, unless they exist; return what is trusted.

    Idempotent, and safe for several processes at once: all see the same keys. A crash leaves whole key files without a
    trust file, and the next call goes on from there. An existing trust file that is damaged is never replaced. A file
    that was made before there was some role gets a key for it, where the root's key lies here.

    Args:
        folder: made with mode 0700; holds `trust.json` and `keys/<role>.pem` with mode 0600.
        development: mark the compiler's and evaluator's keys as development keys (their sandbox is weak).
        now: begin of the keys' validity; the present when None.

    Raises:
        TrustError: the existing file cannot be believed, or the folder belongs to someone else.
    """
    with hold_trust(folder):
        path = folder / TRUST_NAME
        if path.exists():
            _add_roles(folder, load_trust(path), development=development, now=now or _now())
        else:
            signers = {role: _open_key(key_path(folder, role)) for role in Role}
            keys = _trusted(signers, development=development, now=now or _now())
            write_trust(path, TrustPolicy(keys=keys, issued_at=now), signers[Role.ROOT])
        return load_trust(path, allow_development=development)


def revoke_key(folder: Path, keyid: str, *, now: datetime | None = None) -> TrustPolicy:
    """Add a key to the revoked ones and sign the next version of the trust file; idempotent.

    Raises:
        TrustError: the file cannot be believed, lists no such key, or names another root than the folder's.
    """
    with hold_trust(folder):
        path = folder / TRUST_NAME
        policy = load_trust(path)
        if keyid not in policy.keys:
            raise TrustError(f"{path} lists no key {keyid}")
        if keyid in policy.revoked:
            return policy
        changed = replace(policy, revoked=policy.revoked | {keyid}, version=policy.version + 1, issued_at=now or _now())
        write_trust(path, changed, root_signer(folder, policy))
        return load_trust(path)


def _add_roles(folder: Path, policy: TrustPolicy, *, development: bool, now: datetime) -> None:
    missing = set(Role) - {Role.ROOT} - {key.role for key in policy.keys.values()}
    if not missing or not key_path(folder, Role.ROOT).exists():
        return
    root = root_signer(folder, policy)
    signers = {role: _open_key(key_path(folder, role)) for role in sorted(missing)}
    keys = {**policy.keys, **_trusted(signers, development=development, now=now)}
    write_trust(folder / TRUST_NAME, replace(policy, keys=keys, version=policy.version + 1, issued_at=now), root)


def root_signer(folder: Path, policy: TrustPolicy) -> KeySigner:
    """Return the folder's root key, which alone may sign the next version of the trust file.

    Raises:
        TrustError: the file was signed by another root.
        KeyFileError: the root's key does not lie here.
    """
    path = key_path(folder, Role.ROOT)
    root = load_signer(path)
    if root.public_hex != policy.root_public_hex:
        raise TrustError(f"{folder / TRUST_NAME} was signed by another root key than {path}")
    return root


def _trusted(signers: Mapping[Role, KeySigner], *, development: bool, now: datetime) -> dict[str, TrustedKey]:
    return {
        signer.keyid: TrustedKey(
            keyid=signer.keyid,
            public_hex=signer.public_hex,
            role=role,
            not_before=now - SKEW,
            not_after=now + timedelta(days=_VALID_DAYS),
            development=development and role in {Role.COMPILER, Role.EVALUATOR},
        )
        for role, signer in signers.items()
        if role is not Role.ROOT
    }


def _open_key(path: Path) -> KeySigner:
    if not path.exists():
        generate_key(path)
    return load_signer(path)


def write_trust(path: Path, policy: TrustPolicy, root: KeySigner) -> None:
    """Replace the trust file by this version: a crash leaves the one before or this one."""
    envelope = root.sign(policy.to_document(issued_at=policy.issued_at or _now()))
    replace_file(path, encode_trust(envelope, root_public_hex=root.public_hex))


@contextmanager
def hold_trust(folder: Path) -> Iterator[None]:
    """Hold a trust folder against other changes; it is made where it was missing, and this user's alone.

    Raises:
        TrustError: the folder belongs to someone else.
    """
    for made in (folder, folder / KEYS_NAME):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
        if made.is_symlink() or made.stat().st_uid != os.geteuid():
            raise TrustError(f"{made} must be a folder that belongs to this user")
        made.chmod(0o700)
    with hold_folder(folder):
        yield


def _now() -> datetime:
    return datetime.now(UTC)
