"""What happened to the stored bytes of kernels, told in the log: found damaged, repaired, moved."""

from dataclasses import dataclass
from typing import Literal

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest

ArtifactEvent = Literal["artifact.damaged", "artifact.repaired", "artifact.moved"]
Place = Literal["store", "cold"]


def tell_artifact(
    registry: Registry, kernel: KernelDigest, event: ArtifactEvent, *, tier: str, reason: str, action: str
) -> None:
    """Append the event to the kernel's history. As platform or curator.

    Raises:
        NotRegisteredError: there is no such kernel.
    """
    registry.call("SELECT morph.tell_artifact(%s, %s, %s, %s, %s)", (kernel, event, tier, reason, action))


@dataclass(frozen=True)
class _Moved:
    digest: KernelDigest
    tier: Place


def list_places(registry: Registry) -> dict[KernelDigest, Place]:
    """Return where each kernel lies that was ever moved; the others lie in the store.

    The newest event of a kernel's moves is the switch: what it names was verified before it was told.
    """
    moved = registry.fetch(
        _Moved,
        """SELECT DISTINCT ON (e.subject) m.facts ->> 'kernel_digest' AS digest, m.facts ->> 'tier' AS tier
           FROM morph.event e CROSS JOIN LATERAL (SELECT convert_from(e.payload, 'UTF8')::jsonb AS facts) m
           WHERE e.type = 'artifact.moved' ORDER BY e.subject, e.seq DESC""",
    )
    return {found.digest: found.tier for found in moved}


def find_place(registry: Registry, kernel: KernelDigest) -> Place:
    """Return where the kernel lies."""
    moved = registry.fetch_one(
        _Moved,
        """SELECT m.facts ->> 'kernel_digest' AS digest, m.facts ->> 'tier' AS tier
           FROM morph.event e CROSS JOIN LATERAL (SELECT convert_from(e.payload, 'UTF8')::jsonb AS facts) m
           WHERE e.type = 'artifact.moved' AND e.subject = 'kernel/' || %s ORDER BY e.seq DESC LIMIT 1""",
        (kernel,),
    )
    return "store" if moved is None else moved.tier
