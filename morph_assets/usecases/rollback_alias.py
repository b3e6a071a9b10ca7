"""Points an alias at the release it pointed at before: a new step of its history, never a deletion."""

from collections.abc import Iterable

from morph_assets.connections import Connections
from morph_assets.registry.aliases import AliasMove, alias_history, find_alias, move_alias
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.publish_index import refresh_index
from morph_kernels.errors import MorphError


class NothingToRollBackError(MorphError):
    """The alias never pointed anywhere else."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"{name}@{alias} never pointed at another release before this one")


@acknowledged
def rollback_alias(connections: Connections, name: str, alias: str = "production") -> int:
    """Point the alias at the release before the present one; return that release's version.

    Doing it again goes further back. Of two at once one wins: nobody goes back twice by accident.

    Raises:
        NothingToRollBackError: there is none.
        GuardError: that release is retired, or the alias is frozen.
        StaleVersionError: somebody else moved it at this moment; look again.
    """
    registry = connections.registry("publisher")
    seen = find_alias(registry, name, alias)
    version = plan_rollback(alias_history(registry, name, alias))
    if seen is None or version is None:
        raise NothingToRollBackError(name, alias)
    move_alias(registry, name, alias, version, expected_row_version=seen.row_version, rolled_back=True)
    refresh_index(connections, name)
    return version


def plan_rollback(moves: Iterable[AliasMove]) -> int | None:
    """Return where a step back leads: to the release before the present one, not counting what was rolled back from."""
    way: list[int] = []
    for move in moves:
        if move.rolled_back:
            while way and way[-1] != move.version:
                way.pop()
        else:
            way.append(move.version)
    return way[-2] if len(way) > 1 else None
