"""The body journal: which body each slot ran, from which boundary on, and what its bits depend on.

State restores bitwise under any body; a trajectory repeats only with the same bodies on the same threads, instruction
set and torch. So every swap is one record, and every checkpoint carries all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from morph_kernels.errors import MorphError

EAGER = "eager"


class JournalError(MorphError):
    """A journal says something impossible, such as a boundary before the last one."""


@dataclass(frozen=True)
class BodyRecord:
    """From this boundary on the slot ran this body: a kernel's digest, or `EAGER`."""

    boundary: int
    slot: str
    body: str
    threads: int
    isa: str
    torch: str

    def to_document(self) -> dict[str, Any]:
        """Return the record as canonical JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "BodyRecord":
        """Parse a record; unknown, missing or mistyped fields refuse.

        Raises:
            JournalError: the document is not a record.
        """
        expected = {field.name: field.type for field in fields(cls)}
        if set(document) != set(expected) or any(type(document[name]) is not kind for name, kind in expected.items()):
            raise JournalError(f"not a body record: fields {sorted(document)}")
        return cls(**document)


def append_record(journal: tuple[BodyRecord, ...], record: BodyRecord) -> tuple[BodyRecord, ...]:
    """Return the journal with the record, or unchanged where it repeats what the slot already runs.

    Raises:
        JournalError: the record's boundary lies before the journal's last one.
    """
    if journal and record.boundary < journal[-1].boundary:
        raise JournalError(f"boundary {record.boundary} comes after boundary {journal[-1].boundary} in the journal")
    last = bodies_of(journal).get(record.slot)
    if last is not None and _conditions(last) == _conditions(record):
        return journal
    return (*journal, record)


def bodies_of(journal: Iterable[BodyRecord], *, boundary: int | None = None) -> Mapping[str, BodyRecord]:
    """Return each slot's newest record, up to and including `boundary` where one is given."""
    return {record.slot: record for record in journal if boundary is None or record.boundary <= boundary}


def _conditions(record: BodyRecord) -> tuple[str, int, str, str]:
    return record.body, record.threads, record.isa, record.torch
