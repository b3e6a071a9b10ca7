"""Aliases: names that point at published releases and move by compare-and-swap."""

from dataclasses import dataclass
from datetime import datetime

from morph_assets.registry.connection import Registry


@dataclass(frozen=True)
class AliasRecord:
    """Where an alias points; give `row_version` back to move it."""

    name: str
    alias: str
    version: int
    row_version: int
    moved_at: datetime


@dataclass(frozen=True)
class AliasMove:
    """One step of an alias's history: from `since_seq` on it pointed at `version`."""

    alias: str
    version: int
    row_version: int
    since_seq: int
    actor: str
    moved_at: datetime


def find_alias(registry: Registry, name: str, alias: str) -> AliasRecord | None:
    """Return where the alias points now."""
    return registry.fetch_one(
        AliasRecord,
        "SELECT name, alias, version, row_version, moved_at FROM morph.alias WHERE name = %s AND alias = %s",
        (name, alias),
    )


def list_aliases(registry: Registry, name: str | None = None) -> list[AliasRecord]:
    """Return the aliases of one name, or of all."""
    return registry.fetch(
        AliasRecord,
        """SELECT name, alias, version, row_version, moved_at FROM morph.alias
           WHERE %s::text IS NULL OR name = %s ORDER BY name, alias""",
        (name, name),
    )


def move_alias(registry: Registry, name: str, alias: str, version: int, *, expected_row_version: int | None) -> int:
    """Point the alias at the release, if it is still as last seen; return its new row version.

    None means that the alias is new. Moving it to where it points already changes nothing.

    Raises:
        StaleVersionError: somebody else moved it meanwhile.
        GuardError: the release is not published, or is retired.
        NotRegisteredError: there is no such release.
    """
    (row_version,) = registry.call(
        "SELECT morph.move_alias(%s, %s, %s, %s)", (name, alias, version, expected_row_version)
    )
    return int(row_version)


def alias_history(registry: Registry, name: str, alias: str) -> list[AliasMove]:
    """Return the moves of the alias, oldest first."""
    return registry.fetch(
        AliasMove,
        """SELECT alias, version, row_version, since_seq, actor, moved_at FROM morph.alias_history
           WHERE name = %s AND alias = %s ORDER BY row_version""",
        (name, alias),
    )
