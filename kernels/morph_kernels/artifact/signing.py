"""Makes keys and signs documents with them.

The platform signs through a `SignerProcess`, never here. A training job signs its own commit records here: its key
speaks for what this process may commit anyway, and whoever runs in it can read the file.

A private key is an unencrypted PKCS #8 PEM file of mode 0600 whose name is its role (`keys/compiler.pem`). A key's id
is the sha256 of its raw 32 public bytes.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morph_kernels.artifact.envelope import SignedPayload, signed_bytes
from morph_kernels.artifact.roles import KINDS, Role, document_kind, payload_type
from morph_kernels.artifact.signer_process import SignerProcess
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.durable_file import create_file
from morph_kernels.errors import MorphError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["KeyFileError", "KeySigner", "SignerProcess", "SigningRefusedError", "generate_key", "load_signer", "sign"]

_MAX_KEY_FILE_BYTES = 16 * 1024


class KeyFileError(MorphError):
    """A private key's file is missing, readable by others, or not an Ed25519 key."""


class SigningRefusedError(MorphError):
    """A role was asked to sign a kind of document that is not its own."""


class KeySigner:
    """Signs the documents of one role with a key held in this process."""

    def __init__(self, role: Role, private: "Ed25519PrivateKey") -> None:
        """Take the key and the one role that it signs for."""
        self.role = role
        self.public_hex = private.public_key().public_bytes_raw().hex()
        self.keyid = key_id(self.public_hex)
        self._private = private

    def sign(self, document: Mapping[str, Any]) -> bytes:
        """Return the canonical bytes of the document's envelope; raise `SigningRefusedError` for another role's."""
        return sign(document, self)

    def sign_payload(self, payload: bytes, kind: str) -> bytes:
        """Return the signature over a DSSE payload and its type."""
        return self._private.sign(signed_bytes(payload, kind))


def sign(document: Mapping[str, Any], signer: KeySigner) -> bytes:
    """Return the canonical bytes of the DSSE envelope around the document.

    Raises:
        SigningRefusedError: the document's kind does not belong to the signer's role.
    """
    kind = document_kind(document)
    if kind not in KINDS[signer.role]:
        raise SigningRefusedError(f"the {signer.role} key does not sign documents of kind {str(kind)[:80]!r}")
    payload = canonical_bytes(document)
    signature = signer.sign_payload(payload, payload_type(document))
    return SignedPayload(payload, payload_type(document), signer.keyid, signature).to_bytes()


def key_id(public_hex: str) -> str:
    """Return the id of a public key: the sha256 of its raw bytes."""
    return sha256_hex(bytes.fromhex(public_hex))


def generate_key(path: Path) -> str:
    """Write a new private key, whole or not at all; return its public half in hexadecimal.

    Raises:
        FileExistsError: there is a file at the path; a key is never overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create_file(path, pem)
    return private.public_key().public_bytes_raw().hex()


def load_signer(path: Path) -> KeySigner:
    """Read a private key; the file's name without `.pem` is its role.

    Raises:
        KeyFileError: no such file, its mode lets others read it, its name is no role, or it holds no Ed25519 key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    role = _role_of(path)
    try:
        private = load_pem_private_key(_read_private(path), password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} holds no private key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds no Ed25519 key")
    return KeySigner(role, private)


def _role_of(path: Path) -> Role:
    try:
        return Role(path.stem)
    except ValueError:
        raise KeyFileError(f"{path.name!r} does not name a role: {', '.join(Role)}") from None


def _read_private(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise KeyFileError(f"{path} must be a file of mode 0600 that belongs to this user")
        return file.read(_MAX_KEY_FILE_BYTES)
