"""Keeps an alias where it points."""

from morph_assets.connections import Connections
from morph_assets.registry import aliases
from morph_assets.usecases.acknowledge import acknowledged


@acknowledged
def freeze_alias(connections: Connections, name: str, alias: str, *, reason: str) -> bool:
    """Let nobody move the alias, by promotion, rollback or publishing, until it is unfrozen; false if it was so before.

    Raises:
        NotRegisteredError: there is no such alias.
    """
    return aliases.freeze_alias(connections.registry("curator"), name, alias, reason=reason)
