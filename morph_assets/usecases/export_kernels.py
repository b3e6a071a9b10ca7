"""Writes kernels that are fit for use, with all that vouches for them, as the manifest that an import reads."""

from collections.abc import Iterator
from pathlib import Path

from morph_assets.connections import Connections
from morph_assets.registry import evaluations, kernels
from morph_assets.registry.blueprints import find_blueprint_document, list_releases
from morph_assets.registry.errors import NotRegisteredError
from morph_assets.registry.evaluations import list_measurements
from morph_assets.registry.import_batch import ImportedKernel, ImportedRelease, ImportedReport
from morph_assets.registry.import_manifest import iter_lines
from morph_assets.registry.kernels import AttestationRecord, KernelRecord, list_attestations
from morph_assets.usecases.fetch_bundle import require_content
from morph_kernels.artifact.bundle import MAX_BUNDLE_BYTES, decode_bundle
from morph_kernels.durable_file import replace_file
from morph_kernels.identity import BlobDigest, BlueprintDigest

_PAGE = 200


def export_kernels(connections: Connections, *, bundles: Path | None = None) -> Iterator[bytes]:
    """Yield the lines of a manifest: every release, parents first, and every validated or published kernel.

    Of a kernel's reports the newest passing one goes along; what else it was validated for is earned again there.

    Args:
        connections: the platform's servers.
        bundles: a folder into which each kernel's bytes are written, in a file named by its digest.

    Raises:
        ArtifactDamagedError: the store's copy of a kernel is damaged.
        StoreError: the store does not answer.
    """
    yield from iter_lines(_iter_exported(connections, bundles))


def _iter_exported(connections: Connections, bundles: Path | None) -> Iterator[ImportedRelease | ImportedKernel]:
    registry = connections.registry("admin")
    # In the order of their submission: a parent was there before its children.
    for release in sorted(list_releases(registry), key=lambda release: release.created_at):
        document = find_blueprint_document(registry, release.blueprint_digest)
        if document is None:
            raise NotRegisteredError(f"the document of {release.name}@{release.version} is missing")
        facts = (tuple(release.tags), release.author, tuple(map(BlueprintDigest, release.parents)))
        yield ImportedRelease(release.name, document, *facts)
    page = kernels.kernels_after(registry, None, limit=_PAGE)
    while page:
        for kernel in page:
            if kernel.state in kernels.FIT_STATES:
                yield _exported(connections, kernel, bundles)
        page = kernels.kernels_after(registry, page[-1].digest, limit=_PAGE)


def _exported(connections: Connections, kernel: KernelRecord, bundles: Path | None) -> ImportedKernel:
    data = connections.store.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES)
    if bundles is not None:
        require_content(decode_bundle(data, max_bytes=MAX_BUNDLE_BYTES), kernel.digest)
        replace_file(bundles / kernel.digest, data)
    envelopes = list_attestations(connections.registry("admin"), kernel.digest)
    return ImportedKernel(
        digest=kernel.digest,
        blueprint_digest=kernel.blueprint_digest,
        build_key=kernel.build_key,
        target=kernel.target,
        toolchain=kernel.toolchain,
        pipeline=kernel.pipeline,
        recipe_version=kernel.recipe_version,
        size_bytes=kernel.size_bytes,
        bundle_digest=BlobDigest(kernel.bundle_digest),
        bundle_key=kernel.bundle_key,
        bundle_bytes=len(data),
        provenance=next(found.envelope for found in envelopes if found.kind == "provenance"),
        report=_report(connections, kernel, envelopes),
    )


def _report(connections: Connections, kernel: KernelRecord, envelopes: list[AttestationRecord]) -> ImportedReport:
    registry = connections.registry("admin")
    vouching = {found.report_id: found.envelope for found in envelopes}
    report = next(
        found for found in reversed(evaluations.list_reports(registry, kernel.digest)) if found.verdict == "pass"
    )
    return ImportedReport(
        report_id=report.report_id,
        suite=report.suite,
        body=report.body,
        torch=report.runtime_torch,
        device=report.runtime_device,
        isa=report.runtime_isa,
        attestation=vouching[report.report_id],
        measurements=tuple(list_measurements(registry, report.report_id)),
        tags=tuple(kernel.tags),
    )
