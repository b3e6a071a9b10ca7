"""Cursors of what follows the log, moved by compare-and-swap: of two that did the same work, one says so."""

from typing import Literal

from morph_assets.registry.connection import Registry

RelayName = Literal["archive", "security", "anchor", "anchored"]


def relay_seq(registry: Registry, relay: str) -> int:
    """Return where the relay stands, 0 where it never moved."""
    (seq,) = registry.call("SELECT coalesce(max(seq), 0) FROM morph.relay WHERE relay = %s", (relay,))
    return int(seq)


def advance_relay(registry: Registry, relay: str, *, expected: int, seq: int) -> bool:
    """Move the relay on and return whether it still stood where expected. As platform or auditor.

    Raises:
        InvalidRecordError: backwards, or ahead of the log.
    """
    (moved,) = registry.call("SELECT morph.advance_relay(%s, %s, %s)", (relay, expected, seq))
    return bool(moved)
