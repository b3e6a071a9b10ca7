"""Points an alias at a release, whoever else moves it meanwhile."""

from morph_assets.connections import Connections
from morph_assets.registry import aliases
from morph_assets.registry.errors import StaleVersionError

_ATTEMPTS = 5


def move_alias(connections: Connections, name: str, alias: str, version: int) -> int:
    """Point the alias at the version and return its row version; the last of several movers wins.

    Raises:
        GuardError: the release is not published, or is retired.
        StaleVersionError: others moved it at every one of several attempts.
    """
    registry = connections.registry("publisher")
    for attempt in range(_ATTEMPTS):
        seen = aliases.find_alias(registry, name, alias)
        try:
            return aliases.move_alias(
                registry, name, alias, version, expected_row_version=None if seen is None else seen.row_version
            )
        except StaleVersionError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")
