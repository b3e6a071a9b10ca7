"""Who came from whom: up, down, now or at any moment; and what breaks if something goes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest

MAX_DEPTH = 32
MAX_EDGES = 10_000
_NOW = 2**62
Direction = Literal["up", "down"]


@dataclass(frozen=True)
class LineageEdge:
    """`source` stands in `relation` to `target`: a kernel is compiled_from a blueprint. Nodes are `kind/identity`.

    It held from the event `since_seq` on, and before `until_seq` if that is known.
    """

    source: str
    relation: str
    target: str
    since_seq: int
    until_seq: int | None
    depth: int


@dataclass(frozen=True)
class ImpactedSubject:
    """Something that would go on otherwise without the kernel: an alias or a run, and how."""

    kind: Literal["alias", "run"]
    subject: str
    consequence: str
    detail: str


def trace_lineage(
    registry: Registry,
    node: str,
    *,
    direction: Direction,
    as_of: int | datetime | None = None,
    max_depth: int = 6,
    limit: int = MAX_EDGES,
) -> list[LineageEdge]:
    """Return the edges reached from the node: up to what it came from, or down to what came from it; nearest first.

    `as_of` is a sequence number of the log or a moment: the lineage as it was right then. At most `limit` edges come
    back, the nearest ones.
    """
    seq = _NOW if as_of is None else as_of if isinstance(as_of, int) else seq_at(registry, as_of)
    return registry.fetch(
        LineageEdge,
        """SELECT source, relation, target, since_seq, until_seq, depth
           FROM morph.trace_lineage(%s, %s, %s, %s, %s) ORDER BY depth, source, relation, target, since_seq""",
        (node, direction == "up", seq, min(max_depth, MAX_DEPTH), min(limit, MAX_EDGES)),
    )


def seq_at(registry: Registry, at: datetime) -> int:
    """Return the sequence number of the newest event at the moment, 0 before the first."""
    (seq,) = registry.call("SELECT morph.seq_at(%s)", (at,))
    return int(seq)


def find_impact(registry: Registry, kernel: KernelDigest) -> list[ImpactedSubject]:
    """Return what breaks, and how, if the kernel is revoked: aliases first, then runs, live ones before others.

    Raises:
        NotRegisteredError: there is no such kernel.
    """
    return registry.fetch(
        ImpactedSubject, "SELECT kind, subject, consequence, detail FROM morph.impact_of(%s)", (kernel,)
    )
