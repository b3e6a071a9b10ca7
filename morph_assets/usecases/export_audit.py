"""Reads the log out, whole, for whoever keeps it elsewhere."""

from collections.abc import Iterator
from typing import Any

from morph_assets.connections import Connections
from morph_assets.registry.events import events_after

_PAGE = 1000


def export_audit(connections: Connections, after: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the events after the sequence number, oldest first, as plain JSON data; bytes are hexadecimal."""
    registry = connections.registry("auditor")
    while page := events_after(registry, after, limit=_PAGE):
        for event in page:
            yield {
                "seq": event.seq,
                "timeline": event.timeline,
                "event_id": str(event.event_id),
                "type": event.type,
                "subject": event.subject,
                "schema_version": event.schema_version,
                "actor": event.actor,
                "recorded_at": event.recorded_at.isoformat(),
                "facts": event.facts,
                "prev_hash": event.prev_hash.hex(),
                "hash": event.hash.hex(),
            }
        after = page[-1].seq
