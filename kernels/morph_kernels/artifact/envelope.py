"""DSSE envelopes with exactly one Ed25519 signature, in one written form.

The envelope is the RFC 8785 form of `{"payload", "payloadType", "signatures": [{"keyid", "sig"}]}`, base64 in its one
padded form. So equal envelopes have equal bytes, and their sha256 names them.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from morph_kernels.artifact.document import Fields, parse_document
from morph_kernels.canonical import canonical_bytes

IN_TOTO_PAYLOAD = "application/vnd.in-toto+json"
MORPH_PAYLOAD = "application/vnd.morph-assets+json"
MAX_ATTESTATION_BYTES = 64 * 1024
_PAYLOADS = frozenset({IN_TOTO_PAYLOAD, MORPH_PAYLOAD})
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class SignedPayload:
    """What an envelope holds; `keyid` and `signature` are None where it carries no signature at all."""

    payload: bytes
    payload_type: str
    keyid: str | None
    signature: bytes | None

    def to_bytes(self) -> bytes:
        """Return the envelope's one written form."""
        signatures = []
        if self.keyid is not None and self.signature is not None:
            signatures.append({"keyid": self.keyid, "sig": _encode(self.signature)})
        return canonical_bytes(
            {"payload": _encode(self.payload), "payloadType": self.payload_type, "signatures": signatures}
        )


def parse_envelope(data: bytes | memoryview, *, what: str, max_bytes: int) -> SignedPayload:
    """Read an envelope; nobody has checked its signature yet.

    Raises:
        MalformedError: too large, not the one written form, more than one signature, an unknown payload type.
    """
    fields = Fields(parse_document(data, what=what, max_bytes=max_bytes), what=what)
    payload = _decode(fields, "payload")
    payload_type = fields.choice("payloadType", _PAYLOADS)
    signatures = fields.items("signatures", lambda item: _parse_signature(item, what), max_items=1)
    fields.close()
    keyid, signature = signatures[0] if signatures else (None, None)
    return SignedPayload(payload, payload_type, keyid, signature)


def signature_is_valid(signed: SignedPayload, *, public_hex: str) -> bool:
    """Return whether the holder of this Ed25519 key signed exactly this payload and type."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signed.signature is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)).verify(
            signed.signature, signed_bytes(signed.payload, signed.payload_type)
        )
    except InvalidSignature:
        return False
    return True


def signed_bytes(payload: bytes, payload_type: str) -> bytes:
    """Return what a signature is over: the pre-authentication encoding of DSSE 1.

    Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _parse_signature(document: Any, what: str) -> tuple[str, bytes]:
    fields = Fields(document, what=f"{what} signature")
    keyid = fields.digest("keyid")
    signature = _decode(fields, "sig")
    fields.close()
    if len(signature) != _SIGNATURE_BYTES:
        fields.refuse("sig")
    return keyid, signature


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(fields: Fields, key: str) -> bytes:
    text = fields.text(key, _BASE64)
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        fields.refuse(key)
    # Spare bits in the last character would give one signature several written forms.
    if _encode(data) != text:
        fields.refuse(key)
    return data
