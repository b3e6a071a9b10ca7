"""Takes a kernel out of use; within the grace it can come back."""

from morph_assets.connections import Connections
from morph_assets.registry import removal
from morph_assets.registry.kernels import get_kernel
from morph_assets.registry.removal import DEFAULT_GRACE_S
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.publish_index import refresh_index
from morph_kernels.identity import KernelDigest


@acknowledged
def retire_kernel(
    connections: Connections, digest: KernelDigest, *, reason: str, policy: str = "", grace_s: int = DEFAULT_GRACE_S
) -> None:
    """Retire the kernel, then publish the indexes that named it.

    Raises:
        GuardError: a checkpoint or a pin keeps it, or it is the last published one behind an alias on its device.
        NotRegisteredError: there is no such kernel.
        StoreError: it is retired, but loaders must wait for the relay to hear of it.
    """
    registry = connections.registry("curator")
    kernel = get_kernel(registry, digest)
    removal.retire_kernel(registry, digest, reason=reason, policy=policy, grace_s=grace_s)
    if kernel.state == "PUBLISHED":
        for name in kernel.names:
            refresh_index(connections, name)
