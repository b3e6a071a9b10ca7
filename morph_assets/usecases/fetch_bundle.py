"""Brings a kernel's bytes from the store, refusing those that are not that kernel."""

from morph_assets.connections import Connections
from morph_assets.registry.kernels import KernelRecord
from morph_kernels.artifact.bundle import MAX_BUNDLE_BYTES, KernelBundle, decode_bundle
from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.artifact.verify import judge_content
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest
from morph_kernels.reasons import Reason


class ArtifactDamagedError(MorphError):
    """Stored bytes are not the kernel they should be. Not retryable: a scrub repairs them, or a rebuild."""

    def __init__(self, digest: KernelDigest, reason: Reason, detail: str) -> None:
        super().__init__(f"the stored bytes of kernel {digest[:12]} are damaged ({detail}): run `morph cache scrub`")
        self.digest, self.reason = digest, reason


def fetch_bundle(connections: Connections, kernel: KernelRecord) -> KernelBundle:
    """Return the kernel's bundle, whole; who vouches for it is still to be judged.

    Raises:
        ArtifactDamagedError: something else lies there.
        StoreError: nothing lies there, or the store does not answer.
    """
    return open_bundle(connections.store.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES), kernel.digest)


def open_bundle(data: bytes, digest: KernelDigest) -> KernelBundle:
    """Return the bundle in the bytes of any tier.

    Raises:
        ArtifactDamagedError: it is not the kernel of this digest.
    """
    try:
        bundle = decode_bundle(data, max_bytes=MAX_BUNDLE_BYTES)
    except MalformedError as error:
        raise ArtifactDamagedError(digest, error.reason, str(error)) from error
    return require_content(bundle, digest)


def require_content(bundle: KernelBundle, digest: KernelDigest) -> KernelBundle:
    """Return the bundle if it is the kernel of this digest.

    Raises:
        ArtifactDamagedError: it is not.
    """
    judged = judge_content(bundle, digest)
    if isinstance(judged, Rejected):
        raise ArtifactDamagedError(digest, judged.reason, judged.detail)
    return bundle
