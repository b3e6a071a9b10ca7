"""Takes a kernel out of service for good, and tells the loaders at once."""

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.publish_index import refresh_index
from morph_kernels.identity import KernelDigest


@acknowledged
def revoke_kernel(connections: Connections, digest: KernelDigest, reason: str) -> None:
    """Revoke the kernel, then publish the indexes that named it, without waiting for any daemon.

    Raises:
        IllegalTransitionError: it is REJECTED or RETIRED: no loader ever had it, or has it any more.
        NotRegisteredError: there is no such kernel.
        StoreError: it is revoked, but loaders must wait for the relay to hear of it.
    """
    kernel = kernels.get_kernel(connections.registry("publisher"), digest)
    kernels.revoke_kernel(connections.registry("publisher"), digest, reason=reason)
    for name in kernel.names:
        refresh_index(connections, name)
