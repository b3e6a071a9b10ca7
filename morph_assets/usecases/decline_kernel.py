"""A curator's no to a kernel that nobody here has tried under ordinary conditions."""

from morph_assets.connections import Connections
from morph_assets.registry import approvals
from morph_assets.usecases.acknowledge import acknowledged
from morph_kernels.identity import KernelDigest


@acknowledged
def decline_kernel(connections: Connections, digest: KernelDigest, *, reason: str) -> None:
    """Keep a speculative kernel from being published, until it is evaluated anew or approved.

    Raises:
        IllegalTransitionError: it is not VALIDATED.
        NotRegisteredError: there is no such kernel.
    """
    approvals.decline_kernel(connections.registry("curator"), digest, reason=reason)
