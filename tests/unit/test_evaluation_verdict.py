"""The verdict: complete and within every threshold passes; anything missing or past one fails with its reason."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morph_assets.evaluation import EvaluationPolicy, Failed, Failure, Measured, Passed, plan_risk, plan_verdict
from morph_assets.evaluation.measured import Comparison, Fact, Memory, Spread, Timing
from morph_kernels.reasons import Reason

POLICY = EvaluationPolicy()
SAMPLES, THREADS = ("least", "middle"), (1, 3)
EAGER_ERROR = 1e-7
LIMIT = POLICY.error_limit(EAGER_ERROR)


def timing(ratio=1.0, best=None, threads=1):
    spread = Spread(100.0, 100.0, 120.0)
    least = 100.0 * (ratio if best is None else best)
    return Timing("middle", "batch=33", threads, "step", spread, Spread(100.0 * ratio, least, 1e3), ratio, 15)


def measured(**changes):
    found = Measured(
        samples=SAMPLES,
        threads=THREADS,
        covered_share=1.0,
        comparisons=tuple(
            Comparison(sample, threads, f"{kind}.y", kind, 1e-7, EAGER_ERROR)
            for sample in SAMPLES
            for threads in THREADS
            for kind in ("output", "gradient", "buffer")
        ),
        facts=(Fact("least", 1, "the generator is left as eager leaves it", Reason.WRONG_RANDOMNESS, holds=True),),
        timings=(timing(),),
        memory=Memory(growth_bytes=0, held_bytes=1000, eager_held_bytes=1000),
    )
    return replace(found, **changes)


def reasons(found):
    verdict = plan_verdict(found, POLICY)
    return {failure.reason for failure in verdict.reasons} if isinstance(verdict, Failed) else set()


def with_comparison(place, **changes):
    comparisons = list(measured().comparisons)
    comparisons[place] = replace(comparisons[place], **changes)
    return measured(comparisons=tuple(comparisons))


def test_a_complete_and_right_kernel_passes():
    assert plan_verdict(measured(), POLICY) == Passed()
    assert 0.0 < plan_risk(measured(), POLICY) < 0.2


PLACES = st.integers(0, len(measured().comparisons) - 1)
PAST = st.one_of(st.floats(LIMIT * 1.001, 1e30), st.just(math.inf), st.just(math.nan))


@given(PLACES, PAST)
def test_any_single_error_past_its_limit_fails_with_its_reason(place, error):
    expected = {
        "output": Reason.WRONG_VALUES,
        "gradient": Reason.WRONG_GRADIENTS,
        "buffer": Reason.WRONG_BUFFERS,
    }[measured().comparisons[place].kind]
    found = with_comparison(place, error=error)
    assert reasons(found) == {expected}
    assert plan_risk(found, POLICY) == 1.0


@given(PLACES, st.floats(0.0, LIMIT * 0.999))
def test_errors_within_their_limits_pass(place, error):
    assert reasons(with_comparison(place, error=error)) == set()


@given(PLACES, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e-2))
def test_a_larger_error_is_never_judged_better(place, first, second, eager_error):
    less, more = sorted((first, second))
    small = with_comparison(place, error=less, eager_error=eager_error)
    large = with_comparison(place, error=more, eager_error=eager_error)
    assert reasons(small) <= reasons(large)
    assert plan_risk(small, POLICY) <= plan_risk(large, POLICY)


@given(st.one_of(st.floats(1e-9, POLICY.min_speed_ratio * 0.999), st.just(math.nan)))
def test_a_kernel_far_slower_than_eager_fails(ratio):
    assert reasons(measured(timings=(timing(), timing(ratio)))) == {Reason.TOO_SLOW}


def test_a_busy_neighbour_does_not_fail_a_kernel_whose_best_times_are_good():
    assert reasons(measured(timings=(timing(0.01, best=0.9),))) == set()


@given(st.lists(st.floats(1e-9, 10.0), min_size=1))
def test_with_many_threads_only_a_kernel_that_is_slow_throughout_fails(ratios):
    found = measured(timings=(timing(), *(timing(ratio, threads=2) for ratio in ratios)))
    assert (reasons(found) == {Reason.TOO_SLOW}) == (max(ratios) < POLICY.min_speed_ratio)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"comparisons": ()}, Reason.NOT_MEASURED),
        ({"comparisons": measured().comparisons[1:]}, Reason.NOT_MEASURED),
        ({"timings": ()}, Reason.NOT_MEASURED),
        ({"memory": None}, Reason.NOT_MEASURED),
        ({"samples": (), "comparisons": ()}, Reason.NOT_MEASURED),
        ({"covered_share": POLICY.min_covered_share * 0.9}, Reason.COVERS_TOO_LITTLE),
        ({"covered_share": math.nan}, Reason.COVERS_TOO_LITTLE),
        ({"memory": Memory(POLICY.max_growth_bytes + 1, 0, 0)}, Reason.MEMORY_GROWS),
        ({"memory": Memory(0, POLICY.held_slack_bytes + 4001, 1000)}, Reason.HOLDS_TOO_MUCH),
        ({"failures": (Failure(Reason.CRASHED, "ended by SIGSEGV"),)}, Reason.CRASHED),
    ],
)
def test_whatever_is_missing_or_past_its_threshold_fails_with_its_reason(changes, reason):
    assert reasons(measured(**changes)) == {reason}
    assert plan_risk(measured(**changes), POLICY) == 1.0


@given(st.sampled_from([r for r in Reason if r.name.startswith(("WRONG", "SHARES", "OVER", "NOT_R"))]))
def test_a_fact_that_does_not_hold_fails_with_its_own_reason(reason):
    assert reasons(measured(facts=(Fact("least", 1, "it is so", reason, holds=False),))) == {reason}


@given(st.floats(0, 1e30))
def test_a_bad_eager_result_widens_the_limit_only_so_far(eager_error):
    assert POLICY.error_limit(eager_error) <= POLICY.max_error + POLICY.eager_factor * POLICY.max_eager_error


def test_two_policies_have_one_digest_only_if_they_are_equal():
    assert EvaluationPolicy().attested == POLICY.attested
    assert replace(POLICY, max_error=2e-5).attested.digest != POLICY.attested.digest
