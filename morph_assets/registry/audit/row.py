"""One event as its hash covers it: the plain values, without the cost of an object for each of millions."""

import hashlib
from typing import NamedTuple
from uuid import UUID

from morph_assets.registry.events import EventRecord
from morph_assets.registry.microseconds import from_us

GENESIS = bytes(32)
_CLAIMS_SINCE = 2


class EventRow(NamedTuple):
    """The columns of an event; moments are microseconds since 1970."""

    tenant: str
    seq: int
    timeline: int
    event_id: str
    type: str
    subject: str
    schema_version: int
    actor: str
    recorded_us: int
    claimed_actor: str | None
    claimed_us: int | None
    payload: bytes
    prev_hash: bytes
    hash: bytes


def expected_hash(row: EventRow) -> bytes:
    """Return the hash that the event must have: sha256 of the previous hash, the header's and the payload's sha256.

    The header is its fields, a line each. Since version 2 it ends with the two claims, empty where nothing is claimed.
    """
    (
        tenant,
        seq,
        timeline,
        event_id,
        kind,
        subject,
        version,
        actor,
        recorded,
        claimed,
        claimed_us,
        payload,
        prev,
        _,
    ) = row
    header = f"{tenant}\n{seq}\n{timeline}\n{event_id}\n{kind}\n{subject}\n{version}\n{actor}\n{recorded}"
    if version >= _CLAIMS_SINCE:
        header += f"\n{claimed or ''}\n{'' if claimed_us is None else claimed_us}"
    sha256 = hashlib.sha256
    return sha256(prev + sha256(header.encode()).digest() + sha256(payload).digest()).digest()


def record_of(row: EventRow) -> EventRecord:
    """Return the event as the record that everybody else reads."""
    return EventRecord(
        tenant=row.tenant,
        seq=row.seq,
        timeline=row.timeline,
        event_id=UUID(row.event_id),
        type=row.type,
        subject=row.subject,
        schema_version=row.schema_version,
        actor=row.actor,
        recorded_at=from_us(row.recorded_us),
        payload=row.payload,
        prev_hash=row.prev_hash,
        hash=row.hash,
        claimed_actor=row.claimed_actor,
        claimed_at=None if row.claimed_us is None else from_us(row.claimed_us),
    )
