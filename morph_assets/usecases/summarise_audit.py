"""The audit log at one look: whether it holds, what happened last, how often what happens."""

from collections.abc import Mapping
from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.events import EventRecord, count_events_by_type, newest_events
from morph_assets.usecases.verify_audit import VerifiedAudit, verify_audit

_SHOWN = 20


@dataclass(frozen=True)
class AuditSummary:
    """The outcome of a whole verification, the newest events (newest first), and events by type."""

    verified: VerifiedAudit
    newest: tuple[EventRecord, ...]
    by_type: Mapping[str, int]


def summarise_audit(connections: Connections) -> AuditSummary:
    """Verify the whole log and sum it up.

    Raises:
        StoreError: the store does not answer.
    """
    registry = connections.registry("auditor")
    newest = tuple(newest_events(registry, limit=_SHOWN))
    return AuditSummary(verify_audit(connections), newest, count_events_by_type(registry))
