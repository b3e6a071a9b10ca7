"""Reads untrusted documents: bounded, RFC 8785 bytes only, every key and type checked.

A document has one form. Bytes that parse but are not that form (another order, a duplicate key, a space, a float) are
refused, so that a digest of the bytes is a digest of the meaning.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import rfc8785

from morph_kernels.canonical import is_canonical
from morph_kernels.errors import MorphError
from morph_kernels.identity import is_digest
from morph_kernels.reasons import Reason

T = TypeVar("T")

MAX_INTEGER = 2**53 - 1
_MAX_ITEMS = 100_000
_MAX_DIGITS = 17
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z")


class MalformedError(MorphError):
    """Untrusted bytes that are not what they should be. Not retryable: the same bytes stay malformed.

    `reason` is `TOO_LARGE` where a size limit was passed, else `MALFORMED`.
    """

    def __init__(self, what: str, problem: str, *, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(f"{what}: {problem}")
        self.what = what
        self.problem = problem
        self.reason = reason


def parse_document(data: bytes | memoryview, *, what: str, max_bytes: int) -> dict[str, Any]:
    """Parse the RFC 8785 bytes of one JSON object without floats.

    Raises:
        MalformedError: too large, not JSON, not an object, or not in the one canonical form.
    """
    if len(data) > max_bytes:
        raise MalformedError(what, f"{len(data)} bytes, at most {max_bytes} allowed", reason=Reason.TOO_LARGE)
    raw = bytes(data)
    try:
        document = json.loads(
            raw.decode("utf-8"), parse_int=_parse_integer, parse_float=_refuse_number, parse_constant=_refuse_number
        )
        if not isinstance(document, dict):
            raise MalformedError(what, "not a JSON object")
        canonical = is_canonical(raw, document)
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as error:
        raise MalformedError(what, f"not JSON: {type(error).__name__}") from error
    if not canonical:
        raise MalformedError(what, "not in canonical form (RFC 8785)")
    return document


def _parse_integer(text: str) -> int:
    # Longer ones are refused unread: parsing takes time quadratic in the digits.
    if len(text) > _MAX_DIGITS or abs(value := int(text)) > MAX_INTEGER:
        raise ValueError("an integer beyond 2**53")
    return value


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]!r} is not an integer")


class Fields:
    """Reads the fields of one JSON object, each exactly once; `close` refuses what was not read."""

    def __init__(self, document: Any, *, what: str) -> None:
        if not isinstance(document, Mapping):
            raise MalformedError(what, "not an object")
        self._rest = dict(document)
        self._what = what

    def take(self, key: str) -> Any:
        """Return and consume a required field."""
        if key not in self._rest:
            raise MalformedError(self._what, f"{key!r} is missing")
        return self._rest.pop(key)

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        """Return a string that matches the pattern as a whole."""
        value = self.take(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.refuse(key)
        return value

    def choice(self, key: str, allowed: frozenset[str]) -> str:
        """Return a string out of a fixed set."""
        value = self.take(key)
        if not isinstance(value, str) or value not in allowed:
            self.refuse(key)
        return value

    def digest(self, key: str) -> str:
        """Return a sha256 in its one written form."""
        value = self.take(key)
        if not is_digest(value):
            self.refuse(key)
        return str(value)

    def integer(self, key: str, *, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Return an integer within bounds; a boolean is none."""
        value = self.take(key)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key)
        return value

    def boolean(self, key: str) -> bool:
        """Return true or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            self.refuse(key)
        return value

    def time(self, key: str) -> datetime:
        """Return a moment in UTC, written to the second and ending in Z."""
        value = self.text(key, _TIME)
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.refuse(key)

    def items(self, key: str, read: Callable[[Any], T], *, max_items: int = _MAX_ITEMS) -> tuple[T, ...]:
        """Return a list, each item through `read`."""
        value = self.take(key)
        if not isinstance(value, list) or len(value) > max_items:
            self.refuse(key)
        return tuple(read(item) for item in value)

    def names(self, key: str, pattern: re.Pattern[str], *, max_items: int = _MAX_ITEMS) -> tuple[str, ...]:
        """Return a list of strings that each match the pattern."""

        def read(item: Any) -> str:
            if not isinstance(item, str) or not pattern.fullmatch(item):
                self.refuse(key)
            return item

        return self.items(key, read, max_items=max_items)

    def equal(self, key: str, expected: str | int) -> None:
        """Consume a field that has exactly one allowed value."""
        value = self.take(key)
        if type(value) is not type(expected) or value != expected:
            self.refuse(key)

    def nested(self, key: str) -> "Fields":
        """Return the fields of an object within this one."""
        return Fields(self.take(key), what=f"{self._what}.{key}")

    def rest(self) -> dict[str, Any]:
        """Return and consume every field that was not read yet."""
        rest, self._rest = self._rest, {}
        return rest

    def close(self) -> None:
        """Refuse fields that nobody asked for."""
        if self._rest:
            raise MalformedError(self._what, f"unknown field {min(self._rest)[:40]!r}")

    def refuse(self, key: str) -> NoReturn:
        """Raise `MalformedError` that names the field."""
        raise MalformedError(self._what, f"{key!r} is not allowed to have this value")


def format_time(moment: datetime) -> str:
    """Return the one written form of a moment: UTC, whole seconds, ending in Z."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    moment = moment.astimezone(UTC)
    # strftime does not pad the year on every platform.
    return f"{moment.year:04d}-{moment.strftime('%m-%dT%H:%M:%SZ')}"
