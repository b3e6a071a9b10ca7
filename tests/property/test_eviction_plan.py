"""The eviction plan: it fits the budget where it can, touches no pin, and gives up what is cheapest to lose."""

from hypothesis import given
from hypothesis import strategies as st

from morph_kernels.cache.eviction import FITS, CachedKernel, plan_eviction
from morph_kernels.identity import KernelDigest

kernels = st.lists(
    st.builds(
        CachedKernel,
        digest=st.integers(0, 200).map(lambda n: KernelDigest(f"{n:064x}")),
        size_bytes=st.integers(0, 10**7),
        uses=st.integers(1, 100),
        rebuild_s=st.floats(0, 1000),
        clock=st.floats(0, 1),
    ),
    unique_by=lambda kernel: kernel.digest,
    max_size=30,
)
amounts = st.integers(0, 10**8)


def cached(digest, **facts):
    return CachedKernel(KernelDigest(digest * 64), **{"size_bytes": 100, "rebuild_s": 20.0} | facts)


def named(plan):
    return "".join(kernel.digest[0] for kernel in plan.dropped)


@given(kernels, amounts, amounts, st.randoms())
def test_what_is_left_fits_unless_what_must_stay_alone_does_not(found, budget, needed, random):
    keep = {kernel.digest: "pinned" for kernel in found if random.random() < 0.3}

    plan = plan_eviction(found, budget_bytes=budget, needed_bytes=needed, keep=keep)

    dropped = {kernel.digest for kernel in plan.dropped}
    left = [kernel for kernel in found if kernel.digest not in dropped]
    assert not dropped & set(keep)
    assert set(plan.kept_because) == {kernel.digest for kernel in left}
    assert all(plan.kept_because[digest] == "pinned" for digest in keep)
    assert plan.fits == (sum(kernel.size_bytes for kernel in left) + needed <= budget)
    assert plan.fits or {kernel.digest for kernel in left} == set(keep)
    assert plan.freed_bytes == sum(k.size_bytes for k in found) - sum(k.size_bytes for k in left)


@given(kernels, amounts, amounts)
def test_nothing_is_dropped_that_did_not_have_to_be(found, budget, needed):
    plan = plan_eviction(found, budget_bytes=budget, needed_bytes=needed)

    if plan.dropped:
        before_the_last = sum(k.size_bytes for k in found) - plan.freed_bytes + plan.dropped[-1].size_bytes
        assert before_the_last + needed > budget


@given(kernels, amounts)
def test_what_is_dropped_is_worth_no_more_than_what_is_kept_and_the_clock_follows_it(found, budget):
    plan = plan_eviction(found, budget_bytes=budget, clock=0.5)

    dropped = [kernel.priority for kernel in plan.dropped]
    kept = [kernel.priority for kernel in found if kernel.digest in plan.kept_because]
    assert max(dropped, default=0.0) <= min(kept, default=float("inf"))
    assert plan.clock == max([0.5, *dropped])


def test_what_is_cheap_large_rarely_found_or_long_ago_goes_before_what_is_not():
    found = [
        cached("a", clock=0.1),
        cached("b", clock=0.1, uses=9),
        cached("c", clock=0.1, size_bytes=5_000),
        cached("d", clock=0.1, rebuild_s=1.0),
        cached("e"),
        cached("f", rebuild_s=0.0),
    ]

    assert named(plan_eviction(found, budget_bytes=0)) == "fcdeab"


def test_what_nobody_finds_any_more_grows_old_however_often_it_was_found():
    once_loved, clock = cached("a", uses=50), 0.0
    for _ in range(60):
        plan = plan_eviction([once_loved, cached("b", clock=clock)], budget_bytes=100, clock=clock)
        clock = plan.clock
        if named(plan) == "a":
            return
    raise AssertionError("it stayed for ever")


def test_a_plan_says_what_went_and_why_the_rest_stayed():
    plan = plan_eviction(
        [cached("a"), cached("b", uses=2), cached("c")], budget_bytes=200, keep={KernelDigest("a" * 64): "pinned"}
    )

    assert str(plan) == "evicted 1 (100 bytes); kept: 1 fits the budget, 1 pinned"
    assert plan.kept_because == {"a" * 64: "pinned", "b" * 64: FITS}
    assert str(plan_eviction([], budget_bytes=0)) == "evicted 0 (0 bytes); kept: none"
