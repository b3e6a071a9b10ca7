"""Who came from whom: up, down, now or as of an event."""

from dataclasses import dataclass
from typing import Literal

from morph_assets.registry.connection import Registry

MAX_DEPTH = 32


@dataclass(frozen=True)
class LineageEdge:
    """`source` stands in `relation` to `target`: a kernel is compiled_from a blueprint. Nodes are `kind/identity`."""

    source: str
    relation: str
    target: str
    since_seq: int
    depth: int


def trace_lineage(
    registry: Registry,
    node: str,
    *,
    direction: Literal["up", "down"],
    as_of_seq: int | None = None,
    max_depth: int = 6,
) -> list[LineageEdge]:
    """Return the edges reached from the node: up to what it came from, or down to what came from it; nearest first."""
    upward = direction == "up"
    return registry.fetch(
        LineageEdge,
        """WITH RECURSIVE step AS (
               SELECT e.source, e.relation, e.target, e.since_seq, 1 AS depth FROM morph.edge e
               WHERE CASE WHEN %(upward)s THEN e.source ELSE e.target END = %(node)s
                 AND e.since_seq <= %(as_of)s AND (e.until_seq IS NULL OR e.until_seq > %(as_of)s)
               UNION
               SELECT e.source, e.relation, e.target, e.since_seq, step.depth + 1 FROM step JOIN morph.edge e
                   ON CASE WHEN %(upward)s THEN e.source ELSE e.target END
                    = CASE WHEN %(upward)s THEN step.target ELSE step.source END
               WHERE step.depth < %(max_depth)s
                 AND e.since_seq <= %(as_of)s AND (e.until_seq IS NULL OR e.until_seq > %(as_of)s))
           SELECT source, relation, target, min(since_seq) AS since_seq, min(depth) AS depth FROM step
           GROUP BY source, relation, target ORDER BY min(depth), source, relation, target""",
        {
            "upward": upward,
            "node": node,
            "as_of": 2**62 if as_of_seq is None else as_of_seq,
            "max_depth": min(max_depth, MAX_DEPTH),
        },
    )
