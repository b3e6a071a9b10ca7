"""Aliases: names that point at published releases and move by compare-and-swap."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from morph_assets.registry.connection import Registry


@dataclass(frozen=True)
class AliasRecord:
    """Where an alias points; give `row_version` back to move it. A frozen one moves only after it was unfrozen."""

    name: str
    alias: str
    version: int
    row_version: int
    moved_at: datetime
    frozen_reason: str | None
    frozen_by: str | None


@dataclass(frozen=True)
class AliasMove:
    """One step of an alias's history: from `since_seq`, told at `moved_at`, it pointed at `version`."""

    alias: str
    version: int
    row_version: int
    since_seq: int
    actor: str
    rolled_back: bool
    moved_at: datetime


def find_alias(registry: Registry, name: str, alias: str) -> AliasRecord | None:
    """Return where the alias points now."""
    return registry.fetch_one(
        AliasRecord,
        """SELECT name, alias, version, row_version, moved_at, frozen_reason, frozen_by FROM morph.alias
           WHERE name = %s AND alias = %s""",
        (name, alias),
    )


def move_alias(
    registry: Registry,
    name: str,
    alias: str,
    version: int,
    *,
    expected_row_version: int | None,
    rolled_back: bool = False,
) -> int:
    """Point the alias at the release, if it is still as last seen; return its new row version.

    None means that the alias is new. Moving it to where it points already changes nothing. `rolled_back` says that this
    is a step back in its history, from which another one goes further back.

    Raises:
        StaleVersionError: somebody else moved it meanwhile.
        GuardError: the release is not published, or is retired; or the alias is frozen.
        NotRegisteredError: there is no such release.
    """
    (row_version,) = registry.call(
        "SELECT morph.move_alias(%s, %s, %s, %s, %s)", (name, alias, version, expected_row_version, rolled_back)
    )
    return int(row_version)


def freeze_alias(registry: Registry, name: str, alias: str, *, reason: str) -> bool:
    """Keep the alias where it points until it is unfrozen; return whether that changed anything. As curator or admin.

    Raises:
        NotRegisteredError: there is no such alias.
    """
    (changed,) = registry.call("SELECT morph.freeze_alias(%s, %s, %s)", (name, alias, reason))
    return bool(changed)


def unfreeze_alias(registry: Registry, name: str, alias: str, *, reason: str) -> bool:
    """Let the alias move again; return whether it was frozen. As curator or admin.

    Raises:
        NotRegisteredError: there is no such alias.
    """
    (changed,) = registry.call("SELECT morph.unfreeze_alias(%s, %s, %s)", (name, alias, reason))
    return bool(changed)


_HISTORY: LiteralString = """
    SELECT h.alias, h.version, h.row_version, h.since_seq, h.actor, h.rolled_back, e.recorded_at AS moved_at
    FROM morph.alias_history h JOIN morph.event e ON e.tenant = h.tenant AND e.seq = h.since_seq
    WHERE h.name = %s AND h.alias = %s
"""


def alias_history(registry: Registry, name: str, alias: str) -> list[AliasMove]:
    """Return the moves of the alias, oldest first."""
    return registry.fetch(AliasMove, _HISTORY + "ORDER BY h.since_seq", (name, alias))


def alias_at(registry: Registry, name: str, alias: str, at: datetime) -> AliasMove | None:
    """Return the move by which the alias pointed where it did at that moment; None before its first."""
    return registry.fetch_one(
        AliasMove, _HISTORY + "AND e.recorded_at <= %s ORDER BY h.since_seq DESC LIMIT 1", (name, alias, at)
    )
