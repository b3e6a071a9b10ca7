"""Where an alias pointed, and when."""

from datetime import datetime

from morph_assets.connections import Connections
from morph_assets.registry import aliases
from morph_assets.registry.aliases import AliasMove


def trace_alias(connections: Connections, name: str, alias: str, *, at: datetime | None = None) -> list[AliasMove]:
    """Return every move of the alias, oldest first; with `at` only the one that held at that moment, if any."""
    registry = connections.registry("platform")
    if at is None:
        return aliases.alias_history(registry, name, alias)
    held = aliases.alias_at(registry, name, alias, at)
    return [] if held is None else [held]
