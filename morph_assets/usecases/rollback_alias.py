"""Points an alias at the release it pointed at before: a new step of its history, never a deletion."""

from morph_assets.connections import Connections
from morph_assets.registry.aliases import alias_history
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.move_alias import move_alias
from morph_assets.usecases.publish_index import refresh_index
from morph_kernels.errors import MorphError


class NothingToRollBackError(MorphError):
    """The alias never pointed anywhere else."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"{name}@{alias} never pointed at another release")


@acknowledged
def rollback_alias(connections: Connections, name: str, alias: str = "production") -> int:
    """Point the alias at the release before the present one; return that release's version.

    Raises:
        NothingToRollBackError: there is none.
        GuardError: that release is retired.
    """
    moves = alias_history(connections.registry("publisher"), name, alias)
    earlier = [move.version for move in moves if move.version != moves[-1].version]
    if not earlier:
        raise NothingToRollBackError(name, alias)
    move_alias(connections, name, alias, earlier[-1])
    refresh_index(connections, name)
    return earlier[-1]
