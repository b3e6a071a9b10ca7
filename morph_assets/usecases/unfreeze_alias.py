"""Lets a frozen alias move again."""

from morph_assets.connections import Connections
from morph_assets.registry import aliases
from morph_assets.usecases.acknowledge import acknowledged


@acknowledged
def unfreeze_alias(connections: Connections, name: str, alias: str, *, reason: str) -> bool:
    """Let the alias move again; false if it was not frozen.

    Raises:
        NotRegisteredError: there is no such alias.
    """
    return aliases.unfreeze_alias(connections.registry("curator"), name, alias, reason=reason)
