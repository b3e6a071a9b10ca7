"""Judges whether a kernel may run here. Pure: bytes, keys, runtime and time come in, a verdict goes out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from morph_kernels.artifact.attestation import (
    Provenance,
    VerificationSummary,
    parse_provenance,
    parse_verification_summary,
)
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.envelope import MAX_ATTESTATION_BYTES
from morph_kernels.artifact.manifest import MAX_MANIFEST_BYTES, KernelManifest, parse_manifest
from morph_kernels.artifact.roles import PROVENANCE_KIND, Role
from morph_kernels.artifact.signature import SignedDocument, judge_envelope
from morph_kernels.artifact.target import Runtime, Target, incompatibility, isa_covers
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest, KernelDigest
from morph_kernels.reasons import Reason

__all__ = [
    "Rejected",
    "Verdict",
    "Verified",
    "VouchedBuild",
    "judge_content",
    "verify_build",
    "verify_evidence",
    "verify_kernel",
]

MAX_ATTESTATIONS = 64
_BUILDERS = frozenset({Role.COMPILER, Role.EVALUATOR})
# How far an attestation came before it was refused: where none is left, the one that came farthest says why.
_PROGRESS = (
    Reason.TOO_LARGE,
    Reason.MALFORMED,
    Reason.UNSIGNED,
    Reason.UNTRUSTED_KEY,
    Reason.WRONG_ROLE,
    Reason.KEY_EXPIRED,
    Reason.KEY_REVOKED,
    Reason.DEVELOPMENT_KEY,
    Reason.BAD_SIGNATURE,
    Reason.ATTESTATION_MISMATCH,
    Reason.WRONG_TENANT,
    Reason.EVALUATION_FAILED,
)


@dataclass(frozen=True)
class Verified:
    """Two parties vouch for these bytes, and this process can run them."""

    manifest: KernelManifest


Verdict = Verified | Rejected


@dataclass(frozen=True)
class VouchedBuild:
    """A trusted compiler vouches for these bytes: enough to evaluate them in a sandbox, not to run them."""

    manifest: KernelManifest
    provenance_digest: BlobDigest


@dataclass(frozen=True)
class _Build:
    """A compiler's word that fits the kernel."""

    public_hex: str
    envelope_digest: str


@dataclass(frozen=True)
class _Pass:
    """An evaluator's word that fits the kernel."""

    public_hex: str
    summary: VerificationSummary


def verify_kernel(
    bundle: KernelBundle,
    attestations: Sequence[bytes],
    *,
    trust: TrustPolicy,
    runtime: Runtime,
    tenant: str,
    expected_digest: KernelDigest,
    now: datetime,
) -> Verdict:
    """Return whether the kernel may be loaded in this process, and if not, the first reason.

    In this order: sizes; the manifest is the expected one; the libraries are the manifest's; a trusted compiler says
    that it built it; a trusted evaluator, with another key, says that exactly this build passed; it fits this host; it
    passed under this torch. Attestations beyond those needed are ignored, also bad ones.
    """
    manifest = judge_content(bundle, expected_digest)
    if isinstance(manifest, Rejected):
        return manifest
    summaries = _judge_attestations(attestations, manifest, trust=trust, tenant=tenant, now=now)
    if isinstance(summaries, Rejected):
        return summaries
    misfit = incompatibility(manifest.target, runtime)
    if misfit is not None:
        return Rejected(misfit, f"built for {manifest.target.device} {manifest.target.isa}, this is {runtime.isa}")
    if not any(_covers(summary, manifest.target, runtime) for summary in summaries):
        return Rejected(Reason.TORCH_NOT_VALIDATED, f"not validated for torch {runtime.torch} on {runtime.device}")
    return Verified(manifest)


def verify_build(
    bundle: KernelBundle,
    attestations: Sequence[bytes],
    *,
    trust: TrustPolicy,
    tenant: str,
    expected_digest: KernelDigest,
    now: datetime,
) -> VouchedBuild | Rejected:
    """Return whether a trusted compiler built exactly this, and if not, the first reason. For the evaluator alone."""
    manifest = judge_content(bundle, expected_digest)
    if isinstance(manifest, Rejected):
        return manifest
    judged = [_judge_attestation(data, manifest, trust, tenant, now) for data in attestations[:MAX_ATTESTATIONS]]
    builds = [item for item in judged if isinstance(item, _Build)]
    if builds:
        return VouchedBuild(manifest, BlobDigest(builds[0].envelope_digest))
    nobody = Rejected(Reason.UNSIGNED, "no compiler vouches for it")
    return max(
        (item for item in judged if isinstance(item, Rejected)),
        key=lambda item: _PROGRESS.index(item.reason),
        default=nobody,
    )


def verify_evidence(
    bundle: KernelBundle,
    attestations: Sequence[bytes],
    *,
    trust: TrustPolicy,
    tenant: str,
    expected_digest: KernelDigest,
    now: datetime,
) -> KernelManifest | Rejected:
    """Return the manifest if compiler and evaluator vouch for these bytes, on whatever host; else the first reason.

    For who takes a kernel in without running it; whether it may run here is `verify_kernel`'s word.
    """
    manifest = judge_content(bundle, expected_digest)
    if isinstance(manifest, Rejected):
        return manifest
    judged = _judge_attestations(attestations, manifest, trust=trust, tenant=tenant, now=now)
    return judged if isinstance(judged, Rejected) else manifest


