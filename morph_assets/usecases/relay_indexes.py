"""Brings to the loaders whatever the registry's log says and no published index does."""

from dataclasses import dataclass
from datetime import UTC, datetime

from morph_assets.connections import Connections
from morph_assets.registry.events import EventCursor, latest_cursor
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.indexes import list_index_states
from morph_assets.usecases.publish_index import needs_renewal, publish_index, signs_since

_LEASE = "relay/index"


@dataclass(frozen=True)
class RelayedIndexes:
    """The names that were published anew, and the place in the log up to which every index is then complete.

    `was_leader` is False where another process is relaying at the moment, and nothing was done.
    """

    names: tuple[str, ...]
    cursor: EventCursor
    was_leader: bool


def relay_indexes(connections: Connections) -> RelayedIndexes:
    """Publish the index of every name with an event that its last index does not tell of, or that is to be signed anew.

    That is one that grows old, and one that was signed before the publisher's present key came.
    It remembers nothing itself: a relay that was stopped, for however long, goes on where the registry says.

    Raises:
        StoreError: some names are still behind; the next call finds them again.
    """
    registry = connections.registry("publisher")
    head = latest_cursor(registry)
    with hold_lease(registry, _LEASE) as lease:
        if lease is None:
            return RelayedIndexes((), EventCursor(head.timeline, 0), was_leader=False)
        now, since = datetime.now(UTC), signs_since(connections)
        behind = [
            state.name
            for state in list_index_states(registry)
            if state.is_behind or needs_renewal(state.published_at, now, signs_since=since)
        ]
        for name in behind:
            publish_index(connections, name)
    return RelayedIndexes(tuple(behind), head, was_leader=True)
