"""The checks on the way of a kernel: sentences that are true when green, judged from what the assets found.

They run inside their assets: a check of its own would be left out of the runs that automation requests.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import dagster as dg

from morph_assets.defs.partitions import active_blueprints
from morph_assets.usecases.evaluate_kernel import EvaluatedKernel
from morph_assets.usecases.explain_load import LoadExplanation
from morph_assets.usecases.publish_kernel import PublishedKernel
from morph_kernels.reasons import Reason

SIGNED: Final = "kernel_is_signed"
BUILT_ONCE: Final = "kernel_was_built_once"
PASSED: Final = "kernel_passed_evaluation"
LOADABLE: Final = "published_kernel_is_loadable"
# Where the evaluation did not come to its end, nothing it would have found is true.
BROKEN: Final = frozenset(
    {
        Reason.CRASHED,
        Reason.TIMED_OUT,
        Reason.OUT_OF_MEMORY,
        Reason.NO_RESULT,
        Reason.NOT_MEASURED,
        Reason.LOAD_FAILED,
        Reason.MALFORMED,
        Reason.DIGEST_MISMATCH,
        Reason.WRONG_INTERFACE,
    }
)
SENTENCES: Final[Mapping[str, frozenset[Reason]]] = {
    "kernel_runs_to_its_end": BROKEN,
    "outputs_match_eager": frozenset({Reason.WRONG_VALUES, Reason.WRONG_BUFFERS}),
    "gradients_match_eager": frozenset({Reason.WRONG_GRADIENTS}),
    "randomness_matches_eager": frozenset({Reason.WRONG_RANDOMNESS}),
    "inputs_are_left_alone": frozenset({Reason.OVERWRITES, Reason.SHARES_MEMORY}),
    "results_repeat": frozenset({Reason.NOT_REPEATABLE, Reason.WRONG_PATH}),
    "time_and_memory_are_bounded": frozenset({Reason.TOO_SLOW, Reason.MEMORY_GROWS, Reason.HOLDS_TOO_MUCH}),
    "declared_sizes_are_covered": frozenset({Reason.COVERS_TOO_LITTLE}),
}


def plan_sentences(reasons: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what speaks against each sentence; reasons are "reason: detail" lines."""
    named = [(reason.partition(":")[0], reason) for reason in reasons]
    broken = tuple(line for name, line in named if name in BROKEN)
    return {
        sentence: broken or tuple(line for name, line in named if name in against)
        for sentence, against in SENTENCES.items()
    }


def judge_compilation(*, builds: int, signature_problem: str | None) -> Iterator[dg.AssetCheckResult]:
    """Yield whether a trusted compiler vouches for the stored bytes, and whether it ran only once."""
    yield dg.AssetCheckResult(
        check_name=SIGNED, passed=signature_problem is None, metadata={"problem": signature_problem or "-"}
    )
    yield dg.AssetCheckResult(
        check_name=BUILT_ONCE,
        passed=builds == 1,
        # Work for nothing, or bytes that were lost and built anew: no reason to stop.
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"builds": builds},
    )


def judge_evaluation(found: EvaluatedKernel) -> Iterator[dg.AssetCheckResult]:
    """Yield the verdict, which stops whatever depends on it, and each sentence by itself."""
    yield dg.AssetCheckResult(
        check_name=PASSED,
        passed=found.verdict == "passed",
        metadata={"report": found.report_digest, "reasons": "; ".join(found.reasons) or "-"},
    )
    for sentence, against in plan_sentences(found.reasons).items():
        yield dg.AssetCheckResult(
            check_name=sentence, passed=not against, metadata={"against": "; ".join(against) or "-"}
        )


def judge_load(published: PublishedKernel, loaded: LoadExplanation) -> dg.AssetCheckResult:
    """Say whether a loader of this host gets the published kernel, compiled."""
    return dg.AssetCheckResult(
        check_name=LOADABLE,
        passed=loaded.digest == published.digest and loaded.reason is None and loaded.source != "eager",
        metadata={
            "source": loaded.source,
            "digest": loaded.digest or "-",
            "reason": loaded.reason or "-",
            "refused": ", ".join(f"{reason} {count}" for reason, count in loaded.refused.items()) or "-",
        },
    )


def _specs() -> Iterator[dg.AssetCheckSpec]:
    yield _spec(SIGNED, "compiled_kernel", "A trusted compiler vouches for exactly the bytes that the store holds.")
    yield _spec(BUILT_ONCE, "compiled_kernel", "The compiler ran once for this build key, however many asked.")
    found = "The evaluator found nothing against the kernel; without, nothing is published."
    yield _spec(PASSED, "kernel_evaluation", found, blocking=True)
    for sentence in SENTENCES:
        yield _spec(sentence, "kernel_evaluation", f"{sentence.replace('_', ' ').capitalize()}.")
    yield _spec(LOADABLE, "published_kernel", "A loader that asks for the name gets this kernel, compiled.")


def _spec(name: str, asset: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name, asset=asset, description=description, blocking=blocking, partitions_def=active_blueprints
    )


with warnings.catch_warnings():
    # Partitioned checks are a preview in Dagster 1.13; the version is pinned.
    warnings.simplefilter("ignore", dg.PreviewWarning)
    _CHECKS = [*_specs()]


def checks_on(asset: str) -> list[dg.AssetCheckSpec]:
    """Return the checks that an asset must yield."""
    return [spec for spec in _CHECKS if spec.asset_key == dg.AssetKey(asset)]
