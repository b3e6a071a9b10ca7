"""Takes in kernels that another registry exported: their bytes judged, then batch by batch into the registry."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from morph_assets.connections import Connections
from morph_assets.registry.import_batch import ImportBatch, ImportedKernel, ImportedRelease
from morph_assets.registry.import_manifest import encode_batch, iter_parsed
from morph_assets.registry.imports import import_batch, known_kernels, known_releases
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.fetch_bundle import open_bundle
from morph_kernels.artifact.bundle import MAX_BUNDLE_BYTES, KernelBundle
from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.artifact.verify import verify_build, verify_evidence
from morph_kernels.canonical import sha256_hex
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlobDigest, KernelDigest
from morph_kernels.store import ObjectNotFoundError
from morph_kernels.store.keys import blob_key, bundle_key

_BATCH_KERNELS = 500
_BATCH_BYTES = 8 * 1024 * 1024


class NotImportableError(MorphError):
    """A kernel's bytes are missing, are not what its line says, or nobody trusted vouches for them."""

    def __init__(self, digest: KernelDigest, why: str) -> None:
        super().__init__(f"kernel {digest[:12]} cannot be imported: {why}")


@dataclass(frozen=True)
class ImportedKernels:
    """What an import added, in how many batches, and how many kernels were there already."""

    batches: int = 0
    releases: int = 0
    kernels: int = 0
    rows: int = 0
    present: int = 0


@acknowledged
def import_kernels(connections: Connections, lines: Iterable[bytes], *, bundles: Path | None = None) -> ImportedKernels:
    """Take in the releases and kernels of a manifest of any length; those that are there already are left out.

    Each batch is stored as a manifest first and becomes visible as a whole. A call that is broken off leaves whole
    batches, and the next one goes on behind them.

    Args:
        connections: the platform's servers.
        lines: of the manifest (`morph_assets.registry.import_manifest`).
        bundles: a folder with each kernel's bytes in a file named by its digest, brought into the store first; without
            it they have to lie there already.

    Raises:
        MalformedManifestError: a line is none; batches before it stay.
        NotImportableError: a kernel's bytes or signatures do not hold.
        RegistryError: the registry refuses the batch, for example for a quota.
    """
    registry, trust, done = connections.registry("admin"), connections.trust(), ImportedKernels()
    for batch in _iter_batches(lines):
        names = [release.name for release in batch.releases]
        released = known_releases(registry, names) if names else frozenset()
        present = known_kernels(registry, [kernel.digest for kernel in batch.kernels])
        new = ImportBatch(
            tuple(item for item in batch.releases if (item.name, item.blueprint_digest) not in released),
            tuple(kernel for kernel in batch.kernels if kernel.digest not in present),
        )
        for kernel in new.kernels:
            _require_bytes(connections, kernel, trust, bundles)
        rows = _take_in(connections, new) if new.releases or new.kernels else 0
        done = ImportedKernels(
            batches=done.batches + (rows > 0),
            releases=done.releases + len(new.releases),
            kernels=done.kernels + len(new.kernels),
            rows=done.rows + rows,
            present=done.present + len(present),
        )
    return done


def _iter_batches(lines: Iterable[bytes]) -> Iterator[ImportBatch]:
    releases: list[ImportedRelease] = []
    kernels: list[ImportedKernel] = []
    size = 0
    for item in iter_parsed(lines):
        if isinstance(item, ImportedRelease):
            releases.append(item)
            size += len(item.document)
        else:
            kernels.append(item)
            size += len(item.provenance) + (len(item.report.body) if item.report else 0)
        if len(releases) + len(kernels) == _BATCH_KERNELS or size > _BATCH_BYTES:
            yield ImportBatch(tuple(releases), tuple(kernels))
            releases, kernels, size = [], [], 0
    if releases or kernels:
        yield ImportBatch(tuple(releases), tuple(kernels))


def _take_in(connections: Connections, batch: ImportBatch) -> int:
    manifest = encode_batch(batch)
    key = blob_key(connections.tenant, BlobDigest(sha256_hex(manifest)))
    connections.store.put_if_absent(key, manifest)
    return import_batch(connections.registry("admin"), manifest, key).rows


def _require_bytes(connections: Connections, kernel: ImportedKernel, trust: TrustPolicy, bundles: Path | None) -> None:
    key = bundle_key(connections.tenant, kernel.digest)
    if kernel.bundle_key != key:
        raise NotImportableError(kernel.digest, f"its bytes belong under {key}, not {kernel.bundle_key}")
    data = _read(connections, kernel, bundles)
    if len(data) != kernel.bundle_bytes or sha256_hex(data) != kernel.bundle_digest:
        raise NotImportableError(kernel.digest, "its bytes are not what its line says")
    _require_evidence(connections, kernel, trust, data)
    if bundles is not None:
        connections.store.put_if_absent(key, data)


def _read(connections: Connections, kernel: ImportedKernel, bundles: Path | None) -> bytes:
    try:
        if bundles is not None:
            with (bundles / kernel.digest).open("rb") as file:
                return file.read(MAX_BUNDLE_BYTES + 1)
        return connections.store.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES)
    except (FileNotFoundError, ObjectNotFoundError):
        where = "the store" if bundles is None else str(bundles)
        raise NotImportableError(kernel.digest, f"its bytes are not in {where}") from None


def _require_evidence(connections: Connections, kernel: ImportedKernel, trust: TrustPolicy, data: bytes) -> None:
    bundle = open_bundle(data, kernel.digest)
    manifest = _judge(connections.tenant, kernel, trust, bundle)
    if isinstance(manifest, Rejected):
        raise NotImportableError(kernel.digest, f"{manifest.reason}: {manifest.detail}")
    told = (kernel.blueprint_digest, kernel.build_key, dict(kernel.target), kernel.toolchain, kernel.pipeline)
    meant = (manifest.blueprint_digest, manifest.build_key, manifest.target.to_document())
    if (*told, kernel.recipe_version, kernel.size_bytes) != (
        *meant,
        *(manifest.toolchain, manifest.pipeline, manifest.recipe_version, bundle.size_bytes),
    ):
        raise NotImportableError(kernel.digest, "its line tells other facts than its manifest")


def _judge(tenant: str, kernel: ImportedKernel, trust: TrustPolicy, bundle: KernelBundle) -> KernelManifest | Rejected:
    now, digest = datetime.now(UTC), kernel.digest
    if kernel.report is not None:
        envelopes = [kernel.provenance, kernel.report.attestation]
        return verify_evidence(bundle, envelopes, trust=trust, tenant=tenant, expected_digest=digest, now=now)
    build = verify_build(bundle, [kernel.provenance], trust=trust, tenant=tenant, expected_digest=digest, now=now)
    return build if isinstance(build, Rejected) else build.manifest
