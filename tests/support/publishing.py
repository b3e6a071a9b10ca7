"""Publishes really compiled kernels the way the platform does, with the thin half alone: signs, indexes, stores."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from morph_kernels.artifact.attestation import Policy, provenance, verification_summary
from morph_kernels.artifact.bundle import encode_bundle
from morph_kernels.artifact.index import IndexDocument, Variant, sign_index
from morph_kernels.artifact.signing import KeySigner, load_signer
from morph_kernels.artifact.target import Runtime, current_runtime
from morph_kernels.artifact.trust import Role, create_trust, key_path
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest, KernelDigest
from morph_kernels.loader import KernelLoader
from morph_kernels.settings import Endpoints, RuntimeSettings
from morph_kernels.store import open_store
from morph_kernels.store.keys import bundle_key, index_key
from tests.support.kernels import TestKernel

# What a build took, by its provenance.
BUILD = timedelta(seconds=20)
POLICY = Policy("urn:morph-assets:policy:test", BlobDigest("c" * 64))


@dataclass
class Publisher:
    """A tenant's keys, store and indexes below one folder."""

    folder: Path
    tenant: str = "default"
    generation: int = 0
    redis_url: str | None = None
    store_url: str = ""
    variants: dict[str, list[Variant]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = create_trust(self.folder / "trust").root_public_hex
        self.store_url = self.store_url or f"file://{self.folder}/objects"
        self.store = open_store(self.store_url)

    def signer(self, role: Role) -> KeySigner:
        """Return the signer of a role."""
        return load_signer(key_path(self.folder / "trust", role))

    def attest(
        self,
        kernel: TestKernel,
        *,
        compiler: KeySigner | None = None,
        evaluator: KeySigner | None = None,
        runtime: Runtime | None = None,
        tenant: str | None = None,
    ) -> tuple[bytes, bytes]:
        """Return the two envelopes that vouch for a kernel."""
        now = datetime.now(UTC)
        tenant = tenant or self.tenant
        built = (compiler or self.signer(Role.COMPILER)).sign(
            provenance(
                kernel.manifest,
                tenant=tenant,
                builder_id="urn:morph-assets:builder:test",
                isolation="bubblewrap",
                started_at=now - BUILD,
                finished_at=now,
            )
        )
        summary = verification_summary(
            kernel.manifest.digest,
            BlobDigest(sha256_hex(built)),
            tenant=tenant,
            runtime=runtime or current_runtime(),
            policy=POLICY,
            result="PASSED",
            verifier_id="urn:morph-assets:evaluator:test",
            verified_at=now,
        )
        return built, (evaluator or self.signer(Role.EVALUATOR)).sign(summary)

    def variant(self, kernel: TestKernel, attestations: tuple[bytes, ...] | None = None) -> Variant:
        """Return what an index says about a kernel."""
        return Variant(
            kernel_digest=kernel.manifest.digest,
            blueprint_digest=kernel.blueprint.digest,
            target=kernel.manifest.target,
            size_bytes=kernel.bundle.size_bytes,
            speed_ratio=1.5,
            attestations=self.attest(kernel) if attestations is None else attestations,
        )

    def publish(self, kernel: TestKernel, *, attestations: tuple[bytes, ...] | None = None, **index: object) -> bytes:
        """Put a kernel into the store and publish an index that names it; return the index envelope."""
        variant = self.variant(kernel, attestations)
        self.store.put_if_absent(bundle_key(self.tenant, kernel.manifest.digest), encode_bundle(kernel.bundle))
        return self.publish_index(kernel, [variant], **index)

    def publish_index(
        self,
        kernel: TestKernel,
        variants: list[Variant],
        *,
        expires_in: timedelta = timedelta(days=30),
        revoked: frozenset[KernelDigest] = frozenset(),
        generation: int | None = None,
        signer: KeySigner | None = None,
        **changes: object,
    ) -> bytes:
        """Sign and store the next generation of a blueprint's index."""
        self.generation = self.generation + 1 if generation is None else generation
        now = datetime.now(UTC)
        document = IndexDocument(
            tenant=self.tenant,
            name=kernel.blueprint.name,
            generation=self.generation,
            issued_at=now + min(expires_in, timedelta()) - timedelta(seconds=5),
            expires_at=now + expires_in,
            aliases={"production": 1},
            releases={1: (kernel.blueprint.digest, kernel.blueprint.to_bytes())},
            variants=tuple(variants),
            revoked=revoked,
        )
        envelope = sign_index(replace(document, **changes), signer or self.signer(Role.PUBLISHER))  # type: ignore[arg-type]  # any field
        key = index_key(self.tenant, kernel.blueprint.name, self.generation)
        self.store.put_if_absent(key, envelope)
        return envelope

    def settings(self, host: str = "host", **changes: object) -> RuntimeSettings:
        """Return the settings of a host that trusts this publisher."""
        endpoints = Endpoints(
            store_url=self.store_url,
            redis_url=self.redis_url,
            trust_file=self.folder / "trust" / "trust.json",
        )
        settings = RuntimeSettings(
            endpoints=endpoints, tenant=self.tenant, cache_dir=self.folder / host / "cache", deadline_s=5.0
        )
        return replace(settings, **changes)  # type: ignore[arg-type]  # any field

    def loader(self, host: str = "host", *, runtime: Runtime | None = None, **changes: object) -> KernelLoader:
        """Return a loader on a host of its own cache folder."""
        return KernelLoader(self.settings(host, **changes), runtime=runtime)
