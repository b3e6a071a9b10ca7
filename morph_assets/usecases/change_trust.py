"""What every change of trust has in common: where it is made, that it is told, and that the indexes follow it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from morph_assets.connections import Connections, PlatformDownError
from morph_assets.progress import Progress
from morph_assets.registry.indexes import list_index_states
from morph_assets.usecases.publish_index import publish_index
from morph_kernels.artifact.trust import KEYS_NAME
from morph_kernels.errors import MorphError


class TrustElsewhereError(MorphError):
    """The keys that sign here do not lie beside the trust file, so both cannot be changed as one."""

    def __init__(self, trust_file: Path, keys_dir: Path) -> None:
        super().__init__(
            f"the trust file is {trust_file} and the keys lie in {keys_dir}: change trust where the root's key lies "
            f"beside it in {KEYS_NAME}/, then copy the file and the role's key"
        )


@dataclass(frozen=True)
class ChangedTrust:
    """A version of the trust file, and what followed from it.

    `keyid` is the key that was added, made or revoked. `signs_now` is the key that signs for the role from now on,
    where that changed; `old_until` says how long the one before is believed. `unvouched` are published kernels that
    nobody vouches for any more. `told` is False where the audit log could not be reached. `problem` says why some
    indexes are not published yet; the relay, or the same call again, brings them.
    """

    role: str
    keyid: str
    version: int
    signs_now: str | None = None
    old_keyid: str | None = None
    old_until: datetime | None = None
    renewed: tuple[str, ...] = ()
    unvouched: tuple[str, ...] = ()
    told: bool = False
    problem: str | None = None


def find_trust_folder(connections: Connections) -> Path:
    """Return the folder that holds the trust file and, beside it, the keys that sign here.

    Raises:
        PlatformDownError: no trust file is known.
        TrustElsewhereError: the keys lie somewhere else.
    """
    path, keys_dir = connections.config.endpoints.trust_file, connections.config.folders.keys_dir
    if path is None:
        raise PlatformDownError("trust file")
    if keys_dir.resolve() != (path.parent / KEYS_NAME).resolve():
        raise TrustElsewhereError(path, keys_dir)
    return path.parent


def tell_trust_change(connections: Connections, change: str, keyid: str, facts: Mapping[str, Any]) -> bool:
    """Tell the chain of refusals what was changed; return whether it was: trust changes also while it is down."""
    try:
        teller = connections.registry("admin").refusals
    except PlatformDownError:
        return False
    return teller.tell("security.trust_changed", {"change": change, **facts}, subject=f"key/{keyid}")


def renew_indexes(connections: Connections, progress: Progress) -> tuple[tuple[str, ...], str | None]:
    """Publish every index anew by the key that signs now; return the names, and why others are left if any are.

    Trust is changed already and stays so, whatever the servers say: nothing is raised for their sake.
    """
    done: list[str] = []
    try:
        names = [state.name for state in list_index_states(connections.registry("publisher")) if state.published_at]
        with progress("publishing indexes", total=len(names)) as advance:
            for name in names:
                publish_index(connections, name)
                done.append(name)
                advance(1)
    except MorphError as error:
        return tuple(done), str(error)
    return tuple(done), None
