"""The object store as a tier: the place that every kernel and index is published to."""

from morph_kernels.artifact.build_request import BuildRequest
from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.identity import KernelDigest, ObjectKey
from morph_kernels.store import ObjectNotFoundError, ObjectStore, ObjectTooLargeError, open_store
from morph_kernels.store.keys import (
    InvalidKeyError,
    build_request_key,
    bundle_key,
    index_key,
    index_prefix,
    parse_index_generation,
    tenant_prefix,
)


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
        """Return the encoded bundle, or None where there is none of at most this size."""
        return self._get(bundle_key(self._tenant, digest), max_bytes)

    def put_bundle(self, digest: KernelDigest, data: bytes) -> bool:
        """Publish an encoded bundle; objects are never replaced."""
        self.store.put_if_absent(bundle_key(self._tenant, digest), data)
        return True

    def drop_bundle(self, digest: KernelDigest) -> None:
        """Leave it: a loader may not delete what was published; the platform's scrub repairs it."""

    def find_index(self, blueprint: str, *, rank: int = 0) -> bytes | None:
        """Return the newest generation's envelope, or the one `rank` places before it, or None."""
        objects = self.store.list_objects(index_prefix(self._tenant, blueprint))
        found = (_generation_of(info.key) for info in objects)
        generations = sorted((number for number in found if number is not None), reverse=True)
        if len(generations) <= rank:
            return None
        # One that is too large is there but is no index, like an empty one: older ones may still be good.
        return self._get(index_key(self._tenant, blueprint, generations[rank]), MAX_INDEX_BYTES) or b""

    def blueprints(self) -> list[str]:
        """Return the names of which there is an index, in order."""
        prefix = f"{tenant_prefix(self._tenant)}/index"
        return sorted({info.key.removeprefix(f"{prefix}/").split("/")[0] for info in self.store.list_objects(prefix)})

    def request_build(self, request: BuildRequest) -> None:
        """Leave a request for a build; asking twice is asking once."""
        self.store.put_if_absent(build_request_key(self._tenant, request.digest), request.to_bytes())

    def put_index(self, blueprint: str, generation: int, envelope: bytes) -> None:
        """Publish a generation under a key of its own."""
        self.store.put_if_absent(index_key(self._tenant, blueprint, generation), envelope)

    def interrupt(self) -> None:
        """Leave it: the clients of object stores end by their own time-outs, and read no more than they asked for."""

    def _get(self, key: ObjectKey, max_bytes: int) -> bytes | None:
        try:
            return self.store.get(key, max_bytes=max_bytes)
        except (ObjectNotFoundError, ObjectTooLargeError):
            return None


def _generation_of(key: str) -> int | None:
    """Return the generation that a key names; who can write to the bucket may have put any other key there."""
    try:
        return parse_index_generation(key)
    except InvalidKeyError:
        return None
