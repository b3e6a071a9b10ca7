"""Brings a retired kernel back from its tombstone."""

from morph_assets.connections import Connections
from morph_assets.registry import removal
from morph_assets.usecases.acknowledge import acknowledged
from morph_kernels.identity import KernelDigest


@acknowledged
def restore_kernel(connections: Connections, digest: KernelDigest, *, reason: str) -> str:
    """Bring the kernel back to the state before its retirement and return it; what was published is VALIDATED again.

    Raises:
        NotRegisteredError: it has no tombstone, or is gone already.
        GuardError: its grace is over, its removal has begun, or another kernel was built in its place.
    """
    return removal.restore_kernel(connections.registry("curator"), digest, reason=reason)
