"""The four kinds of identity, never mixed: a row's Id, a content's Digest, a store's Key, a person's Ref.

Digests are sha256 as 64 lower-case hexadecimal characters.
"""

import re
from dataclasses import dataclass
from typing import NewType

from morph_kernels.errors import MorphError

BlobDigest = NewType("BlobDigest", str)
BlueprintDigest = NewType("BlueprintDigest", str)
KernelDigest = NewType("KernelDigest", str)
BuildKey = NewType("BuildKey", str)
ObjectKey = NewType("ObjectKey", str)

# A timeline stands above these bits of every lease epoch and index generation, in the registry's schema too.
COUNTER_BITS = 40
NAME_PATTERN = r"[a-z0-9][a-z0-9._-]{0,62}"
_NAME = re.compile(NAME_PATTERN)
_DIGEST = re.compile(r"[0-9a-f]{64}")


class InvalidNameError(MorphError):
    """A name that cannot be a partition key, an object key and a metric label alike."""

    def __init__(self, what: str, value: str) -> None:
        super().__init__(
            f"{what} {value!r} is not allowed: use 1 to 63 of a-z 0-9 . _ - and begin with a letter or digit"
        )


def parse_name(value: str, *, what: str = "name") -> str:
    """Return the name unchanged, or raise `InvalidNameError`."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidNameError(what, str(value))
    return value


def is_digest(value: object) -> bool:
    """Return whether the value has the form of a digest."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


@dataclass(frozen=True)
class BlueprintRef:
    """What a person asks for: a blueprint's name and an alias of one of its releases."""

    name: str
    alias: str = "production"

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}"


def parse_ref(text: str) -> BlueprintRef:
    """Parse `name` or `name@alias`.

    Raises:
        InvalidNameError: either half is not a name.
    """
    name, _, alias = text.partition("@")
    return BlueprintRef(parse_name(name, what="blueprint"), parse_name(alias or "production", what="alias"))
