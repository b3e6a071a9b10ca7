"""What training committed since a place in the log."""

from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.checkpoints import CheckpointRecord, list_checkpoints_after
from morph_assets.registry.events import EventCursor, latest_cursor


@dataclass(frozen=True)
class FoundCommits:
    """Committed checkpoints, oldest first, and the cursor behind them."""

    checkpoints: tuple[CheckpointRecord, ...]
    cursor: EventCursor


def find_commits(connections: Connections, after: EventCursor | None, *, limit: int = 100) -> FoundCommits:
    """Return the next checkpoints after the cursor; a cursor of an earlier timeline starts the log over.

    A restored backup has forgotten the newest commits and may give their numbers to others: so whatever is reported
    by (timeline, sequence) is reported again rather than missed.
    """
    registry = connections.registry("platform")
    head = latest_cursor(registry)
    since = after.seq if after is not None and after.timeline == head.timeline else 0
    found = list_checkpoints_after(registry, since, limit=limit)
    # A full page ends at its last row; otherwise everything up to the head, read before the rows, has been seen.
    seq = found[-1].seq if len(found) == limit else max(head.seq, found[-1].seq if found else 0)
    return FoundCommits(tuple(found), EventCursor(head.timeline, seq))
