"""From what a person asks for to one kernel."""

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.registry.errors import NotRegisteredError
from morph_assets.registry.kernels import KernelRecord
from morph_assets.usecases.find_release import find_release
from morph_kernels.identity import KernelDigest, is_digest

_GONE = frozenset({"RETIRED", "PURGED", "REVOKED"})


def find_kernel(connections: Connections, what: str) -> KernelRecord:
    """Return the kernel with the digest, or the newest of a release (`name`, `name@3`, `name@production`).

    Raises:
        NotRegisteredError: there is none.
    """
    registry = connections.registry("platform")
    if is_digest(what):
        return kernels.get_kernel(registry, KernelDigest(what))
    release = find_release(connections, what)
    found = kernels.list_kernels(registry, blueprint_digest=release.blueprint.digest)
    if not found:
        raise NotRegisteredError(f"{what} has no kernel yet: run `morph kernel compile {release.blueprint.name}`")
    return max(found, key=lambda kernel: (kernel.state not in _GONE, kernel.created_at))
