"""Reads a chain out, whole or in part, for whoever keeps it elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from morph_assets.connections import Connections
from morph_assets.registry.events import LOG, Chain, EventRecord, events_after
from morph_assets.registry.replay.state import UnknownEventError, handled_types

_PAGE = 1000


@dataclass(frozen=True)
class ExportRange:
    """What to read out: behind a number, of some types, recorded from `since` on and before `until`."""

    after: int = 0
    types: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


def export_audit(
    connections: Connections, wanted: ExportRange = ExportRange(), *, chain: Chain = LOG
) -> Iterator[dict[str, Any]]:
    """Yield the events, oldest first, as plain JSON data; bytes are hexadecimal, moments ISO 8601 in UTC.

    Raises:
        UnknownEventError: the log has no events of a type that is asked for, by its name.
    """
    unknown = set(wanted.types or ()) - handled_types() if chain is LOG else set()
    if unknown:
        raise UnknownEventError(f"there are no {min(unknown)} events; known are {', '.join(sorted(handled_types()))}")
    registry, after = connections.registry("auditor"), wanted.after
    while page := events_after(registry, after, limit=_PAGE, types=wanted.types, chain=chain):
        yield from (_document(event) for event in page if _is_within(event, wanted))
        after = page[-1].seq


def _is_within(event: EventRecord, wanted: ExportRange) -> bool:
    since = wanted.since is None or event.recorded_at >= wanted.since
    return since and (wanted.until is None or event.recorded_at < wanted.until)


def _document(event: EventRecord) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "timeline": event.timeline,
        "event_id": str(event.event_id),
        "type": event.type,
        "subject": event.subject,
        "schema_version": event.schema_version,
        "actor": event.actor,
        "recorded_at": event.recorded_at.isoformat(),
        "claimed_actor": event.claimed_actor,
        "claimed_at": None if event.claimed_at is None else event.claimed_at.isoformat(),
        "facts": event.facts,
        "prev_hash": event.prev_hash.hex(),
        "hash": event.hash.hex(),
    }
