"""Evaluates one kernel: the trusted side, which prepares both sandboxes and turns what they leave into a verdict."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from morph_assets.evaluation import exchange
from morph_assets.evaluation.claims import parse_cpu_s, parse_memory, parse_timings
from morph_assets.evaluation.exchange import CANDIDATE, REFERENCE, GarbledError
from morph_assets.evaluation.inspection import inspect_bundle
from morph_assets.evaluation.measured import Comparison, Fact, Failure, Measured, Memory, Timing
from morph_assets.evaluation.policy import EvaluationPolicy
from morph_assets.evaluation.report import Measurement, plan_measurements, plan_report
from morph_assets.evaluation.sandboxed import find_failure, raise_broken, run_child
from morph_assets.evaluation.tags import plan_tags
from morph_assets.evaluation.trial import Trial, plan_trial
from morph_assets.evaluation.verdict import Failed, Verdict, plan_risk, plan_verdict
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.target import Runtime, Target, current_runtime, incompatibility
from morph_kernels.blueprint import Blueprint
from morph_kernels.canonical import sha256_hex
from morph_kernels.compile.sandbox import Limits
from morph_kernels.errors import MorphError
from morph_kernels.reasons import Reason

DEFAULT_LIMITS: Final = Limits(wall_s=120.0, cpu_s=120, memory_bytes=8 * 1024**3, file_bytes=256 * 1024**2)


class WrongHostError(MorphError):
    """This host cannot run the kernel's target, so it cannot judge it; another host may."""

    def __init__(self, reason: Reason, target: Target) -> None:
        super().__init__(f"this host cannot evaluate a kernel for {target.device} {target.isa}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Evaluation:
    """What is known about a kernel after its evaluation. `report` is canonical JSON data, whatever happened."""

    verdict: Verdict
    report: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    tags: tuple[str, ...]
    runtime: Runtime
    risk: float


def evaluate_kernel(
    bundle: KernelBundle,
    blueprint: Blueprint,
    *,
    policy: EvaluationPolicy | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Evaluation:
    """Try a kernel against its blueprint's eager module, in two sandboxes, and judge it.

    Whatever the kernel does (crash, hang, eat memory, leave garbage) is a verdict. `limits` hold for each sandbox.

    Raises:
        SandboxError: a sandbox could not be set up, or the eager reference broke; retryable.
        WrongHostError: this host cannot run the kernel's target.
    """
    policy, runtime = policy or EvaluationPolicy(), current_runtime()
    manifest = inspect_bundle(bundle, blueprint)
    if isinstance(manifest, Failure):
        return _refuse(manifest, bundle, blueprint, policy, runtime)
    reason = incompatibility(manifest.target, runtime)
    if reason is not None:
        raise WrongHostError(reason, manifest.target)
    trial = plan_trial(bundle, blueprint, manifest, policy=policy)
    return _conclude(trial, _measure(trial, limits), runtime)


def _measure(trial: Trial, limits: Limits) -> Measured:
    kernel = (trial.manifest, trial.bundle.libraries)
    with tempfile.TemporaryDirectory(prefix="morph-evaluate-") as name:
        reference, candidate = Path(name, REFERENCE), Path(name, CANDIDATE)
        document = trial.request(REFERENCE)
        outcome = run_child(document, reference, blueprint=trial.blueprint, kernel=None, limits=limits)
        raise_broken(outcome, reference / "out")
        document = trial.request(CANDIDATE)
        outcome = run_child(document, candidate, blueprint=trial.blueprint, kernel=kernel, limits=limits)
        failure = find_failure(outcome, candidate / "out")
        return _gather(trial, reference / "out", candidate / "out", failure)


def _gather(trial: Trial, reference: Path, candidate: Path, failure: Failure | None) -> Measured:
    """Compare what there is; after a crash too, because the rows until then say where it began."""
    from morph_assets.evaluation.compare import compare_all

    found = tuple(compare_all(reference, candidate, trial))
    failures = (failure,) if failure is not None else tuple(item for item in found if isinstance(item, Failure))
    memory: Memory | None = None
    timings: tuple[Timing, ...] = ()
    cpu_s = parse_cpu_s(exchange.read_object(reference / exchange.RESULT))
    if failure is None:
        try:
            result = exchange.read_object(candidate / exchange.RESULT)
            memory, timings = parse_memory(result), parse_timings(result, {s.label: s for s in trial.timed})
            cpu_s += parse_cpu_s(result)
        except GarbledError as error:
            failures = (*failures, Failure(Reason.NO_RESULT, str(error)))
    return Measured(
        samples=tuple(sample.label for sample in trial.samples),
        threads=trial.threads,
        covered_share=trial.covered_share,
        comparisons=tuple(item for item in found if isinstance(item, Comparison)),
        facts=tuple(item for item in found if isinstance(item, Fact)),
        timings=timings,
        memory=memory,
        failures=failures,
        cpu_s=cpu_s,
    )


def _conclude(trial: Trial, measured: Measured, runtime: Runtime) -> Evaluation:
    policy, target = trial.policy, trial.manifest.target
    verdict, risk = plan_verdict(measured, policy), plan_risk(measured, policy)
    tags = plan_tags(trial.blueprint, target, measured)
    facts = _facts(trial.bundle, trial.blueprint, runtime, tags, risk) | {"target": target.to_document()}
    report = plan_report(facts, verdict, measured, trial.samples, policy)
    library_bytes = sum(len(library) for library in trial.bundle.libraries.values())
    measurements = plan_measurements(measured, target, library_bytes=library_bytes)
    return Evaluation(verdict, report, measurements, tags, runtime, risk)


def _refuse(
    failure: Failure, bundle: KernelBundle, blueprint: Blueprint, policy: EvaluationPolicy, runtime: Runtime
) -> Evaluation:
    """Conclude on a bundle that was not even tried; what its manifest claims is not repeated."""
    verdict = Failed((failure,))
    measured = Measured(samples=(), threads=(), covered_share=0.0, failures=(failure,))
    facts = _facts(bundle, blueprint, runtime, blueprint.tags, 1.0) | {"target": None}
    report = plan_report(facts, verdict, measured, (), policy)
    return Evaluation(verdict, report, (), blueprint.tags, runtime, 1.0)


def _facts(
    bundle: KernelBundle, blueprint: Blueprint, runtime: Runtime, tags: tuple[str, ...], risk: float
) -> dict[str, Any]:
    return {
        "blueprint": {"digest": blueprint.digest, "name": blueprint.name},
        "kernel_digest": sha256_hex(bundle.manifest),
        "risk": risk,
        "runtime": runtime.to_document(),
        "tags": list(tags),
    }
