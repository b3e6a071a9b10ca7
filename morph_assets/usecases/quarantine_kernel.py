"""Takes a kernel out of service until it is evaluated again, and tells the loaders at once."""

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.publish_index import refresh_index
from morph_kernels.identity import KernelDigest


@acknowledged
def quarantine_kernel(connections: Connections, digest: KernelDigest, reason: str) -> None:
    """Quarantine the kernel, then publish the indexes that named it, without waiting for any daemon.

    Raises:
        IllegalTransitionError: it is REJECTED, REVOKED or RETIRED.
        NotRegisteredError: there is no such kernel.
        StoreError: it is quarantined, but loaders must wait for the relay to hear of it.
    """
    kernel = kernels.get_kernel(connections.registry("platform"), digest)
    kernels.quarantine_kernel(connections.registry("platform"), digest, reason=reason)
    for name in kernel.names:
        refresh_index(connections, name)
