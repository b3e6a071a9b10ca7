"""What an object store promises, and every way in which it may fail."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from morph_kernels.errors import MorphError
from morph_kernels.identity import ObjectKey


class StoreError(MorphError):
    """The root of the store's errors; it names the key, never credentials."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"object {key!r}: {problem}")
        self.key = key


class ObjectNotFoundError(StoreError):
    """There is no object under the key. Not retryable."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "not found")


class ObjectTooLargeError(StoreError):
    """The object is larger than the caller was ready to read; nothing of it was read. Not retryable."""

    def __init__(self, key: str, *, size_bytes: int, max_bytes: int) -> None:
        super().__init__(key, f"{size_bytes} bytes, at most {max_bytes} allowed")
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class ObjectTruncatedError(StoreError):
    """The object ends before the range that was asked for. Not retryable: objects never grow."""

    def __init__(self, key: str, *, offset: int, length: int) -> None:
        super().__init__(key, f"ends before offset {offset} + {length}")


class StoreRefusedError(StoreError):
    """The store does not accept our credentials or does not allow the operation. Not retryable."""


class StoreUnavailableError(StoreError):
    """The store did not answer in time or failed. Retryable."""

    retryable: ClassVar[bool] = True


@dataclass(frozen=True)
class ObjectInfo:
    """One object in a listing."""

    key: ObjectKey
    size_bytes: int


class ObjectStore(Protocol):
    """Bytes by key, written once.

    Promises, proved for every adapter in tests/contract/object_store.py: a put is all or nothing and, once it returned,
    as durable as the store can make it; a get after a put sees it; of any number of puts to one key exactly one wins
    and its bytes stay; every failure is one of this module's errors, within a bounded time.
    """

    def put_if_absent(self, key: ObjectKey, data: bytes | memoryview) -> bool:
        """Store the bytes unless the key exists; return whether this call stored them.

        A False may also answer our own earlier attempt of which the answer was lost: under content-addressed keys both
        mean that the object is there.
        """
        ...

    def get(self, key: ObjectKey, *, max_bytes: int) -> bytes:
        """Return the whole object, or raise `ObjectNotFoundError` or `ObjectTooLargeError`."""
        ...

    def get_range(self, key: ObjectKey, *, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes, or raise `ObjectNotFoundError` or `ObjectTruncatedError`."""
        ...

    def list_objects(self, prefix: str, *, after: ObjectKey | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose leading path segments are `prefix`, in no promised order.

        Args:
            prefix: whole segments; a trailing slash is ignored, the empty string means everything.
            after: only keys greater than this one.
        """
        ...

    def delete(self, key: ObjectKey) -> None:
        """Remove the object if it is there."""
        ...

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes, or raise `ObjectNotFoundError`."""
        ...
