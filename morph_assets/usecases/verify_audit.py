"""Proves, as the auditor, that the log still says what it said."""

from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.events import latest_seq


@dataclass(frozen=True)
class VerifiedAudit:
    """The number of events, and the first one at which the hash chain breaks, if it does."""

    events: int
    first_broken_seq: int | None

    @property
    def holds(self) -> bool:
        """Whether the whole chain holds."""
        return self.first_broken_seq is None


def verify_audit(connections: Connections) -> VerifiedAudit:
    """Recompute every hash of the log here, not in the database."""
    registry = connections.registry("auditor")
    events = latest_seq(registry)
    return VerifiedAudit(events, verify_chain(registry))
