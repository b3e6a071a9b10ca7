"""The eviction plan: it fits the budget where it can, touches no pin, and gives up what is cheapest to lose."""

from hypothesis import given
from hypothesis import strategies as st

from morph_assets.usecases.evict_cache import Entry, plan_eviction

entries = st.lists(
    st.builds(
        Entry,
        key=st.uuids().map(str),
        size_bytes=st.integers(1, 10**7),
        idle_s=st.floats(0, 10**6),
        rebuild_s=st.floats(0.1, 1000),
        in_service=st.booleans(),
    ),
    unique_by=lambda entry: entry.key,
    max_size=30,
)


@given(entries, st.integers(0, 10**8), st.randoms())
def test_the_rest_fits_the_budget_unless_pins_alone_do_not(found, budget, random):
    pinned = {entry.key for entry in found if random.random() < 0.3}

    plan = plan_eviction(found, budget_bytes=budget, pinned=pinned)

    kept = [entry for entry in found if entry.key not in plan.drop]
    assert not set(plan.drop) & pinned
    assert set(plan.kept_because) == {entry.key for entry in kept}
    assert sum(e.size_bytes for e in kept) <= budget or all(e.key in pinned for e in kept)


@given(entries, st.integers(0, 10**8))
def test_nothing_is_dropped_that_did_not_have_to_be(found, budget):
    plan = plan_eviction(found, budget_bytes=budget, pinned=())

    sizes = {entry.key: entry.size_bytes for entry in found}
    total = sum(sizes.values())
    before_the_last = total - sum(sizes[key] for key in plan.drop[:-1])
    assert (total <= budget) == (not plan.drop)
    assert not plan.drop or before_the_last > budget


@given(entries, st.integers(0, 10**8))
def test_what_is_dropped_is_worth_no_more_than_what_is_kept(found, budget):
    plan = plan_eviction(found, budget_bytes=budget, pinned=())

    dropped = [entry.worth for entry in found if entry.key in plan.drop]
    kept = [entry.worth for entry in found if entry.key not in plan.drop]
    assert max(dropped, default=0.0) <= min(kept, default=float("inf"))


def test_out_of_service_goes_first_then_what_is_cheap_large_and_long_unused():
    base = {"size_bytes": 100, "idle_s": 10.0, "rebuild_s": 20.0}
    found = [
        Entry("hot", **base),
        Entry("retired", **base, in_service=False),
        Entry("idle", **base | {"idle_s": 10_000.0}),
        Entry("large", **base | {"size_bytes": 5_000}),
        Entry("cheap", **base | {"rebuild_s": 1.0}),
    ]

    plan = plan_eviction(found, budget_bytes=100, pinned=())

    assert plan.drop[0] == "retired"
    assert set(plan.drop) == {"retired", "idle", "large", "cheap"}
    assert plan.kept_because == {"hot": "fits the budget"}
