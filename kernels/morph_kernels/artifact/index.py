"""The index of one blueprint: releases, aliases, variants and revocations, signed by the publisher.

It is all that a loader needs besides trust; no database. Every generation is a new document. Its number is the
registry's timeline in the high bits and a counter in the low 32, so that a restored backup still counts upwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from morph_kernels.artifact.bundle import MAX_BUNDLE_BYTES
from morph_kernels.artifact.document import MAX_INTEGER, Fields, MalformedError, format_time
from morph_kernels.artifact.envelope import MAX_ATTESTATION_BYTES
from morph_kernels.artifact.roles import INDEX_KIND, Role
from morph_kernels.artifact.signature import judge_envelope
from morph_kernels.artifact.target import Target
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import COUNTER_BITS, BlueprintDigest, InvalidNameError, KernelDigest, is_digest, parse_name
from morph_kernels.reasons import Reason

MAX_INDEX_BYTES = 16 * 1024 * 1024
_MAX_BLUEPRINT_BYTES = 4 * 1024 * 1024
_MAX_VARIANTS = 10_000
_MAX_ATTESTATIONS = 64
# Documents hold no floats: the ratio stands there in millionths.
_RATIO_UNIT = 1_000_000
_MAX_RATIO = 1_000_000


@dataclass(frozen=True)
class Variant:
    """One kernel of a blueprint. `speed_ratio` is eager time over compiled time: above 1 it is faster than eager."""

    kernel_digest: KernelDigest
    blueprint_digest: BlueprintDigest
    target: Target
    size_bytes: int
    speed_ratio: float
    attestations: tuple[bytes, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in the index."""
        return {
            "attestations": [data.decode("utf-8") for data in self.attestations],
            "blueprint_digest": self.blueprint_digest,
            "kernel_digest": self.kernel_digest,
            "size_bytes": self.size_bytes,
            "speed_ratio_ppm": round(self.speed_ratio * _RATIO_UNIT),
            "target": self.target.to_document(),
        }

    @classmethod
    def from_document(cls, document: Any) -> "Variant":
        """Read the object that `to_document` writes, or raise `MalformedError`."""
        fields = Fields(document, what="index variant")
        variant = cls(
            kernel_digest=KernelDigest(fields.digest("kernel_digest")),
            blueprint_digest=BlueprintDigest(fields.digest("blueprint_digest")),
            target=Target.from_document(fields.take("target")),
            size_bytes=fields.integer("size_bytes", low=1, high=MAX_BUNDLE_BYTES),
            speed_ratio=fields.integer("speed_ratio_ppm", high=_MAX_RATIO * _RATIO_UNIT) / _RATIO_UNIT,
            attestations=fields.items("attestations", _parse_attestation, max_items=_MAX_ATTESTATIONS),
        )
        fields.close()
        return variant


@dataclass(frozen=True)
class IndexDocument:
    """One generation of a blueprint's index; `releases` holds each release's blueprint, whole, by its number."""

    tenant: str
    name: str
    generation: int
    issued_at: datetime
    expires_at: datetime
    aliases: Mapping[str, int] = field(hash=False)
    releases: Mapping[int, tuple[BlueprintDigest, bytes]] = field(hash=False)
    variants: tuple[Variant, ...] = ()
    revoked: frozenset[KernelDigest] = frozenset()

    def variants_of(self, blueprint_digest: BlueprintDigest) -> tuple[Variant, ...]:
        """Return the kernels of one blueprint that are not revoked."""
        return tuple(
            variant
            for variant in self.variants
            if variant.blueprint_digest == blueprint_digest and variant.kernel_digest not in self.revoked
        )

    def to_document(self) -> dict[str, Any]:
        """Return the document that the publisher signs.

        Raises:
            MalformedError: nobody could read it again.
        """
        document = {
            "_type": INDEX_KIND,
            "aliases": dict(self.aliases),
            "expires_at": format_time(self.expires_at),
            "generation": self.generation,
            "issued_at": format_time(self.issued_at),
            "name": self.name,
            "releases": [
                {"blueprint": data.decode("utf-8"), "blueprint_digest": digest, "release": release}
                for release, (digest, data) in sorted(self.releases.items())
            ],
            "revoked": sorted(self.revoked),
            "tenant": self.tenant,
            "variants": [variant.to_document() for variant in self.variants],
        }
        parse_index(document)
        return document


@dataclass(frozen=True)
class VerifiedIndex:
    """A document that the publisher signed for this tenant and name, not older than what was seen before.

    When `expired`, kernels that are already loaded or cached may go on; no new ones are loaded by it.
    """

    document: IndexDocument
    expired: bool


IndexVerdict = VerifiedIndex | Rejected


class DocumentSigner(Protocol):
    """Signs documents: a `SignerProcess`, or a `KeySigner` where the key is at hand."""

    def sign(self, document: Mapping[str, Any], /) -> bytes:
        """Return the bytes of the document's signed envelope."""
        ...


