"""The commit record: says in the object store that a checkpoint was committed, should the ledger be lost.

Format 1, RFC 8785 JSON: `branch`, `checkpoint`, `epoch`, `format`, `manifest_digest`, `manifest_key`, `parent`, `run`,
`sequence`, `step`. Everything else stands in the manifest, which the record names by digest.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

from morph_kernels.canonical import canonical_bytes
from morph_kernels.errors import MorphError
from morph_kernels.identity import is_digest

FORMAT = 1
MAX_RECORD_BYTES = 64 * 1024


class RecordError(MorphError):
    """Bytes that are not a commit record which this version can read."""


@dataclass(frozen=True)
class CommitRecord:
    """What was committed, and where it stands in its ledger's order."""

    run: str
    branch: str
    checkpoint: UUID
    parent: UUID | None
    epoch: int
    step: int
    manifest_digest: str
    manifest_key: str
    sequence: int

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        parent = None if self.parent is None else str(self.parent)
        return canonical_bytes(asdict(self) | {"format": FORMAT, "checkpoint": str(self.checkpoint), "parent": parent})


def parse_record(data: bytes) -> CommitRecord:
    """Read a stored record.

    Raises:
        RecordError: it is no record, or one of a newer format.
    """
    try:
        document: dict[str, Any] = json.loads(data)
        if document.pop("format") != FORMAT or document.keys() != {field.name for field in fields(CommitRecord)}:
            raise RecordError("not a commit record of format 1")
        parent = document["parent"]
        record = CommitRecord(
            **(
                document
                | {"checkpoint": UUID(document["checkpoint"]), "parent": None if parent is None else UUID(parent)}
            )
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RecordError(f"not a commit record: {type(error).__name__}") from error
    numbers = (record.epoch, record.step, record.sequence)
    words = (record.run, record.branch, record.manifest_key)
    if not (
        is_digest(record.manifest_digest)
        and all(type(number) is int and number >= 0 for number in numbers)
        and all(type(word) is str for word in words)
    ):
        raise RecordError("a commit record with members of other types")
    return record
