"""Has a kernel tried in the evaluator's sandbox and records what came of it; only this makes one VALIDATED."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal

from morph_assets.connections import Connections
from morph_assets.evaluation.evaluate import DEFAULT_LIMITS, Evaluation
from morph_assets.evaluation.evaluate import evaluate_kernel as try_kernel
from morph_assets.evaluation.policy import EvaluationPolicy
from morph_assets.evaluation.verdict import Failed
from morph_assets.registry import evaluations, kernels
from morph_assets.registry.blueprints import find_blueprint_document, list_releases
from morph_assets.registry.errors import NotRegisteredError
from morph_assets.registry.evaluations import EvaluationReport, Measurement, ReportRecord
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.kernels import KernelRecord, kernel_subject
from morph_assets.registry.leases import Lease, check_fence
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.fetch_bundle import fetch_bundle
from morph_assets.usecases.find_kernel import find_kernel
from morph_assets.usecases.tell_refused_signature import tell_refused_signature
from morph_kernels.artifact.attestation import verification_summary
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.host import current_hardware
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.target import Runtime, current_runtime
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.artifact.verify import VouchedBuild, verify_build
from morph_kernels.blueprint import Blueprint
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.compile.sandbox import Limits
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlobDigest, KernelDigest
from morph_kernels.store.keys import report_key

VERIFIER_ID = "urn:morph-assets:evaluator:local"
_JUDGED = frozenset({"VALIDATED", "PUBLISHED", "REJECTED"})
_OPEN = frozenset({"COMPILED", "QUARANTINED", "VALIDATING"})
_WAIT_S = 900.0
_POLL_S = 0.25


@dataclass(frozen=True)
class EvaluatedKernel:
    """A kernel's verdict under this host's runtime; `evaluated` says whether this very call measured it.

    `reasons` are "reason: detail" lines, empty for a kernel that passed; `risk` is 0 (far from every limit) to 1.
    """

    digest: KernelDigest
    verdict: Literal["passed", "failed"]
    reasons: tuple[str, ...]
    report_digest: BlobDigest
    measurements: tuple[Measurement, ...]
    tags: tuple[str, ...]
    risk: float
    evaluated: bool


class NotEvaluableError(MorphError):
    """The kernel is in no state to be evaluated, or nobody vouches for its bytes."""

    def __init__(self, digest: KernelDigest, why: str) -> None:
        super().__init__(f"kernel {digest[:12]} cannot be evaluated: {why}")


class EvaluationBusyError(MorphError):
    """Another process held the evaluation for longer than any takes."""

    retryable: ClassVar[bool] = True

    def __init__(self, digest: KernelDigest) -> None:
        super().__init__(f"another process is evaluating kernel {digest[:12]} and does not finish; try again")


@acknowledged
def evaluate_kernel(
    connections: Connections,
    what: str,
    *,
    policy: EvaluationPolicy | None = None,
    limits: Limits = DEFAULT_LIMITS,
    wait_s: float = _WAIT_S,
) -> EvaluatedKernel:
    """Return the verdict on a kernel under this host's runtime and the policy, measured now if nobody did before.

    Args:
        connections: the platform's servers.
        what: a kernel's digest, or a ref whose newest kernel is meant.
        policy: the thresholds; the standard ones when None.
        limits: of each sandbox.
        wait_s: how long to wait for another process that is evaluating it.

    Raises:
        NotEvaluableError: it is revoked or retired, or its compiler is not trusted.
        ArtifactDamagedError: its bytes are damaged.
        SandboxError: the evaluation itself broke; the kernel is as before and another try may succeed.
        WrongHostError: this host cannot run it.
        EvaluationBusyError: another process holds the evaluation for longer than `wait_s`.
    """
    policy = policy or EvaluationPolicy()
    digest, until = find_kernel(connections, what).digest, time.monotonic() + wait_s
    registry = connections.registry("evaluator")
    while True:
        with hold_lease(registry, f"evaluation/{digest}") as lease:
            if lease is not None:
                kernel = kernels.get_kernel(registry, digest)
                known = _find_verdict(connections, kernel, policy)
                return known or _evaluate(connections, kernel, policy, limits, lease)
        if time.monotonic() >= until:
            raise EvaluationBusyError(digest)
        time.sleep(_POLL_S)


def _find_verdict(connections: Connections, kernel: KernelRecord, policy: EvaluationPolicy) -> EvaluatedKernel | None:
    """Return what is known already under this runtime and policy."""
    if kernel.state not in _JUDGED:
        return None
    runtime, registry = current_runtime(), connections.registry("evaluator")
    for report in reversed(evaluations.list_reports(registry, kernel.digest)):
        same = (report.runtime_torch, report.runtime_device, report.runtime_isa) == _named(runtime)
        if same and report.suite == _suite(policy) and report.verdict != "error":
            return _describe(connections, kernel, report, evaluated=False)
    return None


def _evaluate(
    connections: Connections, kernel: KernelRecord, policy: EvaluationPolicy, limits: Limits, lease: Lease
) -> EvaluatedKernel:
    if kernel.state not in _JUDGED | _OPEN:
        raise NotEvaluableError(kernel.digest, f"it is {kernel.state}")
    registry = connections.registry("evaluator")
    blueprint = _blueprint(connections, kernel)
    bundle = fetch_bundle(connections, kernel)
    build = _judge_build(connections, kernel, bundle)
    if kernel.state in _OPEN:
        evaluations.start_evaluation(registry, kernel.digest)
    try:
        evaluation = try_kernel(bundle, blueprint, policy=policy, limits=limits)
    except MorphError as error:
        _record(connections, _broken(kernel, policy, str(error)), lease)
        raise
    report = _report(connections, kernel, build, evaluation, policy)
    connections.store.put_if_absent(report_key(connections.tenant, BlobDigest(sha256_hex(report.body))), report.body)
    _record(connections, report, lease)
    record = next(
        found for found in evaluations.list_reports(registry, kernel.digest) if found.report_id == report.report_id
    )
    return _describe(connections, kernels.get_kernel(registry, kernel.digest), record, evaluated=True)


def _blueprint(connections: Connections, kernel: KernelRecord) -> Blueprint:
    registry = connections.registry("evaluator")
    document = find_blueprint_document(registry, kernel.blueprint_digest)
    releases = [
        r
        for n in kernel.names
        for r in list_releases(registry, name=n)
        if r.blueprint_digest == kernel.blueprint_digest
    ]
    if document is None or not releases:
        raise NotRegisteredError(f"the blueprint of kernel {kernel.digest} is missing")
    tags = tuple(dict.fromkeys(tag for release in releases for tag in release.tags))
    return Blueprint.from_bytes(document, name=releases[0].name, tags=tags)


def _judge_build(connections: Connections, kernel: KernelRecord, bundle: KernelBundle) -> VouchedBuild:
    envelopes = [
        record.envelope for record in kernels.list_attestations(connections.registry("evaluator"), kernel.digest)
    ]
    verdict = verify_build(
        bundle,
        envelopes,
        trust=connections.trust(),
        tenant=connections.tenant,
        expected_digest=kernel.digest,
        now=datetime.now(UTC),
    )
    if isinstance(verdict, Rejected):
        tell_refused_signature(connections, kernel_subject(kernel.digest), verdict, role="evaluator")
        raise NotEvaluableError(kernel.digest, f"{verdict.reason}: {verdict.detail}")
    return verdict


def _report(
    connections: Connections,
    kernel: KernelRecord,
    build: VouchedBuild,
    evaluation: Evaluation,
    policy: EvaluationPolicy,
) -> EvaluationReport:
    failed = isinstance(evaluation.verdict, Failed)
    torch, device, isa = _named(evaluation.runtime)
    risk = Measurement("risk", evaluation.risk, "1")
    return EvaluationReport(
        kernel=kernel.digest,
        suite=_suite(policy),
        verdict="fail" if failed else "pass",
        body=canonical_bytes(evaluation.report),
        torch=torch,
        device=device,
        isa=isa,
        measurements=(
            *(
                Measurement(m.metric, m.value, m.unit, m.shape_class, hardware=current_hardware())
                for m in evaluation.measurements
            ),
            risk,
        ),
        tags=evaluation.tags,
        attestation=None if failed else _summary(connections, build, evaluation.runtime, policy),
    )


def _summary(connections: Connections, build: VouchedBuild, runtime: Runtime, policy: EvaluationPolicy) -> bytes:
    statement = verification_summary(
        build.manifest.digest,
        build.provenance_digest,
        tenant=connections.tenant,
        runtime=runtime,
        policy=policy.attested,
        result="PASSED",
        verifier_id=VERIFIER_ID,
        verified_at=datetime.now(UTC),
    )
    return connections.signer(Role.EVALUATOR).sign(statement)


def _broken(kernel: KernelRecord, policy: EvaluationPolicy, problem: str) -> EvaluationReport:
    torch, device, isa = _named(current_runtime())
    body = canonical_bytes({"kernel_digest": kernel.digest, "problem": problem, "verdict": "error"})
    return EvaluationReport(kernel.digest, _suite(policy), "error", body, torch, device, isa)


def _record(connections: Connections, report: EvaluationReport, lease: Lease) -> None:
    registry = connections.registry("evaluator")
    with registry.transaction():
        check_fence(registry, lease)
        evaluations.record_report(registry, report)


def _describe(
    connections: Connections, kernel: KernelRecord, report: ReportRecord, *, evaluated: bool
) -> EvaluatedKernel:
    measurements = tuple(evaluations.list_measurements(connections.registry("evaluator"), report.report_id))
    reasons = json.loads(report.body).get("reasons", ())
    return EvaluatedKernel(
        digest=kernel.digest,
        verdict="passed" if report.verdict == "pass" else "failed",
        reasons=tuple(f"{failure['reason']}: {failure['detail']}" for failure in reasons),
        report_digest=BlobDigest(report.body_digest),
        measurements=measurements,
        tags=tuple(kernel.tags),
        risk=next((found.value for found in measurements if found.metric == "risk"), 1.0),
        evaluated=evaluated,
    )


def _suite(policy: EvaluationPolicy) -> str:
    return f"{policy.attested.uri}#{policy.attested.digest}"


def _named(runtime: Runtime) -> tuple[str, str, str]:
    return runtime.torch, runtime.device, runtime.isa
