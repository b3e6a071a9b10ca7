"""What breaks if a kernel is revoked: asked before, not learned after."""

from morph_assets.connections import Connections
from morph_assets.registry.lineage import ImpactedSubject, find_impact
from morph_assets.usecases.find_kernel import find_kernel


def assess_impact(connections: Connections, what: str) -> list[ImpactedSubject]:
    """Return the aliases and runs that would go on otherwise without the kernel, and how.

    Raises:
        NotRegisteredError: there is no such kernel.
    """
    return find_impact(connections.registry("platform"), find_kernel(connections, what).digest)
