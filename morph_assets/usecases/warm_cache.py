"""Brings kernels into Redis before anybody asks for them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.registry.indexes import get_index_state
from morph_assets.registry.kernels import KernelRecord
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
def warm_cache(
    connections: Connections, refs: Iterable[str] = (), *, digests: Iterable[KernelDigest] = ()
) -> WarmedCache:
    """Put the published kernels of each ref and those with these digests, and the indexes that name them, into Redis.

    Of the digests, a kernel that is not in service is missed.

    Raises:
        NotRegisteredError: there is no such release, or no such kernel.
        ArtifactDamagedError: the store's copy is damaged.
        StoreError: the store does not answer.
    """
    began_at = datetime.now(UTC)
    served_bytes: dict[KernelDigest, int] = {}
    missed: list[KernelDigest] = []
    chosen = _choose(connections, refs, digests)
    for kernel in chosen.values():
        size_bytes = put_into_redis(connections, kernel) if kernel.state == "PUBLISHED" else None
        if size_bytes is None:
            missed.append(kernel.digest)
        else:
            served_bytes[kernel.digest] = size_bytes
    for name in sorted({name for kernel in chosen.values() for name in kernel.names}):
        _warm_index(connections, name)
    for some in _batches(served_bytes):
        report_served(connections.registry("platform"), some, began_at=began_at, ended_at=datetime.now(UTC))
    return WarmedCache(tuple(served_bytes), tuple(missed))


def put_into_redis(connections: Connections, kernel: KernelRecord) -> int | None:
    """Put a kernel from the store into Redis; return its bytes there, or None where Redis did not take it.

    Raises:
        ArtifactDamagedError: the store's copy is damaged.
        StoreError: the store does not answer.
    """
    data = encode_bundle(fetch_bundle(connections, kernel))
    taken = connections.ask_redis("redis_bundle", lambda redis: redis.put_bundle(kernel.digest, data))
    return len(data) if taken else None


def _choose(
    connections: Connections, refs: Iterable[str], digests: Iterable[KernelDigest]
) -> dict[KernelDigest, KernelRecord]:
    registry = connections.registry("platform")
    chosen: dict[KernelDigest, KernelRecord] = {}
    for ref in refs:
        blueprint = find_release(connections, ref).blueprint.digest
        found = kernels.list_kernels(registry, blueprint_digest=blueprint, states=("PUBLISHED",))
        chosen |= {kernel.digest: kernel for kernel in found}
    return chosen | {digest: kernels.get_kernel(registry, digest) for digest in digests}


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
