"""Redis as a cache, on a real server, after any sequence of what happens to it: never over its cap, pins never gone."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morph_kernels.cache.eviction import CachedKernel, plan_eviction
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.identity import KernelDigest

CAP_BYTES = 10_000
DIGESTS = [KernelDigest(f"{number:064x}") for number in range(8)]
BOOKS = ("sizes", "uses", "rank", "clock", "total")
tenants = (f"t{number}" for number in itertools.count())
numbers = st.integers(0, 7)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), numbers, st.integers(1, 6000)),
        st.tuples(st.just("put"), numbers, st.integers(1, 6000)),
        st.tuples(st.sampled_from(["find", "drop", "lost"]), numbers, st.just(0)),
        st.tuples(st.just("bound"), st.integers(0, CAP_BYTES), st.just(0)),
        st.tuples(st.sampled_from(["forget", "spoil"]), st.sampled_from(BOOKS), st.integers(1, 6000)),
    ),
    min_size=5,
    max_size=40,
)


def stored(client, tenant):
    prefix = f"morph:{tenant}:bundle:"
    return {key.decode().removeprefix(prefix): client.strlen(key) for key in client.scan_iter(f"{prefix}*")}


def lose_book(client, tenant, book, *, spoil):
    """Let a book go, as a server does that runs out of memory, or let somebody write something else there."""
    client.delete(f"morph:{tenant}:{book}")
    if spoil:
        client.lpush(f"morph:{tenant}:{book}", "no book")


def check_books(tier, client, tenant, cap):
    held = stored(client, tenant)
    assert {kernel.digest: kernel.size_bytes for kernel in tier.kernels()} == held
    assert sum(held.values()) == int(client.get(f"morph:{tenant}:total") or 0) <= cap


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.sets(numbers, max_size=2))
def test_the_cap_holds_pins_stay_and_the_total_is_the_sum_of_what_is_there(valkey, taken, pinned):
    tenant = next(tenants)
    tier, client, cap = RedisTier(valkey.url, tenant=tenant), valkey.client(), CAP_BYTES
    pins = [DIGESTS[number] for number in pinned]
    tier.bound(cap, pins=pins)
    for what, number, size in taken:
        if what in ("forget", "spoil"):
            lose_book(client, tenant, number, spoil=what == "spoil")
            tier.put_bundle(DIGESTS[size % 8], bytes(size))
            check_books(tier, client, tenant, cap)
            continue
        digest = DIGESTS[number % 8]
        before = stored(client, tenant)
        if what == "put":
            kept = tier.put_bundle(digest, bytes(size))
            others = sum(held for name, held in before.items() if name in pins and name != digest)
            assert kept == (others + size <= cap)
            assert not kept or stored(client, tenant)[digest] == size
        elif what == "find":
            assert (tier.find_bundle(digest, max_bytes=6000) is None) == (digest not in before)
        elif what == "drop" and digest not in pins:
            tier.drop_bundle(digest)
        elif what == "lost" and digest not in pins:  # the server dropped it by itself, and a loader looks for it
            client.delete(f"morph:{tenant}:bundle:{digest}")
            tier.find_bundle(digest, max_bytes=1)
        elif what == "bound":
            cap = max(number, sum(held for name, held in before.items() if name in pins))
            tier.bound(cap, pins=pins)
        after = stored(client, tenant)
        assert {name for name in before if name in pins} <= set(after)
        check_books(tier, client, tenant, cap)


@pytest.fixture
def tier(valkey):
    return RedisTier(valkey.url, tenant="default")


def test_redis_drops_what_the_plan_would(tier):
    tier.bound(1000)
    for place, digest in enumerate(DIGESTS[:4]):
        tier.put_bundle(digest, bytes(200 + place))
    for digest in (DIGESTS[0], DIGESTS[0], DIGESTS[2]):
        tier.find_bundle(digest, max_bytes=1000)
    planned = plan_eviction(tier.kernels(), budget_bytes=1000, needed_bytes=500)
    assert [kernel.digest for kernel in planned.dropped] == [DIGESTS[3], DIGESTS[1]]

    tier.put_bundle(DIGESTS[5], bytes(500))

    assert {kernel.digest for kernel in tier.kernels()} == {DIGESTS[0], DIGESTS[2], DIGESTS[5]}
    came = next(kernel for kernel in tier.kernels() if kernel.digest == DIGESTS[5])
    assert came.clock == pytest.approx(planned.clock)


def test_what_was_put_by_nobody_we_know_is_entered_when_it_is_found(tier, valkey):
    valkey.client().set(f"morph:default:bundle:{DIGESTS[0]}", b"found")
    assert tier.kernels() == []
    assert tier.find_bundle(DIGESTS[0], max_bytes=10) == b"found"
    assert tier.kernels() == [CachedKernel(DIGESTS[0], 5, clock=0.0)]


@pytest.mark.parametrize("book", ["sizes", "uses", "rank", "clock", "total"])
def test_books_that_somebody_spoiled_cost_no_bundle(tier, valkey, book):
    tier.put_bundle(DIGESTS[0], b"kept")
    valkey.client().delete(f"morph:default:{book}")
    valkey.client().lpush(f"morph:default:{book}", "no book")
    assert tier.find_bundle(DIGESTS[0], max_bytes=10) == b"kept"
    tier.bound(1000)
    assert [(kernel.digest, kernel.size_bytes) for kernel in tier.kernels()] == [(DIGESTS[0], 4)]


def test_a_lost_book_costs_no_listing(tier, valkey):
    for digest in DIGESTS[:3]:
        tier.put_bundle(digest, bytes(100))
    valkey.client().delete("morph:default:sizes")
    assert tier.kernels() == []
    tier.bound(1000)
    assert {kernel.digest for kernel in tier.kernels()} == set(DIGESTS[:3])


def test_after_a_flush_it_begins_again(tier, valkey):
    tier.bound(1000)
    tier.put_bundle(DIGESTS[0], bytes(900))
    valkey.client().flushall()
    assert tier.find_bundle(DIGESTS[0], max_bytes=1000) is None
    assert tier.kernels() == []
    assert tier.put_bundle(DIGESTS[0], bytes(900))
    assert [kernel.size_bytes for kernel in tier.kernels()] == [900]
