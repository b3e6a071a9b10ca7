from hypothesis import given
from hypothesis import strategies as st

from morph_kernels.cache.eviction import DiskUse, plan_eviction
from morph_kernels.identity import KernelDigest

kernels = st.lists(
    st.builds(
        DiskUse,
        digest=st.integers(0, 200).map(lambda n: KernelDigest(f"{n:064x}")),
        size_bytes=st.integers(0, 1000),
        used_at=st.integers(0, 5).map(float),
    ),
    max_size=20,
    unique_by=lambda use: use.digest,
)


def use(digest, size_bytes, used_at):
    return DiskUse(KernelDigest(digest * 64), size_bytes, used_at)


def test_the_least_recently_used_goes_first_and_the_larger_of_equally_old_ones():
    found = [use("a", 10, 3.0), use("b", 10, 1.0), use("c", 20, 1.0), use("d", 10, 2.0)]
    assert plan_eviction(found, needed_bytes=10, budget_bytes=50) == ["c" * 64]
    assert plan_eviction(found, needed_bytes=35, budget_bytes=50) == ["c" * 64, "b" * 64, "d" * 64]


def test_nothing_goes_where_there_is_room():
    assert plan_eviction([use("a", 10, 1.0)], needed_bytes=10, budget_bytes=20) == []


def test_what_cannot_fit_drops_nothing():
    found = [use("a", 10, 1.0), use("b", 10, 2.0)]
    assert plan_eviction(found, needed_bytes=15, budget_bytes=20, keep={KernelDigest("a" * 64)}) is None
    assert plan_eviction([], needed_bytes=21, budget_bytes=20) is None


@given(kernels, st.integers(0, 3000), st.integers(0, 5000), st.randoms())
def test_after_a_plan_everything_fits_and_nothing_was_dropped_without_need(found, needed, budget, random):
    keep = {kernel.digest for kernel in found if random.random() < 0.3}
    plan = plan_eviction(found, needed_bytes=needed, budget_bytes=budget, keep=keep)
    sizes = {kernel.digest: kernel.size_bytes for kernel in found}
    if plan is None:
        assert sum(sizes[digest] for digest in keep) + needed > budget
        return
    assert not keep & set(plan)
    left = sum(sizes.values()) - sum(sizes[digest] for digest in plan)
    assert left + needed <= budget
    if plan:
        assert left + sizes[plan[-1]] + needed > budget
