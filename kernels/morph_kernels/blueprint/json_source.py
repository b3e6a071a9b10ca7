"""Untrusted JSON bytes to plain values, without duplicate keys, NaN or unbounded nesting."""

import json
from typing import Any, NoReturn

from morph_kernels.blueprint.cursor import Source, shown
from morph_kernels.blueprint.errors import BlueprintMalformedError, BlueprintTooLargeError
from morph_kernels.blueprint.limits import MAX_DEPTH, MAX_SOURCE_BYTES


def read_json(data: bytes) -> Source:
    """Parse untrusted JSON bytes.

    Raises:
        BlueprintMalformedError: not JSON, or a duplicate key, NaN or Infinity in it.
        BlueprintTooLargeError: too many bytes or levels.
    """
    if len(data) > MAX_SOURCE_BYTES:
        raise BlueprintTooLargeError(f"document: has more than the {MAX_SOURCE_BYTES} bytes allowed")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise BlueprintTooLargeError(f"document: nested deeper than the {MAX_DEPTH} levels allowed") from None
    except ValueError as error:
        line = getattr(error, "lineno", None)
        place = f"line {line}" if line else "document"
        raise BlueprintMalformedError(f"{place}: not JSON: {' '.join(str(error).split())}") from None
    _check_depth(value, 0)
    return Source(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, value in pairs:
        if key in entries:
            raise BlueprintMalformedError(f"document: duplicate key {shown(key)}")
        entries[key] = value
    return entries


def _refuse_constant(text: str) -> NoReturn:
    raise BlueprintMalformedError(f"document: {text} is not a number here")


def _check_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BlueprintTooLargeError(f"document: nested deeper than the {MAX_DEPTH} levels allowed")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _check_depth(child, depth + 1)
