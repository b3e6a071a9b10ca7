"""The one adapter of the object store protocol, over obstore."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from morph_kernels.identity import ObjectKey
from morph_kernels.store.keys import parse_key, parse_prefix
from morph_kernels.store.protocol import (
    ObjectInfo,
    ObjectNotFoundError,
    ObjectTooLargeError,
    ObjectTruncatedError,
    StoreRefusedError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Backend


class ObstoreStore:
    """Objects behind any obstore backend; keeps to create, get, range, head, list and delete.

    `label` names the store for people; it holds no credentials.
    """

    def __init__(self, backend: "Backend", *, label: str) -> None:
        self._backend = backend
        self.label = label

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"

    def put_if_absent(self, key: ObjectKey, data: bytes | memoryview) -> bool:
        """Store the bytes unless the key exists; return whether this call stored them."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        parse_key(key)
        with _mapped_errors(key):
            try:
                obstore.put(self._backend, key, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def get(self, key: ObjectKey, *, max_bytes: int) -> bytes:
        """Return the whole object if it has at most `max_bytes`."""
        import obstore

        parse_key(key)
        with _mapped_errors(key):
            result = obstore.get(self._backend, key)
            size_bytes = result.meta["size"]
            if size_bytes > max_bytes:
                raise ObjectTooLargeError(key, size_bytes=size_bytes, max_bytes=max_bytes)
            return bytes(result.bytes())

    def get_range(self, key: ObjectKey, *, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on."""
        import obstore
        from obstore.exceptions import GenericError

        parse_key(key)
        if offset < 0 or length < 0:
            raise ValueError("a range has no negative offset or length")
        if length == 0:
            return b""
        with _mapped_errors(key):
            try:
                data = bytes(obstore.get_range(self._backend, key, start=offset, length=length))
            except GenericError:
                # Backends say "invalid range" only in prose, so ask for the size instead of reading the prose.
                if offset >= self.size(key):
                    raise ObjectTruncatedError(key, offset=offset, length=length) from None
                raise
        if len(data) != length:
            raise ObjectTruncatedError(key, offset=offset, length=length)
        return data

    def list_objects(self, prefix: str, *, after: ObjectKey | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects under whole segments, page by page."""
        import obstore

        prefix = parse_prefix(prefix)
        with _mapped_errors(prefix or "/"):
            for page in obstore.list(self._backend, prefix or None, offset=after):
                for entry in page:
                    yield ObjectInfo(ObjectKey(entry["path"]), entry["size"])

    def delete(self, key: ObjectKey) -> None:
        """Remove the object if it is there."""
        import obstore

        parse_key(key)
        try:
            with _mapped_errors(key):
                obstore.delete(self._backend, key)
        except ObjectNotFoundError:
            return

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes."""
        import obstore

        parse_key(key)
        with _mapped_errors(key):
            return obstore.head(self._backend, key)["size"]


@contextmanager
def _mapped_errors(key: str) -> Iterator[None]:
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError:
        raise ObjectNotFoundError(key) from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StoreRefusedError(key, "the store refuses our credentials") from error
    except (BaseError, OSError) as error:
        # Only the first line: the rest is the backend's debug form and may hold a signed URL.
        raise StoreUnavailableError(key, str(error).partition("\n")[0][:300]) from error
