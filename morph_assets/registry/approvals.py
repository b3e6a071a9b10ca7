"""A curator's word on kernels that nobody here has tried under ordinary conditions."""

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest


def approve_kernel(registry: Registry, kernel: KernelDigest, *, reason: str) -> None:
    """Let a speculative kernel, validated as it is now, be published. As curator.

    Raises:
        IllegalTransitionError: it is not VALIDATED.
    """
    registry.call("SELECT morph.decide_kernel(%s, true, %s)", (kernel, reason))


def decline_kernel(registry: Registry, kernel: KernelDigest, *, reason: str) -> None:
    """Keep a speculative kernel from being published, until it is evaluated anew or approved. As curator.

    Raises:
        IllegalTransitionError: it is not VALIDATED.
    """
    registry.call("SELECT morph.decide_kernel(%s, false, %s)", (kernel, reason))
