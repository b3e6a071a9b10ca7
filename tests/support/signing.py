"""Keys, trust and signed kernels for tests: real signatures by keys made for one test session."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from morph_kernels.artifact.attestation import Policy, provenance, verification_summary
from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.artifact.signing import KeySigner, load_signer
from morph_kernels.artifact.trust import Role, TrustPolicy, create_trust, key_path
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest
from tests.support.artifacts import RUNTIME

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
POLICY = Policy("urn:morph-assets:policy:standard", BlobDigest("c" * 64))


def make_provenance(manifest: KernelManifest, **changes: object) -> dict[str, Any]:
    """Return what the compiler says of a manifest."""
    facts = {
        "tenant": "default",
        "builder_id": "urn:morph-assets:builder:test",
        "isolation": "bubblewrap",
        "started_at": NOW - timedelta(seconds=40),
        "finished_at": NOW,
    } | changes
    return provenance(manifest, **facts)  # type: ignore[arg-type]  # facts of several types


def make_summary(manifest: KernelManifest, built: BlobDigest, **changes: object) -> dict[str, Any]:
    """Return what the evaluator says of a manifest and of the provenance with that digest."""
    facts = {
        "tenant": "default",
        "runtime": RUNTIME,
        "policy": POLICY,
        "result": "PASSED",
        "verifier_id": "urn:morph-assets:evaluator:test",
        "verified_at": NOW,
    } | changes
    return verification_summary(manifest.digest, built, **facts)  # type: ignore[arg-type]  # facts of several types


@dataclass(frozen=True)
class Signers:
    """Every role's key, and a trust policy that believes them at NOW."""

    folder: Path
    trust: TrustPolicy
    by_role: Mapping[Role, KeySigner]

    def provenance(self, manifest: KernelManifest, *, signer: KeySigner | None = None, **changes: object) -> bytes:
        """Return the compiler's envelope for a manifest."""
        return (signer or self.by_role[Role.COMPILER]).sign(make_provenance(manifest, **changes))

    def summary(
        self, manifest: KernelManifest, built: bytes, *, signer: KeySigner | None = None, **changes: object
    ) -> bytes:
        """Return the evaluator's envelope for a manifest and the provenance it checked."""
        document = make_summary(manifest, BlobDigest(sha256_hex(built)), **changes)
        return (signer or self.by_role[Role.EVALUATOR]).sign(document)

    def attest(self, manifest: KernelManifest) -> list[bytes]:
        """Return the two envelopes that make a kernel loadable."""
        built = self.provenance(manifest)
        return [built, self.summary(manifest, built)]

    def trust_with(self, role: Role, **changes: object) -> TrustPolicy:
        """Return the trust policy with one role's key changed."""
        keyid = self.by_role[role].keyid
        return replace(self.trust, keys={**self.trust.keys, keyid: replace(self.trust.keys[keyid], **changes)})  # type: ignore[arg-type]  # any field


@pytest.fixture(scope="session")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Signers:
    """Keys of every role, made once."""
    folder = tmp_path_factory.mktemp("trust")
    trust = create_trust(folder, now=NOW - timedelta(days=1))
    return Signers(folder, trust, {role: load_signer(key_path(folder, role)) for role in Role})
