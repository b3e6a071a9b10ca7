"""Finds the indexes that a relay would publish anew."""

from datetime import UTC, datetime

from morph_assets.connections import Connections
from morph_assets.registry.indexes import list_index_states
from morph_assets.usecases.publish_index import needs_renewal, signs_since


def find_stale_indexes(connections: Connections) -> tuple[str, ...]:
    """Return the names whose index is behind the registry's log or grows old, or was signed before a new key came."""
    now, since = datetime.now(UTC), signs_since(connections)
    states = list_index_states(connections.registry("platform"))
    return tuple(s.name for s in states if s.is_behind or needs_renewal(s.published_at, now, signs_since=since))
