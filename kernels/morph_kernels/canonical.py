"""The one place that turns a document into the bytes that are hashed and signed (RFC 8785)."""

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785


def canonical_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 form of a JSON document: one document, one sequence of bytes.

    Raises:
        rfc8785.CanonicalizationError: a value has no canonical form (NaN, an integer beyond 2**53).
    """
    return rfc8785.dumps(dict(document))


def sha256_hex(data: bytes | memoryview) -> str:
    """Return the sha256 of the bytes as 64 lower-case hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()
