"""Reads one of the bodies that the log names by digest."""

from morph_assets.registry.audit.bodies import MAX_BODY_BYTES
from morph_kernels.canonical import sha256_hex
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlobDigest
from morph_kernels.store import ObjectNotFoundError, ObjectStore
from morph_kernels.store.keys import blob_key


class BodyDamagedError(MorphError):
    """A body that the log names is gone, or is not what its digest says. Not retryable."""


def read_body(store: ObjectStore, tenant: str, digest: BlobDigest) -> bytes:
    """Return a body that an event names.

    Raises:
        BodyDamagedError: it is gone or damaged.
    """
    key = blob_key(tenant, digest)
    try:
        body = store.get(key, max_bytes=MAX_BODY_BYTES)
    except ObjectNotFoundError:
        raise BodyDamagedError(
            f"{key} is gone, and the log names it: bring it back from a backup of the store"
        ) from None
    if sha256_hex(body) != digest:
        raise BodyDamagedError(f"{key} is not what its digest says: bring it back from a backup of the store")
    return body
