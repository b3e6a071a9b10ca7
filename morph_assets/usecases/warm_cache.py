"""Brings kernels into Redis before anybody asks for them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.registry.indexes import get_index_state
from morph_assets.registry.usage import MAX_REPORTED, report_served
from morph_assets.usecases.acknowledge import acknowledged
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


@acknowledged
def warm_cache(connections: Connections, refs: Iterable[str]) -> WarmedCache:
    """Put the published kernels of each ref, and the index that names them, into Redis.

    Raises:
        NotRegisteredError: there is no such release.
        ArtifactDamagedError: the store's copy is damaged.
        StoreError: the store does not answer.
    """
    registry = connections.registry("platform")
    began_at = datetime.now(UTC)
    served_bytes: dict[KernelDigest, int] = {}
    missed: list[KernelDigest] = []
    for ref in refs:
        release = find_release(connections, ref)
        blueprint = release.blueprint.digest
        for kernel in kernels.list_kernels(registry, blueprint_digest=blueprint, states=("PUBLISHED",)):
            data = encode_bundle(fetch_bundle(connections, kernel))
            digest = kernel.digest
            taken: list[bool] = []
            connections.best_effort("redis_bundle", lambda redis: taken.append(redis.put_bundle(digest, data)))  # noqa: B023 - called at once
            if any(taken):
                served_bytes[digest] = len(data)
            else:
                missed.append(digest)
        _warm_index(connections, release.record.name)
    for some in _batches(served_bytes):
        report_served(registry, some, began_at=began_at, ended_at=datetime.now(UTC))
    return WarmedCache(tuple(served_bytes), tuple(missed))


def _warm_index(connections: Connections, name: str) -> None:
    generation = get_index_state(connections.registry("platform"), name).published_generation
    if generation:
        key = index_key(connections.tenant, name, generation)
        envelope = connections.store.get(key, max_bytes=MAX_INDEX_BYTES)
        connections.best_effort("redis_index", lambda redis: redis.put_index(name, generation, envelope))


def _batches(served_bytes: Mapping[KernelDigest, int]) -> Iterator[dict[KernelDigest, int]]:
    """Yield what one report may tell of at a time."""
    left = iter(served_bytes.items())
    while some := dict(islice(left, MAX_REPORTED)):
        yield some