def judge_content(bundle: KernelBundle, expected_digest: KernelDigest) -> KernelManifest | Rejected:
    """Return the manifest if the bundle is the kernel of this digest, whole; nothing is said about who made it."""
    if len(bundle.manifest) > MAX_MANIFEST_BYTES:
        return Rejected(Reason.TOO_LARGE, f"a manifest of {len(bundle.manifest)} bytes")
    if sha256_hex(bundle.manifest) != expected_digest:
        return Rejected(Reason.DIGEST_MISMATCH, "the manifest is not the expected one")
    try:
        manifest = parse_manifest(bundle.manifest)
    except MalformedError as error:
        return Rejected(error.reason, str(error))
    if set(bundle.libraries) != {library.role for library in manifest.libraries}:
        return Rejected(Reason.DIGEST_MISMATCH, "other libraries than the manifest's")
    for library in manifest.libraries:
        data = bundle.libraries[library.role]
        if len(data) != library.size_bytes or hashlib.sha256(data).hexdigest() != library.digest:
            return Rejected(Reason.DIGEST_MISMATCH, f"the {library.role} library is not the manifest's")
    return manifest


def _judge_attestations(
    attestations: Sequence[bytes], manifest: KernelManifest, *, trust: TrustPolicy, tenant: str, now: datetime
) -> list[VerificationSummary] | Rejected:
    if len(attestations) > MAX_ATTESTATIONS:
        return Rejected(Reason.TOO_LARGE, f"{len(attestations)} attestations")
    judged = [_judge_attestation(data, manifest, trust, tenant, now) for data in attestations]
    builds = [item for item in judged if isinstance(item, _Build)]
    passes = [item for item in judged if isinstance(item, _Pass)]
    if builds and passes:
        return _pair(builds, passes)
    refused = [item for item in judged if isinstance(item, Rejected)]
    who = "evaluator" if builds else "compiler"
    nobody = Rejected(Reason.UNSIGNED, f"no {who} vouches for it")
    return max(refused, key=lambda item: _PROGRESS.index(item.reason), default=nobody)


def _pair(builds: list[_Build], passes: list[_Pass]) -> list[VerificationSummary] | Rejected:
    """Return the summaries of a build that is vouched for here, by another key than the build's."""
    pairs = [
        (build, item) for item in passes for build in builds if build.envelope_digest in item.summary.provenance_digests
    ]
    if not pairs:
        return Rejected(Reason.ATTESTATION_MISMATCH, "the evaluator vouched for another build")
    summaries = [item.summary for build, item in pairs if build.public_hex != item.public_hex]
    return summaries or Rejected(Reason.WRONG_ROLE, "one key vouches for the build and for its evaluation")


def _judge_attestation(
    data: bytes, manifest: KernelManifest, trust: TrustPolicy, tenant: str, now: datetime
) -> _Build | _Pass | Rejected:
    signed = judge_envelope(
        data, what="attestation", max_bytes=MAX_ATTESTATION_BYTES, roles=_BUILDERS, trust=trust, now=now
    )
    if isinstance(signed, Rejected):
        return signed
    try:
        statement = _read_statement(signed)
    except MalformedError as error:
        return Rejected(error.reason, str(error))
    if statement.manifest_digest != manifest.digest:
        return Rejected(Reason.ATTESTATION_MISMATCH, "an attestation for another kernel")
    if statement.tenant != tenant:
        return Rejected(Reason.WRONG_TENANT, "an attestation for another tenant")
    match statement:
        case Provenance():
            return _judge_build(statement, manifest, trust) or _Build(signed.key.public_hex, sha256_hex(data))
        case VerificationSummary():
            return _judge_pass(statement) or _Pass(signed.key.public_hex, statement)


def _read_statement(signed: SignedDocument) -> Provenance | VerificationSummary:
    if signed.kind == PROVENANCE_KIND:
        return parse_provenance(signed.document)
    return parse_verification_summary(signed.document)


def _judge_build(statement: Provenance, manifest: KernelManifest, trust: TrustPolicy) -> Rejected | None:
    if (statement.blueprint_digest, statement.build_key) != (manifest.blueprint_digest, manifest.build_key):
        return Rejected(Reason.ATTESTATION_MISMATCH, "the provenance names another build than the manifest")
    if statement.isolation == "none" and not trust.allow_development:
        return Rejected(Reason.DEVELOPMENT_KEY, "built without isolation")
    return None


def _judge_pass(statement: VerificationSummary) -> Rejected | None:
    if statement.result != "PASSED":
        return Rejected(Reason.EVALUATION_FAILED, "the evaluator says that it failed")
    return None


def _covers(summary: VerificationSummary, target: Target, runtime: Runtime) -> bool:
    """Return whether the evaluation ran this code under this torch.

    Hosts may differ in level: the code is the target's, so any host that could run it has run the same instructions.
    """
    evaluated = summary.runtime
    same = (evaluated.device, evaluated.torch) == (runtime.device, runtime.torch)
    return same and isa_covers(evaluated.isa, target.isa)
