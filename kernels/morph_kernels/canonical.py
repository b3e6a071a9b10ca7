"""The one place that turns a document into the bytes that are hashed and signed (RFC 8785)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785


def canonical_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 form of a JSON document: one document, one sequence of bytes.

    Raises:
        rfc8785.CanonicalizationError: a value has no canonical form (NaN, an integer beyond 2**53).
    """
    return rfc8785.dumps(dict(document))


def is_canonical(data: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether the bytes are the RFC 8785 form of the document that was parsed from them.

    The document holds no floats and no integer beyond 2**53. For ASCII bytes the standard library's compact sorted form
    is then the same (no number has a second form, and keys sort alike) and twenty times faster to make.

    Raises:
        ValueError: a string has no UTF-8 form.
        rfc8785.CanonicalizationError: a value has no canonical form.
    """
    if not data.isascii():
        return canonical_bytes(document) == data
    text = json.dumps(
        document, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), sort_keys=True
    )
    return text.encode("utf-8") == data


def sha256_hex(data: bytes | memoryview) -> str:
    """Return the sha256 of the bytes as 64 lower-case hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()
