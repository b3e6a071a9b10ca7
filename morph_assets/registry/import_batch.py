"""What a bulk import adds, as records; `morph_assets.registry.import_manifest` reads and writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from morph_assets.registry.evaluations import Measurement
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest, BlueprintDigest, BuildKey, KernelDigest, ObjectKey


@dataclass(frozen=True)
class ImportedRelease:
    """A blueprint to be released under the next version of its name."""

    name: str
    document: bytes
    tags: tuple[str, ...] = ()
    author: str = ""
    parents: tuple[BlueprintDigest, ...] = ()

    @property
    def blueprint_digest(self) -> BlueprintDigest:
        """What the document is called."""
        return BlueprintDigest(sha256_hex(self.document))


@dataclass(frozen=True)
class ImportedReport:
    """The passing report that vouches for an imported kernel."""

    report_id: UUID
    suite: str
    body: bytes
    torch: str
    device: str
    isa: str
    attestation: bytes
    measurements: tuple[Measurement, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportedKernel:
    """A kernel with what vouches for it; without a report nobody has judged it."""

    digest: KernelDigest
    blueprint_digest: BlueprintDigest
    build_key: BuildKey
    target: Mapping[str, Any]
    toolchain: str
    pipeline: str
    recipe_version: int
    size_bytes: int
    bundle_digest: BlobDigest
    bundle_key: ObjectKey
    bundle_bytes: int
    provenance: bytes
    report: ImportedReport | None = None


@dataclass(frozen=True)
class ImportBatch:
    """What one manifest adds."""

    releases: tuple[ImportedRelease, ...] = ()
    kernels: tuple[ImportedKernel, ...] = ()
