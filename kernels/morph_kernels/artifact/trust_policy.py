"""Which keys are believed, for which role and how long: the content of a trust file, and how it is read.

The file is the RFC 8785 form of `{"format": 1, "root": <root public key>, "signed": <envelope>}`, where the envelope is
signed by that root key and lists the keys and the revoked key ids.

What protects what: the root signature protects against a file that was changed by someone without the root key, also by
accident. It does not protect against someone who replaces the whole file, root key included: against that stand the
file's owner and mode, and, for those who want more, the pin `MORPH_TRUST_ROOT` that names the root key out of band.
The signature does not make an old file new either: whoever can put an earlier file back un-revokes a key; `version`
only rises, so whoever remembers the highest one seen can refuse lower ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from morph_kernels.artifact.document import Fields, MalformedError, format_time, parse_document
from morph_kernels.artifact.envelope import MORPH_PAYLOAD, parse_envelope, signature_is_valid
from morph_kernels.artifact.roles import TRUST_KIND, Role
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.errors import MorphError

TRUST_FORMAT = 1
MAX_TRUST_BYTES = 512 * 1024
_PUBLIC = re.compile(r"[0-9a-f]{64}")
_MAX_KEYS = 1000
# The points of small order, the sign of x left out: "signatures" that fit such a key can be made by anybody.
_SMALL_ORDER = frozenset(
    {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    }
)


class TrustError(MorphError):
    """The trust file is missing, damaged, changed, or not signed by the expected root; nothing is trusted then."""


@dataclass(frozen=True)
class TrustedKey:
    """One public key, believed in one role from `not_before` until `not_after`.

    The window is held against the time of *use*: no signature says when it was really made. A development key vouches
    for work done in weak isolation; production trust refuses it.
    """

    keyid: str
    public_hex: str
    role: Role
    not_before: datetime
    not_after: datetime
    development: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in the trust file."""
        return {
            "development": self.development,
            "keyid": self.keyid,
            "not_after": format_time(self.not_after),
            "not_before": format_time(self.not_before),
            "public": self.public_hex,
            "role": self.role,
        }


@dataclass(frozen=True)
class TrustPolicy:
    """What a process believes. `allow_development` is the host's own choice and never part of the file."""

    keys: Mapping[str, TrustedKey] = field(hash=False)
    revoked: frozenset[str] = frozenset()
    root_public_hex: str = ""
    version: int = 1
    issued_at: datetime | None = None
    allow_development: bool = False

    def keys_of(self, role: Role) -> tuple[TrustedKey, ...]:
        """Return the keys of a role that are not revoked."""
        return tuple(key for key in self.keys.values() if key.role is role and key.keyid not in self.revoked)

    def to_document(self, *, issued_at: datetime) -> dict[str, Any]:
        """Return the document that the root key signs."""
        return {
            "_type": TRUST_KIND,
            "format": TRUST_FORMAT,
            "issued_at": format_time(issued_at),
            "keys": [self.keys[keyid].to_document() for keyid in sorted(self.keys)],
            "revoked": sorted(self.revoked),
            "version": self.version,
        }


def is_public_key(text: str) -> bool:
    """Return whether a text is an Ed25519 public key in hexadecimal, and none that everybody can sign for."""
    if _PUBLIC.fullmatch(text) is None:
        return False
    sign_and_y = bytearray.fromhex(text)
    sign_and_y[-1] &= 0x7F
    return sign_and_y.hex() not in _SMALL_ORDER


def encode_trust(envelope: bytes, *, root_public_hex: str) -> bytes:
    """Return the bytes of a trust file around an envelope that the root key signed."""
    signed = parse_document(envelope, what="trust envelope", max_bytes=MAX_TRUST_BYTES)
    return canonical_bytes({"format": TRUST_FORMAT, "root": root_public_hex, "signed": signed})


def parse_trust(data: bytes, *, root_pin: str | None = None, allow_development: bool = False) -> TrustPolicy:
    """Read the bytes of a trust file.

    Args:
        data: the whole file.
        root_pin: the root's public key in hexadecimal, known from elsewhere; None believes the file's own.
        allow_development: whether keys that are marked as development keys are believed.

    Raises:
        TrustError: malformed, another root than the pinned one, or not signed by its root.
    """
    try:
        return _parse(data, root_pin, allow_development=allow_development)
    except MalformedError as error:
        raise TrustError(f"the trust file cannot be read: {error}") from error


def _parse(data: bytes, root_pin: str | None, *, allow_development: bool) -> TrustPolicy:
    fields = Fields(parse_document(data, what="trust file", max_bytes=MAX_TRUST_BYTES), what="trust file")
    fields.equal("format", TRUST_FORMAT)
    root = _parse_public(fields, "root")
    envelope = canonical_bytes(Fields(fields.take("signed"), what="trust envelope").rest())
    fields.close()
    if root_pin is not None and root != root_pin:
        raise TrustError("the trust file names another root key than the pinned one")
    signed = parse_envelope(envelope, what="trust envelope", max_bytes=MAX_TRUST_BYTES)
    if signed.payload_type != MORPH_PAYLOAD or signed.keyid != sha256_hex(bytes.fromhex(root)):
        raise TrustError("the trust file is not signed by its root key")
    if not signature_is_valid(signed, public_hex=root):
        raise TrustError("the trust file was changed: the root's signature does not fit it")
    return _parse_policy(signed.payload, root, allow_development=allow_development)


def _parse_policy(payload: bytes, root: str, *, allow_development: bool) -> TrustPolicy:
    fields = Fields(parse_document(payload, what="trust", max_bytes=MAX_TRUST_BYTES), what="trust")
    fields.equal("_type", TRUST_KIND)
    fields.equal("format", TRUST_FORMAT)
    keys = fields.items("keys", _parse_key, max_items=_MAX_KEYS)
    policy = TrustPolicy(
        keys={key.keyid: key for key in keys},
        revoked=frozenset(fields.names("revoked", _PUBLIC, max_items=_MAX_KEYS)),
        root_public_hex=root,
        version=fields.integer("version", low=1),
        issued_at=fields.time("issued_at"),
        allow_development=allow_development,
    )
    fields.close()
    if len(policy.keys) != len(keys):
        raise TrustError("the trust file lists a key twice: every role needs its own")
    return policy


def _parse_public(fields: Fields, key: str) -> str:
    public_hex = fields.text(key, _PUBLIC)
    if not is_public_key(public_hex):
        fields.refuse(key)
    return public_hex


def _parse_key(document: Any) -> TrustedKey:
    fields = Fields(document, what="trusted key")
    key = TrustedKey(
        keyid=fields.digest("keyid"),
        public_hex=_parse_public(fields, "public"),
        role=Role(fields.choice("role", frozenset(Role))),
        not_before=fields.time("not_before"),
        not_after=fields.time("not_after"),
        development=fields.boolean("development"),
    )
    fields.close()
    # Equal public keys have equal ids, so one key under two roles cannot be listed.
    if key.keyid != sha256_hex(bytes.fromhex(key.public_hex)):
        fields.refuse("keyid")
    return key
