"""The two statements about a kernel: how it was built, and that it passed.

Both are in-toto Statements v1 whose one subject is the manifest's digest. Provenance is SLSA Provenance v1; the verdict
is a SLSA Verification Summary v1. What SLSA has no field for stands in `morph_*` extension fields, as it asks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from morph_kernels.artifact.document import Fields, format_time
from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.artifact.roles import PROVENANCE_KIND, STATEMENT_TYPE, SUMMARY_KIND
from morph_kernels.artifact.target import Runtime
from morph_kernels.identity import NAME_PATTERN, BlobDigest, BlueprintDigest, BuildKey, KernelDigest

Isolation = Literal["bubblewrap", "namespaces", "none"]
Result = Literal["PASSED", "FAILED"]
BUILD_TYPE = "urn:morph-assets:build:aot-kernel:v1"
ISOLATIONS: frozenset[str] = frozenset({"bubblewrap", "namespaces", "none"})
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[\x21-\x7e]{1,300}")
_TENANT = re.compile(NAME_PATTERN)
_SUBJECT = "kernel-manifest"
_MAX_INPUTS = 16


@dataclass(frozen=True)
class Policy:
    """What an evaluation was measured against."""

    uri: str
    digest: BlobDigest


@dataclass(frozen=True)
class Provenance:
    """A compiler's word: this manifest came out of this build."""

    manifest_digest: KernelDigest
    tenant: str
    blueprint_digest: BlueprintDigest
    build_key: BuildKey
    builder_id: str
    isolation: Isolation
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True)
class VerificationSummary:
    """An evaluator's word: this manifest, with this provenance, passed or failed this policy under this runtime."""

    manifest_digest: KernelDigest
    tenant: str
    provenance_digests: tuple[BlobDigest, ...]
    runtime: Runtime
    policy: Policy
    result: Result
    verifier_id: str
    verified_at: datetime


def provenance(
    manifest: KernelManifest,
    *,
    tenant: str,
    builder_id: str,
    isolation: Isolation,
    started_at: datetime,
    finished_at: datetime,
) -> dict[str, Any]:
    """Return the compiler's statement about a manifest.

    Args:
        manifest: what was built.
        tenant: for whom; a kernel of one tenant is none of another's.
        builder_id: a URI of the builder.
        isolation: how the build was kept from keys and network; "none" is only believed from development keys.
        started_at: begin of the build.
        finished_at: its end.
    """
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"build_key": manifest.build_key, "tenant": tenant},
            "internalParameters": {"isolation": isolation},
            "resolvedDependencies": [{"digest": {"sha256": manifest.blueprint_digest}, "name": "blueprint"}],
        },
        "runDetails": {
            "builder": {"id": builder_id},
            "metadata": {"finishedOn": format_time(finished_at), "startedOn": format_time(started_at)},
        },
    }
    return _statement(manifest.digest, PROVENANCE_KIND, predicate)


def verification_summary(
    manifest_digest: KernelDigest,
    provenance_digest: BlobDigest,
    *,
    tenant: str,
    runtime: Runtime,
    policy: Policy,
    result: Result,
    verifier_id: str,
    verified_at: datetime,
) -> dict[str, Any]:
    """Return the evaluator's statement about a manifest.

    Args:
        manifest_digest: what was evaluated.
        provenance_digest: sha256 of the provenance envelope's bytes that the evaluator checked.
        tenant: for whom.
        runtime: what it was evaluated under; a kernel runs only under a torch that a summary names.
        policy: what it was measured against.
        result: "PASSED" or "FAILED".
        verifier_id: a URI of the evaluator.
        verified_at: when.
    """
    predicate = {
        "inputAttestations": [{"digest": {"sha256": provenance_digest}}],
        "morph_runtime": runtime.to_document(),
        "morph_tenant": tenant,
        "policy": {"digest": {"sha256": policy.digest}, "uri": policy.uri},
        "resourceUri": f"urn:morph-assets:kernel:{manifest_digest}",
        "slsaVersion": "1.0",
        "timeVerified": format_time(verified_at),
        "verificationResult": result,
        "verifiedLevels": [],
        "verifier": {"id": verifier_id},
    }
    return _statement(manifest_digest, SUMMARY_KIND, predicate)


