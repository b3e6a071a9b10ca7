"""Cursors of what follows the log, moved by compare-and-swap: of two that did the same work, one says so."""

from dataclasses import dataclass

from morph_assets.registry.connection import Registry
from morph_assets.registry.events import RelayName


@dataclass(frozen=True)
class UnanchoredWindow:
    """What no anchor covers yet: how many events, and how long the oldest of them has waited, 0 for none."""

    events: int
    oldest_s: float


def relay_seq(registry: Registry, relay: RelayName) -> int:
    """Return where the relay stands, 0 where it never moved."""
    (seq,) = registry.call("SELECT coalesce(max(seq), 0) FROM morph.relay WHERE relay = %s", (relay,))
    return int(seq)


def advance_relay(registry: Registry, relay: RelayName, *, expected: int, seq: int) -> bool:
    """Move the relay on and return whether it still stood where expected. As platform or auditor.

    Raises:
        InvalidRecordError: backwards, or ahead of the log.
    """
    (moved,) = registry.call("SELECT morph.advance_relay(%s, %s, %s)", (relay, expected, seq))
    return bool(moved)


def unanchored_window(registry: Registry, *, anchored_seq: int | None = None) -> UnanchoredWindow:
    """Return what stands behind the last anchored event: the given one, or the one that the registry remembers."""
    events, seconds = registry.call(
        """SELECT h.seq - r.seq, coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at), 0)::float8
           FROM morph.chain_head h
           CROSS JOIN (SELECT coalesce(%s::bigint, max(seq), 0) AS seq FROM morph.relay WHERE relay = 'anchored') r
           LEFT JOIN morph.event e ON e.tenant = h.tenant AND e.seq = r.seq + 1""",
        (anchored_seq,),
    )
    return UnanchoredWindow(max(0, int(events)), max(0.0, float(seconds)))
