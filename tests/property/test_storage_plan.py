"""The plan of storage tiers: what is held never leaves, and however a round is cut, the next ends in one place."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from morph_assets.config import StoragePolicy
from morph_assets.usecases.plan_storage_tiers import StoredKernel, plan_storage_tiers
from morph_kernels.identity import KernelDigest

PLACES = st.sampled_from(["store", "cold"])
DAYS = st.none() | st.integers(0, 50)
POLICIES = st.builds(
    StoragePolicy,
    cold_url=st.just("file:///cold"),
    hot_days=DAYS,
    cold_days=DAYS,
    drop_days=DAYS,
    drop_build_s=st.sampled_from([0.0, 30.0]),
)
KERNELS = st.lists(
    st.builds(
        StoredKernel,
        digest=st.sampled_from([KernelDigest(letter * 64) for letter in "0123456789ab"]),
        names=st.just(("ffn",)),
        size_bytes=st.integers(1, 1000),
        place=PLACES,
        copies=st.frozensets(PLACES, min_size=1),
        in_redis=st.none() | st.booleans(),
        in_service=st.booleans(),
        idle_days=st.integers(0, 60).map(float),
        rebuild_s=st.none() | st.sampled_from([20.0, 40.0]),
        kept_because=st.none() | st.sampled_from(["pinned", "a running job needs it"]),
    ),
    unique_by=lambda kernel: kernel.digest,
)


def carried_out(tiered, cut):
    """Return the kernel after so many of the steps of a move: copy, switch, delete."""
    kernel = tiered.kernel
    if tiered.step == "move":
        if cut >= 1:
            kernel = replace(kernel, copies=kernel.copies | {tiered.place})
        if cut >= 2:
            kernel = replace(kernel, place=tiered.place)
        if cut >= 3:
            kernel = replace(kernel, copies=frozenset({tiered.place}))
    elif tiered.step in {"warm", "cool"}:
        kernel = replace(kernel, in_redis=tiered.step == "warm")
    return kernel


@given(KERNELS, POLICIES)
def test_what_is_pinned_or_in_use_never_leaves(kernels, policy):
    for tiered in plan_storage_tiers(kernels, policy):
        if tiered.kernel.kept_because is not None:
            assert tiered.tier in {"hot", "warm"}
            assert tiered.step != "drop"
            assert tiered.place == "store"


@given(KERNELS, POLICIES, st.integers(0, 3))
def test_a_round_that_was_cut_anywhere_is_ended_by_the_next_in_exactly_one_place(kernels, policy, cut):
    plan = plan_storage_tiers(kernels, policy)
    assert [tiered.kernel.digest for tiered in plan] == sorted(kernel.digest for kernel in kernels)
    interrupted = [carried_out(tiered, cut) for tiered in plan]
    assert all(kernel.copies for kernel in interrupted)
    # What left or enters Redis does so in the round after its move.
    ended = [carried_out(t, 3) for t in plan_storage_tiers(interrupted, policy) if t.step != "drop"]

    for tiered in plan_storage_tiers(ended, policy):
        assert tiered.step not in {"move", "drop"}
        assert tiered.kernel.copies == {tiered.kernel.place} == {tiered.place}


@given(KERNELS, POLICIES)
def test_only_what_is_soon_rebuilt_is_dropped(kernels, policy):
    for tiered in plan_storage_tiers(kernels, policy):
        if tiered.step == "drop":
            assert tiered.kernel.rebuild_s is not None
            assert tiered.kernel.rebuild_s <= policy.drop_build_s
            assert tiered.kernel.idle_days >= policy.drop_days


@given(KERNELS)
def test_without_a_policy_nothing_moves_but_what_has_to_come_back(kernels):
    for tiered in plan_storage_tiers(kernels, StoragePolicy()):
        assert (tiered.tier, tiered.step in {"none", "move"}) == ("warm", True)
