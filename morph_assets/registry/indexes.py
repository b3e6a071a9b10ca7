"""What a signed index document has to say about one blueprint, read in one snapshot with its generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from morph_assets.registry.connection import Registry
from morph_kernels.identity import BlueprintDigest, KernelDigest


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
    """One generation; the timeline stands above its lower 40 bits. `revoked` holds quarantined kernels too."""

    tenant: str
    name: str
    generation: int
    aliases: Mapping[str, int]
    releases: tuple[IndexRelease, ...]
    variants: tuple[IndexVariant, ...]
    revoked: frozenset[KernelDigest]


def next_index(registry: Registry, name: str) -> IndexSnapshot:
    """Raise the generation and return what it says; a later generation never knows less. As publisher.

    Raises:
        NotRegisteredError: there is no blueprint of this name.
    """
    (document,) = registry.call("SELECT morph.next_index(%s)", (name,))
    return IndexSnapshot(
        tenant=document["tenant"],
        name=document["name"],
        generation=document["generation"],
        aliases=document["aliases"],
        releases=tuple(
            IndexRelease(release["version"], release["blueprint_digest"], bytes.fromhex(release["document"]))
            for release in document["releases"]
        ),
        variants=tuple(_variant(variant) for variant in document["variants"]),
        revoked=frozenset(document["revoked"]),
    )


def _variant(document: Mapping[str, Any]) -> IndexVariant:
    return IndexVariant(
        kernel_digest=document["kernel_digest"],
        blueprint_digest=document["blueprint_digest"],
        target=document["target"],
        size_bytes=document["size_bytes"],
        speed_ratio=document["speed_ratio"],
        attestations=tuple(bytes.fromhex(envelope) for envelope in document["attestations"]),
    )
