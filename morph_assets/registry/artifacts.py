"""What happened to the stored bytes of kernels, told in the log: found damaged, repaired."""

from typing import Literal

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest

ArtifactEvent = Literal["artifact.damaged", "artifact.repaired"]


def tell_artifact(
    registry: Registry, kernel: KernelDigest, event: ArtifactEvent, *, tier: str, reason: str, action: str
) -> None:
    """Append the event to the kernel's history. As platform or curator.

    Raises:
        NotRegisteredError: there is no such kernel.
    """
    registry.call("SELECT morph.tell_artifact(%s, %s, %s, %s, %s)", (kernel, event, tier, reason, action))
