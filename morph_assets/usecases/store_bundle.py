"""Puts a kernel's bytes into the store and says what lies there afterwards."""

from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_kernels.artifact.bundle import KernelBundle, decode_bundle, encode_bundle
from morph_kernels.artifact.document import MalformedError
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest, KernelDigest, ObjectKey
from morph_kernels.store import StoreError
from morph_kernels.store.keys import bundle_key


@dataclass(frozen=True)
class StoredBundle:
    """The object that holds a kernel."""

    key: ObjectKey
    digest: BlobDigest
    size_bytes: int


class BundleUnstorableError(StoreError):
    """Another writer keeps putting something else under the kernel's key."""

    retryable = True


def store_bundle(connections: Connections, digest: KernelDigest, bundle: KernelBundle) -> StoredBundle:
    """Store the bundle under its kernel's key, or find it there; something else in its place is replaced.

    The bundle is trusted: its caller built it or verified it.

    Raises:
        StoreError: the store does not answer, refuses, or something else is put there again and again.
    """
    store, key = connections.store, bundle_key(connections.tenant, digest)
    data = encode_bundle(bundle)
    for _ in range(3):
        if store.put_if_absent(key, data):
            return StoredBundle(key, BlobDigest(sha256_hex(data)), len(data))
        # An orphan of a build that died before its row: the same content, perhaps compressed by another zstd.
        present = store.get(key, max_bytes=2 * len(data) + 1024 * 1024)
        if _holds(present, bundle):
            return StoredBundle(key, BlobDigest(sha256_hex(present)), len(present))
        store.delete(key)
    raise BundleUnstorableError(key, "is overwritten by somebody else")


def _holds(data: bytes, bundle: KernelBundle) -> bool:
    try:
        return decode_bundle(data, max_bytes=bundle.size_bytes + 64) == bundle
    except MalformedError:
        return False