def compose_generation(timeline: int, counter: int) -> int:
    """Return the generation of a counter on a timeline.

    Raises:
        ValueError: one of them does not fit.
    """
    generation = timeline << COUNTER_BITS | counter
    if not 0 <= counter < 1 << COUNTER_BITS or not timeline >= 0 or generation > MAX_INTEGER:
        raise ValueError(f"timeline {timeline} and counter {counter} make no generation")
    return generation


def split_generation(generation: int) -> tuple[int, int]:
    """Return the timeline and the counter of a generation."""
    return generation >> COUNTER_BITS, generation & ((1 << COUNTER_BITS) - 1)


def sign_index(document: IndexDocument, signer: DocumentSigner) -> bytes:
    """Return the bytes of an index as they are published."""
    return signer.sign(document.to_document())


def verify_index(
    envelope: bytes | memoryview, *, trust: TrustPolicy, tenant: str, name: str, now: datetime, highest_seen: int
) -> IndexVerdict:
    """Return the index if it may be believed, and whether it has expired.

    Args:
        envelope: the published bytes.
        trust: the believed keys.
        tenant: whose index is asked for.
        name: which blueprint's.
        now: the time.
        highest_seen: the highest generation that this host has accepted for this tenant and name; 0 if none.
    """
    signed = judge_envelope(
        envelope, what="index", max_bytes=MAX_INDEX_BYTES, roles={Role.PUBLISHER}, trust=trust, now=now
    )
    if isinstance(signed, Rejected):
        return signed
    try:
        document = parse_index(signed.document)
    except MalformedError as error:
        return Rejected(error.reason, str(error))
    if document.tenant != tenant:
        return Rejected(Reason.WRONG_TENANT, "an index of another tenant")
    if document.name != name:
        return Rejected(Reason.ATTESTATION_MISMATCH, "an index of another blueprint")
    if document.generation < highest_seen:
        return Rejected(Reason.INDEX_ROLLED_BACK, f"generation {document.generation}, {highest_seen} was seen before")
    return VerifiedIndex(document, expired=now >= document.expires_at)


def parse_index(document: Mapping[str, Any]) -> IndexDocument:
    """Read the document that `IndexDocument.to_document` makes.

    Raises:
        MalformedError: a field is missing, unknown or wrong; a blueprint is not what its digest says; an alias or a
            variant belongs to no release.
    """
    fields = Fields(document, what="index")
    fields.equal("_type", INDEX_KIND)
    releases = fields.items("releases", _parse_release, max_items=_MAX_VARIANTS)
    index = IndexDocument(
        tenant=_parse_name(fields, "tenant"),
        name=_parse_name(fields, "name"),
        generation=fields.integer("generation"),
        issued_at=fields.time("issued_at"),
        expires_at=fields.time("expires_at"),
        aliases=_parse_aliases(fields),
        releases=dict(releases),
        variants=fields.items("variants", Variant.from_document, max_items=_MAX_VARIANTS),
        revoked=frozenset(fields.items("revoked", _parse_digest)),
    )
    fields.close()
    if len(index.releases) != len(releases):
        fields.refuse("releases")
    if not set(index.aliases.values()) <= set(index.releases):
        fields.refuse("aliases")
    known = {digest for digest, _ in index.releases.values()}
    if any(variant.blueprint_digest not in known for variant in index.variants):
        fields.refuse("variants")
    return index


def _parse_release(document: Any) -> tuple[int, tuple[BlueprintDigest, bytes]]:
    fields = Fields(document, what="index release")
    release, digest, text = (
        fields.integer("release", low=1),
        fields.digest("blueprint_digest"),
        fields.take("blueprint"),
    )
    fields.close()
    if not isinstance(text, str) or len(text) > _MAX_BLUEPRINT_BYTES:
        fields.refuse("blueprint")
    data = text.encode("utf-8")
    if sha256_hex(data) != digest:
        fields.refuse("blueprint_digest")
    return release, (BlueprintDigest(digest), data)


def _parse_name(fields: Fields, key: str) -> str:
    value = fields.take(key)
    try:
        return parse_name(value, what=key)
    except InvalidNameError:
        fields.refuse(key)


def _parse_aliases(fields: Fields) -> dict[str, int]:
    aliases = fields.take("aliases")
    if not isinstance(aliases, dict):
        fields.refuse("aliases")
    read = Fields(aliases, what="index aliases")
    try:
        return {parse_name(alias, what="alias"): read.integer(alias, low=1) for alias in aliases}
    except InvalidNameError:
        fields.refuse("aliases")


def _parse_attestation(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_ATTESTATION_BYTES or not text.isascii():
        raise MalformedError("index variant", "an attestation is not an envelope")
    return text.encode("ascii")


def _parse_digest(value: Any) -> KernelDigest:
    if not is_digest(value):
        raise MalformedError("index", "a revocation names no digest")
    return KernelDigest(value)
