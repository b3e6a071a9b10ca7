"""The object store as a tier: the place that every kernel and index is published to."""

from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.identity import BuildKey, KernelDigest
from morph_kernels.store import ObjectNotFoundError, ObjectStore, open_store
from morph_kernels.store.keys import build_request_key, bundle_key, index_key, index_prefix, parse_index_generation


class StoreTier:
    """Bundles and indexes of one tenant in the object store, opened on first use."""

    name = "store"

    def __init__(self, url: str, *, tenant: str, timeout_s: float) -> None:
        self._url, self._tenant, self._timeout_s = url, tenant, timeout_s
        self._opened: ObjectStore | None = None

    @property
    def store(self) -> ObjectStore:
        """The store itself."""
        if self._opened is None:
            self._opened = open_store(self._url, timeout_s=self._timeout_s)
        return self._opened

    def find_bundle(self, digest: KernelDigest, *, max_bytes: int) -> bytes | None:
        """Return the encoded bundle, or None; one that is too large raises."""
        try:
            return self.store.get(bundle_key(self._tenant, digest), max_bytes=max_bytes)
        except ObjectNotFoundError:
            return None

    def put_bundle(self, digest: KernelDigest, data: bytes) -> None:
        """Publish an encoded bundle; objects are never replaced."""
        self.store.put_if_absent(bundle_key(self._tenant, digest), data)

    def drop_bundle(self, digest: KernelDigest) -> None:
        """Leave it: a loader may not delete what was published; the platform's scrub repairs it."""

    def find_index(self, blueprint: str) -> bytes | None:
        """Return the newest generation's envelope, or None."""
        generations = [
            parse_index_generation(info.key) for info in self.store.list_objects(index_prefix(self._tenant, blueprint))
        ]
        if not generations:
            return None
        return self.store.get(index_key(self._tenant, blueprint, max(generations)), max_bytes=MAX_INDEX_BYTES)

    def request_build(self, key: BuildKey, data: bytes) -> None:
        """Leave a request for a build; asking twice is asking once."""
        self.store.put_if_absent(build_request_key(self._tenant, key), data)

    def put_index(self, blueprint: str, generation: int, envelope: bytes) -> None:
        """Publish a generation under a key of its own."""
        self.store.put_if_absent(index_key(self._tenant, blueprint, generation), envelope)
