"""Brings kernels into Redis before anybody asks for them."""

from collections.abc import Iterable
from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.registry.indexes import get_index_state
from morph_assets.usecases.fetch_bundle import fetch_bundle
from morph_assets.usecases.find_release import find_release
from morph_kernels.artifact.bundle import encode_bundle
from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.identity import KernelDigest
from morph_kernels.store.keys import index_key


@dataclass(frozen=True)
class WarmedCache:
    """The kernels that are in Redis now, and those that it did not take."""

    warmed: tuple[KernelDigest, ...]
    missed: tuple[KernelDigest, ...]


def warm_cache(connections: Connections, refs: Iterable[str]) -> WarmedCache:
    """Put the published kernels of each ref, and the index that names them, into Redis.

    Raises:
        NotRegisteredError: there is no such release.
        ArtifactDamagedError: the store's copy is damaged.
        StoreError: the store does not answer.
    """
    registry = connections.registry("platform")
    warmed: list[KernelDigest] = []
    missed: list[KernelDigest] = []
    for ref in refs:
        release = find_release(connections, ref)
        blueprint = release.blueprint.digest
        for kernel in kernels.list_kernels(registry, blueprint_digest=blueprint, states=("PUBLISHED",)):
            data = encode_bundle(fetch_bundle(connections, kernel))
            digest = kernel.digest
            taken = connections.best_effort("redis_bundle", lambda redis: redis.put_bundle(digest, data))  # noqa: B023 - called at once
            (warmed if taken else missed).append(digest)
        _warm_index(connections, release.record.name)
    return WarmedCache(tuple(warmed), tuple(missed))


def _warm_index(connections: Connections, name: str) -> None:
    generation = get_index_state(connections.registry("platform"), name).published_generation
    if generation:
        key = index_key(connections.tenant, name, generation)
        envelope = connections.store.get(key, max_bytes=MAX_INDEX_BYTES)
        connections.best_effort("redis_index", lambda redis: redis.put_index(name, generation, envelope))
