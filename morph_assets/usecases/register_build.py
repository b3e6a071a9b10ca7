"""Takes a finished build into the platform: bytes into the store, the compiler's word on them, then the row."""

from datetime import UTC, datetime, timedelta

from morph_assets.connections import Connections
from morph_assets.registry import builds
from morph_assets.registry.builds import BuildCost, CompiledKernel
from morph_assets.registry.kernels import KernelRecord
from morph_assets.registry.leases import Lease, check_fence
from morph_assets.usecases.store_bundle import store_bundle
from morph_kernels.artifact.attestation import Isolation, provenance
from morph_kernels.artifact.roles import Role
from morph_kernels.compile.builder import BuiltKernel

BUILDER_ID = "urn:morph-assets:builder:local"
ISOLATION: Isolation = "bubblewrap"


def register_build(connections: Connections, built: BuiltKernel, lease: Lease) -> KernelRecord:
    """Return the kernel of the build's key: this one, or the one that was there first.

    The bytes reach the store before the row reaches the registry: a crash leaves an orphan, which the next build takes
    over, and never a row without bytes.

    Raises:
        FencedError: the lease is somebody else's by now; the row was not written.
        StoreError: the store does not answer; nothing was recorded.
        SignerError: the compiler's signer failed.
    """
    manifest = built.manifest
    stored = store_bundle(connections, manifest.digest, built.bundle)
    compiled = CompiledKernel(
        digest=manifest.digest,
        blueprint_digest=manifest.blueprint_digest,
        build_key=manifest.build_key,
        target=manifest.target.to_document(),
        toolchain=manifest.toolchain,
        pipeline=manifest.pipeline,
        recipe_version=manifest.recipe_version,
        size_bytes=built.bundle.size_bytes,
        bundle_digest=stored.digest,
        bundle_key=stored.key,
        bundle_bytes=stored.size_bytes,
        provenance=_vouch(connections, built),
        cost=BuildCost(built.cpu_s, built.wall_s, ISOLATION, log_tail=built.log),
    )
    registry = connections.registry("compiler")
    with registry.transaction():
        check_fence(registry, lease)
        return builds.record_build(registry, compiled)


def _vouch(connections: Connections, built: BuiltKernel) -> bytes:
    """Return the compiler's signed word on how the kernel came about."""
    finished_at = datetime.now(UTC)
    statement = provenance(
        built.manifest,
        tenant=connections.tenant,
        builder_id=BUILDER_ID,
        isolation=ISOLATION,
        started_at=finished_at - timedelta(seconds=built.wall_s),
        finished_at=finished_at,
    )
    return connections.signer(Role.COMPILER).sign(statement)
