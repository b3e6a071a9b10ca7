"""Immutable objects by key: the protocol, its one adapter over obstore, and the only builder of keys.

Not here: what the bytes mean, or which of them are visible.
"""

from morph_kernels.store.opening import StoreUrlError, open_store
from morph_kernels.store.protocol import (
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    ObjectTooLargeError,
    ObjectTruncatedError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)

__all__ = [
    "ObjectInfo",
    "ObjectNotFoundError",
    "ObjectStore",
    "ObjectTooLargeError",
    "ObjectTruncatedError",
    "StoreError",
    "StoreRefusedError",
    "StoreUnavailableError",
    "StoreUrlError",
    "open_store",
]
