"""An object store in two places: kernels that left the first are read from the second."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from morph_kernels.identity import ObjectKey
from morph_kernels.store.keys import content_of
from morph_kernels.store.protocol import ObjectInfo, ObjectNotFoundError, ObjectStore

_Found = TypeVar("_Found")


class FallbackStore:
    """The first store's objects, and of the second those bundles that the first does not hold.

    What is stored goes into the first; what is deleted is gone from both. Only the first is listed.
    """

    def __init__(self, first: ObjectStore, second: ObjectStore) -> None:
        self.first, self.second = first, second

    def put_if_absent(self, key: ObjectKey, data: bytes | memoryview) -> bool:
        """Store in the first."""
        return self.first.put_if_absent(key, data)

    def get(self, key: ObjectKey, *, max_bytes: int) -> bytes:
        """Return the object from wherever it lies."""
        return self._read(key, lambda store: store.get(key, max_bytes=max_bytes))

    def get_range(self, key: ObjectKey, *, offset: int, length: int) -> bytes:
        """Return a part of the object from wherever it lies."""
        return self._read(key, lambda store: store.get_range(key, offset=offset, length=length))

    def list_objects(self, prefix: str, *, after: ObjectKey | None = None) -> Iterator[ObjectInfo]:
        """Yield the first store's objects."""
        return self.first.list_objects(prefix, after=after)

    def delete(self, key: ObjectKey) -> None:
        """Remove the object wherever it lies."""
        if _may_be_elsewhere(key):
            self.second.delete(key)
        self.first.delete(key)

    def size(self, key: ObjectKey) -> int:
        """Return the object's size from wherever it lies."""
        return self._read(key, lambda store: store.size(key))

    def _read(self, key: ObjectKey, read: Callable[[ObjectStore], _Found]) -> _Found:
        try:
            return read(self.first)
        except ObjectNotFoundError:
            if not _may_be_elsewhere(key):
                raise
        try:
            return read(self.second)
        except ObjectNotFoundError:
            # On its way back while we looked: it left the second only once the first had it.
            return read(self.first)


def _may_be_elsewhere(key: ObjectKey) -> bool:
    content = content_of(key)
    return content is not None and content[0] == "bundle"
