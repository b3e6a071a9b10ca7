"""What happened, in commit order and without gaps, and the proof that nobody changed the record of it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from morph_assets.registry.connection import Registry

_GENESIS = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class EventRecord:
    """One event; `payload` holds the RFC 8785 bytes that its hash covers."""

    tenant: str
    seq: int
    timeline: int
    event_id: UUID
    type: str
    subject: str
    schema_version: int
    actor: str
    recorded_at: datetime
    payload: bytes
    prev_hash: bytes
    hash: bytes

    @property
    def facts(self) -> Mapping[str, Any]:
        """The payload as a document."""
        document: Mapping[str, Any] = json.loads(self.payload)
        return document


@dataclass(frozen=True, order=True)
class EventCursor:
    """A place in the log; a restored backup's log goes on in a later timeline."""

    timeline: int
    seq: int


@dataclass(frozen=True)
class ChainHead:
    """The newest event's number and hash: what an anchor outside has to remember."""

    seq: int
    hash: bytes


def events_after(
    registry: Registry, seq: int, *, limit: int = 1000, types: Sequence[str] | None = None
) -> list[EventRecord]:
    """Return the committed events after the sequence number, oldest first; none appears later below one returned."""
    return registry.fetch(
        EventRecord,
        """SELECT tenant, seq, timeline, event_id, type, subject, schema_version, actor, recorded_at, payload,
                  prev_hash, hash
           FROM morph.event WHERE seq > %s AND (%s::text[] IS NULL OR type = ANY (%s::text[]))
           ORDER BY tenant, seq LIMIT %s""",
        (seq, None if types is None else list(types), None if types is None else list(types), limit),
    )


def events_about(registry: Registry, subject: str, *, limit: int = 1000) -> list[EventRecord]:
    """Return the events of one subject (`kernel/<digest>`, `blueprint/<name>`, ...), oldest first."""
    return registry.fetch(
        EventRecord,
        """SELECT tenant, seq, timeline, event_id, type, subject, schema_version, actor, recorded_at, payload,
                  prev_hash, hash
           FROM morph.event WHERE subject = %s ORDER BY tenant, subject, seq LIMIT %s""",
        (subject, limit),
    )


def latest_seq(registry: Registry) -> int:
    """Return the newest event's sequence number, 0 where nothing has happened."""
    return chain_head(registry).seq


def latest_cursor(registry: Registry) -> EventCursor:
    """Return the place behind the newest event."""
    (timeline,) = registry.call("SELECT morph.current_timeline()")
    return EventCursor(timeline, latest_seq(registry))


def chain_head(registry: Registry) -> ChainHead:
    """Return the head of the tenant's chain."""
    (seq, digest) = registry.call("SELECT seq, hash FROM morph.chain_head")
    return ChainHead(seq, digest)


def verify_chain(registry: Registry, *, after: ChainHead | None = None) -> int | None:
    """Return the first sequence number where the chain does not hold, or None; computed here, not by the database.

    `after` is a head known from outside: verification starts behind it, and proves that the log still contains it.
    """
    head = chain_head(registry)
    seq, digest = (0, _GENESIS) if after is None else (after.seq, after.hash)
    for event in _iter_events(registry, seq, head.seq):
        if event.seq != seq + 1 or event.prev_hash != digest or event.hash != event_hash(event):
            return min(event.seq, seq + 1)
        seq, digest = event.seq, event.hash
    if seq != head.seq or digest != head.hash:
        return seq + 1 if seq < head.seq else head.seq
    return None


def event_hash(event: EventRecord) -> bytes:
    """Return the hash that the event must have: sha256 of the previous hash, the header's and the payload's sha256."""
    recorded_us = (event.recorded_at - _EPOCH) // _MICROSECOND
    header = (
        f"{event.tenant}\n{event.seq}\n{event.timeline}\n{event.event_id}\n{event.type}\n{event.subject}\n"
        f"{event.schema_version}\n{event.actor}\n{recorded_us}"
    )
    parts = event.prev_hash + hashlib.sha256(header.encode()).digest() + hashlib.sha256(event.payload).digest()
    return hashlib.sha256(parts).digest()


def _iter_events(registry: Registry, after: int, up_to: int) -> Iterator[EventRecord]:
    # Page by page: a log does not fit in memory, and one long statement would meet its time limit.
    while True:
        with registry.transaction() as connection, connection.cursor(row_factory=class_row(EventRecord)) as cursor:
            page = cursor.execute(
                """SELECT tenant, seq, timeline, event_id, type, subject, schema_version, actor, recorded_at, payload,
                          prev_hash, hash
                   FROM morph.event WHERE seq > %s AND seq <= %s ORDER BY tenant, seq LIMIT 2000""",
                (after, up_to),
                binary=True,
            ).fetchall()
        if not page:
            return
        yield from page
        after = page[-1].seq
