"""Reads what each tier holds of a kernel, without a trace in what the tiers remember of its use."""

from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.kernels import KernelRecord
from morph_assets.usecases.fetch_bundle import ArtifactDamagedError, open_bundle, require_content
from morph_assets.usecases.measure_caches import TierName
from morph_kernels.artifact.bundle import MAX_BUNDLE_BYTES, KernelBundle
from morph_kernels.cache.private_file import NotPrivateError
from morph_kernels.identity import KernelDigest
from morph_kernels.reasons import Reason
from morph_kernels.store import ObjectNotFoundError, ObjectStore, ObjectTooLargeError


@dataclass(frozen=True)
class KernelCopy:
    """What a tier holds of a kernel: a bundle that is this kernel, or why it is not; and the bytes as they lay there.

    `data` is empty for the disk, which keeps files, and where there was nothing to read. `place`: which store of two.
    """

    tier: TierName
    held: KernelBundle | Reason
    data: bytes = b""
    place: ObjectStore | None = None

    @property
    def read_bytes(self) -> int:
        """How much was read to find out."""
        return self.held.size_bytes if self.tier == "disk" and isinstance(self.held, KernelBundle) else len(self.data)


def find_copies(connections: Connections, kernel: KernelRecord) -> list[KernelCopy]:
    """Return the copy of each tier; a cache that holds nothing is fine, a store that does is not.

    Raises:
        StoreError: the store does not answer.
    """
    found = (
        *_in_store(connections, kernel),
        _in_redis(connections, kernel.digest),
        _on_disk(connections, kernel.digest),
    )
    return [copy for copy in found if copy is not None]


def _in_store(connections: Connections, kernel: KernelRecord) -> list[KernelCopy]:
    """Return the copies of both places; that one of them holds nothing is fine."""
    stores = (connections.main_store, connections.cold_store)
    copies = [_in_place(store, kernel) for store in stores if store is not None]
    return [copy for copy in copies if copy.held is not Reason.NOT_FOUND] or copies[:1]


def _in_place(store: ObjectStore, kernel: KernelRecord) -> KernelCopy:
    try:
        data = store.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES)
    except ObjectNotFoundError:
        return KernelCopy("store", Reason.NOT_FOUND, place=store)
    except ObjectTooLargeError:
        return KernelCopy("store", Reason.TOO_LARGE, place=store)
    return KernelCopy("store", _open(data, kernel.digest), data, store)


def _in_redis(connections: Connections, digest: KernelDigest) -> KernelCopy | None:
    found = connections.ask_redis("redis_scrub", lambda redis: redis.peek_bundle(digest, max_bytes=MAX_BUNDLE_BYTES))
    return None if found is None else KernelCopy("redis", _open(found, digest), found)


def _on_disk(connections: Connections, digest: KernelDigest) -> KernelCopy | None:
    try:
        entry = connections.disk.peek(digest)
    except NotPrivateError:
        return KernelCopy("disk", Reason.NOT_PRIVATE)
    except OSError:
        return KernelCopy("disk", Reason.DISK_UNUSABLE)
    if entry is None:
        return None
    try:
        return KernelCopy("disk", require_content(entry.bundle, digest))
    except ArtifactDamagedError as error:
        return KernelCopy("disk", error.reason)


def _open(data: bytes, digest: KernelDigest) -> KernelBundle | Reason:
    try:
        return open_bundle(data, digest)
    except ArtifactDamagedError as error:
        return error.reason
