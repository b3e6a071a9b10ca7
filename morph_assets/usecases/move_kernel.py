"""Moves a kernel's bundle between the store and the cold place: copy, verify, switch, delete.

A kill between any two of them leaves the kernel readable, and the next move ends what this one began.
"""

from morph_assets.connections import Connections, PlatformDownError
from morph_assets.registry.artifacts import Place, find_place, tell_artifact
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.kernels import KernelRecord, get_kernel
from morph_assets.registry.leases import renew_lease
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.fetch_bundle import ArtifactDamagedError, open_bundle
from morph_assets.usecases.purge_kernel import KernelInWorkError
from morph_kernels.artifact.bundle import MAX_BUNDLE_BYTES
from morph_kernels.identity import KernelDigest
from morph_kernels.store import ObjectNotFoundError, ObjectStore, ObjectTooLargeError, StoreUnavailableError

_LEASE_S = 15.0
_GONE = frozenset({"RETIRED", "PURGED"})


@acknowledged
def move_kernel(
    connections: Connections, digest: KernelDigest, to: Place, *, reason: str, lease_s: float = _LEASE_S
) -> bool:
    """Bring the kernel to the place and keep it nowhere else; return whether it is there now, as retired ones are not.

    Raises:
        NotRegisteredError: there is no such kernel.
        KernelInWorkError: another process builds, moves or removes it.
        PlatformDownError: no cold place is known.
        ArtifactDamagedError: the copy to be moved is damaged; nothing was changed.
        StoreError: a place does not answer, or neither holds the kernel.
    """
    registry = connections.registry("platform")
    kernel = get_kernel(registry, digest)
    source, target = _ends(connections, to)
    with hold_lease(registry, f"build/{kernel.build_key}", ttl_s=lease_s) as lease:
        if lease is None:
            raise KernelInWorkError(digest)
        if get_kernel(registry, digest).state in _GONE:
            return False
        _copy(kernel, source, target)
        if find_place(registry, digest) != to:
            tell_artifact(registry, digest, "artifact.moved", tier=to, reason=reason, action="switched")
        # Whoever took over meanwhile may have moved it back.
        renew_lease(registry, lease, ttl_s=lease_s)
        source.delete(kernel.bundle_key)
    if to == "cold":
        connections.best_effort("redis_cold", lambda redis: redis.drop_bundle(digest))
    return True


def _ends(connections: Connections, to: Place) -> tuple[ObjectStore, ObjectStore]:
    cold = connections.cold_store
    if cold is None:
        raise PlatformDownError("cold store")
    return (connections.main_store, cold) if to == "cold" else (cold, connections.main_store)


def _copy(kernel: KernelRecord, source: ObjectStore, target: ObjectStore) -> None:
    """Have the whole kernel in the target, read back and verified."""
    if _holds(target, kernel):
        return
    data = source.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES)
    open_bundle(data, kernel.digest)
    # Nothing whole lies there: what does is in the way.
    target.delete(kernel.bundle_key)
    target.put_if_absent(kernel.bundle_key, data)
    if not _holds(target, kernel):
        raise StoreUnavailableError(kernel.bundle_key, "reads back as something else than was written")


def _holds(store: ObjectStore, kernel: KernelRecord) -> bool:
    try:
        open_bundle(store.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES), kernel.digest)
    except (ObjectNotFoundError, ObjectTooLargeError, ArtifactDamagedError):
        return False
    return True
