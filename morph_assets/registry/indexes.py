"""What a signed index document has to say about one blueprint, read in one snapshot with its generation."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import NotRegisteredError, StaleVersionError
from morph_kernels.identity import BlueprintDigest, KernelDigest

# Whoever raised it last reads it: of several at once each needs at most as many attempts as there are.
_ATTEMPTS = 20


@dataclass(frozen=True)
class IndexRelease:
    """A published release with the canonical bytes of its blueprint."""

    version: int
    blueprint_digest: BlueprintDigest
    document: bytes


@dataclass(frozen=True)
class IndexVariant:
    """A published kernel with the envelopes that vouch for it, provenance first."""

    kernel_digest: KernelDigest
    blueprint_digest: BlueprintDigest
    target: Mapping[str, Any]
    size_bytes: int
    speed_ratio: float | None
    attestations: tuple[bytes, ...]


@dataclass(frozen=True)
class IndexSnapshot:
    """One generation; the timeline stands above its lower 40 bits. `revoked` holds quarantined kernels too.

    `seq` is the newest event that it knows of.
    """

    tenant: str
    name: str
    generation: int
    seq: int
    aliases: Mapping[str, int]
    releases: tuple[IndexRelease, ...]
    variants: tuple[IndexVariant, ...]
    revoked: frozenset[KernelDigest]


@dataclass(frozen=True)
class IndexState:
    """How far the loaders' view of a name is behind the registry; `changed_seq` is its newest event they care about."""

    name: str
    published_generation: int
    published_seq: int
    published_at: datetime | None
    changed_seq: int

    @property
    def is_behind(self) -> bool:
        """Whether something happened that no published index tells of."""
        return self.changed_seq > self.published_seq


def next_index(registry: Registry, name: str) -> IndexSnapshot:
    """Raise the generation and return what it says; a later generation never knows less. As publisher.

    Raises:
        NotRegisteredError: there is no blueprint of this name.
        StaleVersionError: others raised it each time before this one was read.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(StaleVersionError):
            return _read(registry, name)
    return _read(registry, name)


def _read(registry: Registry, name: str) -> IndexSnapshot:
    (generation,) = registry.call("SELECT morph.raise_index(%s)", (name,))
    (document,) = registry.call("SELECT morph.read_index(%s, %s)", (name, generation))
    return IndexSnapshot(
        tenant=document["tenant"],
        name=document["name"],
        generation=document["generation"],
        seq=document["seq"],
        aliases=document["aliases"],
        releases=tuple(
            IndexRelease(release["version"], release["blueprint_digest"], bytes.fromhex(release["document"]))
            for release in document["releases"]
        ),
        variants=tuple(_variant(variant) for variant in document["variants"]),
        revoked=frozenset(document["revoked"]),
    )


def index_was_published(registry: Registry, snapshot: IndexSnapshot) -> None:
    """Say that the snapshot's generation lies in the store. As publisher."""
    registry.call("SELECT morph.index_was_published(%s, %s, %s)", (snapshot.name, snapshot.generation, snapshot.seq))


_CHANGED_STATES: LiteralString = """
    WITH told AS (
        SELECT e.subject, max(e.seq) AS seq FROM morph.event e
        WHERE e.type = ANY ('{alias.moved,release.published,release.retired,kernel.published,kernel.reevaluated,
                              kernel.quarantined,kernel.revoked,kernel.retired}')
        GROUP BY e.subject
    ), changed AS (
        SELECT substr(t.subject, 11) AS name, t.seq FROM told t WHERE t.subject LIKE 'blueprint/%%'
        UNION ALL
        SELECT r.name, t.seq FROM told t
        JOIN morph.kernel k ON k.digest = substr(t.subject, 8)
        JOIN morph.blueprint_release r ON r.tenant = k.tenant AND r.blueprint_digest = k.blueprint_digest
        WHERE t.subject LIKE 'kernel/%%'
    )
    SELECT c.name::text AS name, coalesce(g.published_generation, 0) AS published_generation,
           coalesce(g.published_seq, 0) AS published_seq, g.published_at, max(c.seq) AS changed_seq
    FROM changed c LEFT JOIN morph.index_generation g ON g.name = c.name
    GROUP BY c.name, g.published_generation, g.published_seq, g.published_at ORDER BY c.name
"""
_STATES: LiteralString = """
    SELECT b.name::text AS name, coalesce(g.published_generation, 0) AS published_generation,
           coalesce(g.published_seq, 0) AS published_seq, g.published_at,
           greatest(
               (SELECT max(e.seq) FROM morph.event e
                WHERE e.subject = 'blueprint/' || b.name
                  AND e.type IN ('alias.moved', 'release.published', 'release.retired')),
               (SELECT max(e.seq) FROM morph.blueprint_release r
                JOIN morph.kernel k ON k.tenant = r.tenant AND k.blueprint_digest = r.blueprint_digest
                JOIN morph.event e ON e.tenant = k.tenant AND e.subject = 'kernel/' || k.digest
                WHERE r.tenant = b.tenant AND r.name = b.name
                  AND e.type IN ('kernel.published', 'kernel.reevaluated', 'kernel.quarantined', 'kernel.revoked',
                                 'kernel.retired')),
               0) AS changed_seq
    FROM morph.blueprint b LEFT JOIN morph.index_generation g ON g.tenant = b.tenant AND g.name = b.name
"""


def get_index_state(registry: Registry, name: str) -> IndexState:
    """Return how far the index of the name is behind.

    Raises:
        NotRegisteredError: there is no blueprint of this name.
    """
    found = registry.fetch_one(IndexState, _STATES + "WHERE b.name = %s", (name,))
    if found is None:
        raise NotRegisteredError(f"no blueprint named {name}")
    return found


def list_index_states(registry: Registry) -> list[IndexState]:
    """Return every name that a loader could ask for: it has, or had, a published kernel.

    Reads the events that an index tells of, and no kernel that none of them is about: most are never published.
    """
    return registry.fetch(IndexState, _CHANGED_STATES)


def _variant(document: Mapping[str, Any]) -> IndexVariant:
    return IndexVariant(
        kernel_digest=document["kernel_digest"],
        blueprint_digest=document["blueprint_digest"],
        target=document["target"],
        size_bytes=document["size_bytes"],
        speed_ratio=document["speed_ratio"],
        attestations=tuple(bytes.fromhex(envelope) for envelope in document["attestations"]),
    )
