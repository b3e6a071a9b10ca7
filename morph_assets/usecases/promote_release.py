"""Points an alias at a published release and tells the loaders."""

from morph_assets.connections import Connections
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.find_release import find_release
from morph_assets.usecases.move_alias import move_alias
from morph_assets.usecases.publish_index import refresh_index


@acknowledged
def promote_release(connections: Connections, ref: str, alias: str) -> int:
    """Point the alias at the release (`name@3`, `name@staging`, or the newest of `name`); return the generation.

    Raises:
        GuardError: the release has no published kernel, or is retired.
        NotRegisteredError: there is no such release.
    """
    release = find_release(connections, ref)
    move_alias(connections, release.record.name, alias, release.record.version)
    return refresh_index(connections, release.record.name)
