"""Where something came from and what came of it, now or at a past moment."""

from dataclasses import dataclass
from datetime import datetime

from morph_assets.connections import Connections
from morph_assets.registry.kernels import kernel_subject
from morph_assets.registry.lineage import LineageEdge, trace_lineage
from morph_assets.usecases.find_kernel import find_kernel


@dataclass(frozen=True)
class TracedLineage:
    """A node (`kernel/<digest>`, `checkpoint/<id>`, ...), what it came from, and what came of it; nearest first."""

    node: str
    upward: tuple[LineageEdge, ...]
    downward: tuple[LineageEdge, ...]


def trace_asset(
    connections: Connections, what: str, *, as_of: int | datetime | None = None, max_depth: int = 6
) -> TracedLineage:
    """Return the lineage of a node, or of the kernel that a person asks for (`ffn_gelu@production`, a digest).

    Raises:
        NotRegisteredError: there is no such kernel.
    """
    node = what if "/" in what else kernel_subject(find_kernel(connections, what).digest)
    registry = connections.registry("platform")
    upward = trace_lineage(registry, node, direction="up", as_of=as_of, max_depth=max_depth)
    downward = trace_lineage(registry, node, direction="down", as_of=as_of, max_depth=max_depth)
    return TracedLineage(node, tuple(upward), tuple(downward))
