"""Brings each kernel to the storage tier where it belongs; a round that dies is ended by the next."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from morph_assets.connections import Connections
from morph_assets.registry.artifacts import Place, list_places
from morph_assets.registry.blueprints import find_blueprint_document
from morph_assets.registry.builds import build_costs
from morph_assets.registry.kernels import KernelRecord, get_kernel
from morph_assets.registry.retention import KernelUse, iter_kernel_uses
from morph_assets.usecases.find_needed_kernels import find_needed_kernels
from morph_assets.usecases.move_kernel import move_kernel
from morph_assets.usecases.plan_compilation import plan_compilation
from morph_assets.usecases.plan_storage_tiers import StoredKernel, TieredKernel, plan_storage_tiers
from morph_assets.usecases.purge_kernel import purge_kernel
from morph_assets.usecases.retire_kernel import retire_kernel
from morph_assets.usecases.warm_cache import put_into_redis
from morph_kernels.blueprint import Blueprint
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest
from morph_kernels.store import ObjectStore
from morph_kernels.store.keys import bundle_prefix, content_of

_DAY_S = 24 * 3600.0
POLICY = "storage-tiers"


@dataclass(frozen=True)
class StorageReport:
    """Every kernel with its tier, and what could not be done, by kernel; in a dry run nothing was."""

    kernels: tuple[TieredKernel, ...]
    failed: dict[KernelDigest, str]
    dry_run: bool


def tier_storage(connections: Connections, *, dry_run: bool = False) -> StorageReport:
    """Plan the tier of every kernel by the tenant's policy, and carry the plan out.

    Raises:
        StoreError: a place cannot be listed.
    """
    plan = plan_storage_tiers(_find_stored(connections), connections.config.storage)
    failed: dict[KernelDigest, str] = {}
    for tiered in plan if not dry_run else ():
        try:
            problem = _carry_out(connections, tiered)
        except MorphError as error:
            # One damaged kernel does not hold up the others; a scrub mends it.
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            failed[tiered.kernel.digest] = problem
    return StorageReport(plan, failed, dry_run)


def _carry_out(connections: Connections, tiered: TieredKernel) -> str | None:
    """Do a step; return why Redis did not take part in it."""
    digest = tiered.kernel.digest
    match tiered.step:
        case "move":
            move_kernel(connections, digest, tiered.place, reason=tiered.because)
        case "warm":
            if put_into_redis(connections, get_kernel(connections.registry("platform"), digest)) is None:
                return "Redis did not take it"
        case "cool":
            if not connections.best_effort("redis_cool", lambda redis: redis.drop_bundle(digest)):
                return "Redis did not answer"
        case "drop":
            retire_kernel(connections, digest, reason=tiered.because, policy=POLICY, grace_s=0)
            purge_kernel(connections, digest)
        case "none":
            pass
    return None


def _find_stored(connections: Connections) -> list[StoredKernel]:
    registry = connections.registry("platform")
    copies = _find_copies(connections)
    places, costs, needed = list_places(registry), build_costs(registry), find_needed_kernels(connections)
    in_redis, now = _in_redis(connections), datetime.now(UTC)
    would_build = _rebuilds(connections)
    return [
        StoredKernel(
            digest=use.digest,
            names=tuple(use.names),
            size_bytes=use.bundle_bytes,
            place=places.get(use.digest, "store"),
            copies=frozenset(copies[use.digest]),
            in_redis=None if in_redis is None else use.digest in in_redis,
            in_service=use.state == "PUBLISHED",
            idle_days=(now - use.last_used_at).total_seconds() / _DAY_S,
            rebuild_s=costs.get(use.digest) if would_build(use) else None,
            kept_because=_why_kept(use, needed),
        )
        for use in iter_kernel_uses(registry)
    ]


def _why_kept(use: KernelUse, needed: frozenset[KernelDigest]) -> str | None:
    if use.digest in needed:
        return "a running job needs it"
    if use.stays_because is None and use.aliases:
        return f"behind {', '.join(use.aliases)}"
    return use.stays_because


def _find_copies(connections: Connections) -> dict[KernelDigest, set[Place]]:
    found: dict[KernelDigest, set[Place]] = defaultdict(set)
    places: list[tuple[Place, ObjectStore | None]] = [
        ("store", connections.main_store),
        ("cold", connections.cold_store),
    ]
    for place, store in places:
        for info in [] if store is None else store.list_objects(bundle_prefix(connections.tenant)):
            content = content_of(info.key)
            if content is not None:
                found[KernelDigest(content[1])].add(place)
    return found


def _in_redis(connections: Connections) -> frozenset[KernelDigest] | None:
    return connections.ask_redis("redis_tiers", lambda redis: frozenset(kernel.digest for kernel in redis.kernels()))


def _rebuilds(connections: Connections) -> Callable[[KernelUse], bool]:
    """Return what says whether a build of today, from a release that is asked for, would make the kernel's variant."""
    if connections.config.storage.drop_days is None:
        return lambda _: False
    registry = connections.registry("platform")

    def would(use: KernelUse) -> bool:
        document = find_blueprint_document(registry, use.blueprint_digest) if use.newer_releases == 0 else None
        if document is None:
            return False
        kernel: KernelRecord = get_kernel(registry, use.digest)
        blueprint = Blueprint.from_bytes(document, name=use.names[0])
        return plan_compilation(connections, blueprint, pipeline=kernel.pipeline).key == kernel.build_key

    return would
