"""Publishes a benchmark's kernels as the platform does: keys of its own, signed indexes, a store and a Redis."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from morph_assets.bench.bench_kernel import BenchKernel
from morph_kernels.artifact.attestation import Policy, provenance, verification_summary
from morph_kernels.artifact.bundle import encode_bundle
from morph_kernels.artifact.index import IndexDocument, Variant
from morph_kernels.artifact.signing import KeySigner, load_signer
from morph_kernels.artifact.target import current_runtime
from morph_kernels.artifact.trust import Role, create_trust, key_path
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest
from morph_kernels.store import ObjectStore, open_store
from morph_kernels.store.keys import bundle_key, index_key

TENANT: Final = "bench"
_POLICY = Policy("urn:morph-assets:policy:bench", BlobDigest("c" * 64))
_DAYS = 30


@dataclass
class BenchPublisher:
    """Keys below one folder, and what was published with them."""

    folder: Path
    generation: int = 0
    envelopes: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        create_trust(self.folder)
        self._signers: dict[Role, KeySigner] = {
            role: load_signer(key_path(self.folder, role)) for role in (Role.COMPILER, Role.EVALUATOR, Role.PUBLISHER)
        }

    @property
    def trust_file(self) -> Path:
        """What a loader's settings name."""
        return self.folder / "trust.json"

    def publish(self, kernel: BenchKernel, *stores: ObjectStore) -> bytes:
        """Put a kernel and the next index that names it into stores; return the index's envelope."""
        envelope = self.sign_index(kernel)
        for store in stores:
            store.put_if_absent(bundle_key(TENANT, kernel.manifest.digest), encode_bundle(kernel.bundle))
            store.put_if_absent(index_key(TENANT, kernel.blueprint.name, self.generation), envelope)
        self.envelopes[kernel.blueprint.name] = envelope
        return envelope

    def fill_redis(self, url: str, kernel: BenchKernel) -> None:
        """Put a published kernel and its index into Redis."""
        tier = RedisTier(url, tenant=TENANT)
        tier.put_bundle(kernel.manifest.digest, encode_bundle(kernel.bundle))
        tier.put_index(kernel.blueprint.name, self.generation, self.envelopes[kernel.blueprint.name])

    def sign_index(self, kernel: BenchKernel, **later: Any) -> bytes:
        """Return the next generation's signed index of one kernel; `later`: fields that a later format might have."""
        self.generation += 1
        now = datetime.now(UTC)
        variant = Variant(
            kernel_digest=kernel.manifest.digest,
            blueprint_digest=kernel.blueprint.digest,
            target=kernel.manifest.target,
            size_bytes=kernel.bundle.size_bytes,
            speed_ratio=1.5,
            attestations=self._attest(kernel, now),
        )
        document = IndexDocument(
            tenant=TENANT,
            name=kernel.blueprint.name,
            generation=self.generation,
            issued_at=now - timedelta(seconds=5),
            expires_at=now + timedelta(days=_DAYS),
            aliases={"production": 1},
            releases={1: (kernel.blueprint.digest, kernel.blueprint.to_bytes())},
            variants=(variant,),
        )
        return self._signers[Role.PUBLISHER].sign(document.to_document() | later)

    def _attest(self, kernel: BenchKernel, now: datetime) -> tuple[bytes, bytes]:
        built = self._signers[Role.COMPILER].sign(
            provenance(
                kernel.manifest,
                tenant=TENANT,
                builder_id="urn:morph-assets:builder:bench",
                isolation="bubblewrap",
                started_at=now,
                finished_at=now,
            )
        )
        summary = verification_summary(
            kernel.manifest.digest,
            BlobDigest(sha256_hex(built)),
            tenant=TENANT,
            runtime=current_runtime(),
            policy=_POLICY,
            result="PASSED",
            verifier_id="urn:morph-assets:evaluator:bench",
            verified_at=now,
        )
        return built, self._signers[Role.EVALUATOR].sign(summary)


def open_folder_store(folder: Path) -> tuple[str, ObjectStore]:
    """Return the URL of an object store in a folder, and the store."""
    url = f"file://{folder}"
    return url, open_store(url)
