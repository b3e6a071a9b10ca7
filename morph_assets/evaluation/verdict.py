"""The verdict on what was measured: pure, and every threshold is the policy's."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from morph_assets.evaluation.measured import Comparison, Failure, Measured, Timing
from morph_assets.evaluation.policy import EvaluationPolicy
from morph_kernels.reasons import Reason


@dataclass(frozen=True)
class Passed:
    """The kernel may be validated."""


@dataclass(frozen=True)
class Failed:
    """The kernel is wrong, for at least one reason."""

    reasons: tuple[Failure, ...]


Verdict = Passed | Failed
_WRONG = {"output": Reason.WRONG_VALUES, "gradient": Reason.WRONG_GRADIENTS, "buffer": Reason.WRONG_BUFFERS}


def plan_verdict(measured: Measured, policy: EvaluationPolicy) -> Verdict:
    """Judge what was measured; whatever is missing counts as wrong."""
    # What kept the rest from being measured is said once, not again for everything that is missing.
    missing = measured.failures or tuple(_find_missing(measured))
    reasons = (*missing, *_past_thresholds(measured, policy))
    return Failed(reasons) if reasons else Passed()


def plan_risk(measured: Measured, policy: EvaluationPolicy) -> float:
    """Return how near the kernel is to failing: the largest used share of any limit, 1.0 where it fails.

    The shares are error over its limit, grown bytes over theirs, held bytes over theirs, and the least speed ratio
    allowed over the one measured. 0.5 says that the closest measure is half way to its limit.
    """
    if isinstance(plan_verdict(measured, policy), Failed):
        return 1.0
    shares = [found.error / policy.error_limit(found.eager_error) for found in measured.comparisons]
    shares += [policy.min_speed_ratio / timing.favourable_ratio for timing in _judged_timings(measured)]
    if measured.memory is not None:
        shares.append(max(measured.memory.growth_bytes, 0) / policy.max_growth_bytes)
        shares.append(measured.memory.held_bytes / _held_limit(measured.memory.eager_held_bytes, policy))
    return min(1.0, max(shares, default=0.0))


def _find_missing(measured: Measured) -> Iterator[Failure]:
    compared = {(found.sample, found.threads) for found in measured.comparisons if found.kind == "output"}
    for sample in measured.samples:
        for threads in measured.threads:
            if (sample, threads) not in compared:
                yield Failure(Reason.NOT_MEASURED, f"no values were compared for {sample} at {threads} threads")
    if not measured.samples or not measured.threads:
        yield Failure(Reason.NOT_MEASURED, "no sample was tried")
    if not any(found.kind == "gradient" for found in measured.comparisons):
        yield Failure(Reason.NOT_MEASURED, "no gradient was compared")
    if not measured.timings:
        yield Failure(Reason.NOT_MEASURED, "nothing was timed")
    if measured.memory is None:
        yield Failure(Reason.NOT_MEASURED, "memory was not measured")


def _past_thresholds(measured: Measured, policy: EvaluationPolicy) -> Iterator[Failure]:
    # Each condition is "not within", so that a NaN is past every threshold.
    for found in measured.comparisons:
        if not found.error <= policy.error_limit(found.eager_error):
            yield Failure(_WRONG[found.kind], _describe(found, policy))
    for fact in measured.facts:
        if not fact.holds:
            yield Failure(fact.reason, f"{fact.claim}: not so for {fact.sample} at {fact.threads} threads")
    for timing in _judged_timings(measured):
        if not timing.favourable_ratio >= policy.min_speed_ratio:
            yield Failure(Reason.TOO_SLOW, _describe_slowness(timing, policy))
    if not measured.covered_share >= policy.min_covered_share:
        yield Failure(
            Reason.COVERS_TOO_LITTLE, f"{measured.covered_share:.2%} of the sizes, least {policy.min_covered_share:.2%}"
        )
    memory = measured.memory
    if memory is not None and not memory.growth_bytes <= policy.max_growth_bytes:
        yield Failure(Reason.MEMORY_GROWS, f"{memory.growth_bytes} bytes in {policy.growth_iterations} steps")
    if memory is not None and not memory.held_bytes <= _held_limit(memory.eager_held_bytes, policy):
        yield Failure(
            Reason.HOLDS_TOO_MUCH, f"{memory.held_bytes} bytes between passes, eager {memory.eager_held_bytes}"
        )


def _judged_timings(measured: Measured) -> Iterator[Timing]:
    """Yield every row of one thread, and of more threads the best row.

    Threads that wait for each other on a busy machine are slowed tenfold at random: no kernel's fault.
    """
    parallel: dict[int, list[Timing]] = {}
    for timing in measured.timings:
        if timing.threads == 1:
            yield timing
        else:
            parallel.setdefault(timing.threads, []).append(timing)
    for timings in parallel.values():
        # A NaN is worse than anything.
        yield max(timings, key=lambda timing: -1.0 if math.isnan(timing.ratio) else timing.favourable_ratio)


def _held_limit(eager_bytes: int, policy: EvaluationPolicy) -> float:
    return policy.held_slack_bytes + policy.max_held_ratio * max(eager_bytes, 0)


def _describe(found: Comparison, policy: EvaluationPolicy) -> str:
    limit = policy.error_limit(found.eager_error if math.isfinite(found.eager_error) else math.inf)
    return (
        f"{found.tensor} is off by {found.error:.2e}, at most {limit:.2e} (eager float32: {found.eager_error:.2e}), "
        f"for {found.sample} at {found.threads} threads"
    )


def _describe_slowness(timing: Timing, policy: EvaluationPolicy) -> str:
    return (
        f"{timing.direction} at {timing.shape} with {timing.threads} threads has {timing.favourable_ratio:.2f} times "
        f"the speed of eager, at least {policy.min_speed_ratio}"
    )