def parse_provenance(document: Mapping[str, Any]) -> Provenance:
    """Read the statement that `provenance` makes, or raise `MalformedError`."""
    manifest_digest, predicate = _open_statement(document, PROVENANCE_KIND)
    definition, run = predicate.nested("buildDefinition"), predicate.nested("runDetails")
    definition.equal("buildType", BUILD_TYPE)
    external, internal = definition.nested("externalParameters"), definition.nested("internalParameters")
    dependencies = definition.items("resolvedDependencies", _parse_blueprint, max_items=1)
    builder, metadata = run.nested("builder"), run.nested("metadata")
    if not dependencies:
        definition.refuse("resolvedDependencies")
    read = Provenance(
        manifest_digest=manifest_digest,
        tenant=external.text("tenant", _TENANT),
        blueprint_digest=dependencies[0],
        build_key=BuildKey(external.digest("build_key")),
        builder_id=builder.text("id", _URI),
        isolation=cast("Isolation", internal.choice("isolation", ISOLATIONS)),
        started_at=metadata.time("startedOn"),
        finished_at=metadata.time("finishedOn"),
    )
    for fields in (predicate, definition, run, external, internal, builder, metadata):
        fields.close()
    return read


def parse_verification_summary(document: Mapping[str, Any]) -> VerificationSummary:
    """Read the statement that `verification_summary` makes, or raise `MalformedError`."""
    manifest_digest, predicate = _open_statement(document, SUMMARY_KIND)
    predicate.equal("resourceUri", f"urn:morph-assets:kernel:{manifest_digest}")
    predicate.equal("slsaVersion", "1.0")
    predicate.items("verifiedLevels", str, max_items=0)
    policy, verifier = predicate.nested("policy"), predicate.nested("verifier")
    read = VerificationSummary(
        manifest_digest=manifest_digest,
        tenant=predicate.text("morph_tenant", _TENANT),
        provenance_digests=predicate.items("inputAttestations", _parse_input, max_items=_MAX_INPUTS),
        runtime=Runtime.from_document(predicate.take("morph_runtime")),
        policy=Policy(policy.text("uri", _URI), BlobDigest(_sha256(policy))),
        result=cast("Result", predicate.choice("verificationResult", frozenset({"PASSED", "FAILED"}))),
        verifier_id=verifier.text("id", _URI),
        verified_at=predicate.time("timeVerified"),
    )
    for fields in (predicate, policy, verifier):
        fields.close()
    return read


def _statement(digest: KernelDigest, kind: str, predicate: dict[str, Any]) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "predicate": predicate,
        "predicateType": kind,
        "subject": [{"digest": {"sha256": digest}, "name": _SUBJECT}],
    }


def _open_statement(document: Mapping[str, Any], kind: str) -> tuple[KernelDigest, Fields]:
    fields = Fields(document, what="statement")
    fields.equal("_type", STATEMENT_TYPE)
    fields.equal("predicateType", kind)
    subjects = fields.items("subject", lambda item: _parse_named(item, _SUBJECT), max_items=1)
    if not subjects:
        fields.refuse("subject")
    predicate = fields.nested("predicate")
    fields.close()
    return KernelDigest(subjects[0]), predicate


def _parse_blueprint(document: Any) -> BlueprintDigest:
    return BlueprintDigest(_parse_named(document, "blueprint"))


def _parse_named(document: Any, name: str) -> str:
    fields = Fields(document, what="statement resource")
    fields.equal("name", name)
    digest = _sha256(fields)
    fields.close()
    return digest


def _parse_input(document: Any) -> BlobDigest:
    fields = Fields(document, what="statement input")
    digest = _sha256(fields)
    fields.close()
    return BlobDigest(digest)


def _sha256(fields: Fields) -> str:
    digests = fields.nested("digest")
    digest = digests.digest("sha256")
    digests.close()
    return digest
