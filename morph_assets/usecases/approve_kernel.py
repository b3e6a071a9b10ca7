"""A curator's yes to a kernel that nobody here has tried under ordinary conditions."""

from morph_assets.connections import Connections
from morph_assets.registry import approvals
from morph_assets.usecases.acknowledge import acknowledged
from morph_kernels.identity import KernelDigest


@acknowledged
def approve_kernel(connections: Connections, digest: KernelDigest, *, reason: str) -> None:
    """Let the kernel be published, though nobody here has tried it under ordinary conditions.

    Raises:
        IllegalTransitionError: it is not VALIDATED.
        NotRegisteredError: there is no such kernel.
    """
    approvals.approve_kernel(connections.registry("curator"), digest, reason=reason)
