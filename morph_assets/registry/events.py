"""What happened, in commit order and without gaps: reading the log. Whether it is genuine says the audit package."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from morph_assets.registry.connection import Registry

RelayName = Literal["archive", "security", "anchor", "anchored"]


@dataclass(frozen=True)
class Chain:
    """One of a tenant's two chains: where its events, its head and its archiver's cursor stand."""

    name: Literal["log", "security"]
    events: LiteralString
    heads: LiteralString
    relay: RelayName


LOG = Chain("log", "morph.event", "morph.chain_head", "archive")
# What was refused: appended on a connection of its own, because the refused transaction is rolled back.
SECURITY = Chain("security", "morph.security_event", "morph.security_head", "security")


@dataclass(frozen=True)
class EventRecord:
    """One event; `payload` holds the RFC 8785 bytes that its hash covers.

    `actor` is the login and `recorded_at` the server's clock; what the client claimed of both is beside them.
    """

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
    claimed_actor: str | None = None
    claimed_at: datetime | None = None

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


# Of `EventRecord`, to be ended by a table's name.
EVENT_COLUMNS: LiteralString = """
    SELECT tenant, seq, timeline, event_id, type, subject, schema_version, actor, recorded_at, payload,
           prev_hash, hash, claimed_actor, claimed_at FROM """
_HEAD: LiteralString = "SELECT seq, hash FROM "


def events_after(
    registry: Registry, seq: int, *, limit: int = 1000, types: Sequence[str] | None = None, chain: Chain = LOG
) -> list[EventRecord]:
    """Return the committed events after the sequence number, oldest first; none appears later below one returned."""
    wanted = None if types is None else list(types)
    return registry.fetch(
        EventRecord,
        EVENT_COLUMNS
        + chain.events
        + " WHERE seq > %s AND (%s::text[] IS NULL OR type = ANY (%s::text[])) ORDER BY tenant, seq LIMIT %s",
        (seq, wanted, wanted, limit),
    )


def events_about(registry: Registry, subject: str, *, limit: int = 1000) -> list[EventRecord]:
    """Return the events of one subject (`kernel/<digest>`, `blueprint/<name>`, ...), oldest first."""
    return registry.fetch(
        EventRecord,
        EVENT_COLUMNS + "morph.event WHERE subject = %s ORDER BY tenant, subject, seq LIMIT %s",
        (subject, limit),
    )


def newest_events(registry: Registry, *, limit: int) -> list[EventRecord]:
    """Return the newest events, newest first."""
    return registry.fetch(EventRecord, EVENT_COLUMNS + "morph.event ORDER BY tenant DESC, seq DESC LIMIT %s", (limit,))


def count_events_by_type(registry: Registry) -> dict[str, int]:
    """Return how many events of each type there are, in the order of the types."""
    with registry.transaction() as connection:
        rows = connection.execute("SELECT type, count(*) FROM morph.event GROUP BY type ORDER BY type").fetchall()
    return {kind: int(count) for kind, count in rows}


def latest_seq(registry: Registry) -> int:
    """Return the newest event's sequence number, 0 where nothing has happened."""
    return chain_head(registry).seq


def latest_cursor(registry: Registry) -> EventCursor:
    """Return the place behind the newest event."""
    (timeline,) = registry.call("SELECT morph.current_timeline()")
    return EventCursor(timeline, latest_seq(registry))


def chain_head(registry: Registry, chain: Chain = LOG) -> ChainHead:
    """Return the head of the tenant's chain; a chain that was never appended to has no row yet."""
    found = registry.fetch_one(ChainHead, _HEAD + chain.heads)
    return found or ChainHead(0, bytes(32))
