"""Caches and stored bytes: measured, made room in, warmed, read back and mended."""

import pytest

from morph_assets.registry.events import events_about
from morph_assets.usecases.evict_cache import NotEvictableError
from morph_kernels.artifact.bundle import decode_bundle
from morph_kernels.artifact.verify import Rejected, Verified
from morph_kernels.canonical import sha256_hex
from morph_kernels.reasons import Reason
from morph_kernels.store.keys import blob_key, bundle_key
from tests.integration.test_usecase_publish import DEAD_STORE, NOWHERE

pytestmark = pytest.mark.slow


@pytest.fixture
def cached(made_platform):
    """A published kernel that this host's disk and Redis hold too."""
    kernel, published = made_platform.published()
    connections = made_platform.platform.connections
    connections.disk.put(kernel.manifest, kernel.bundle)
    assert made_platform.platform.warm_cache(["ffn_gelu@production"]).warmed == (published.digest,)
    return made_platform, kernel, published.digest


def tiers(platform):
    return {tier.tier: tier for tier in platform.cache_state().tiers}


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))


def test_every_tier_says_what_it_holds(cached):
    made, kernel, _ = cached

    found = tiers(made.platform)

    assert {name: tier.entries for name, tier in found.items()} == {"disk": 1, "redis": 1, "store": 1}
    assert found["disk"].size_bytes == kernel.bundle.size_bytes
    assert found["redis"].budget_bytes > found["redis"].size_bytes > 0
    assert made.platform.cache_state().over_budget == ()


def test_a_tier_that_is_down_says_so_and_hides_no_other(made_platform):
    with made_platform.other(redis_url=NOWHERE, store_url=DEAD_STORE) as platform:
        found = tiers(platform)

    assert {name: tier.available for name, tier in found.items()} == {"disk": True, "redis": False, "store": False}


@pytest.mark.parametrize("tier", ["disk", "redis"])
def test_a_dry_run_says_what_an_eviction_then_does(cached, tier):
    made, _, digest = cached

    planned = made.platform.evict_cache(tier, budget_bytes=0, dry_run=True)
    assert tiers(made.platform)[tier].entries == 1
    done = made.platform.evict_cache(tier, budget_bytes=0)

    assert planned.dropped == done.dropped == (digest,)
    assert done.freed_bytes > 0
    assert tiers(made.platform)[tier].entries == 0


def test_within_the_budget_nothing_goes_and_the_report_says_why(cached):
    made, _, digest = cached

    report = made.platform.evict_cache("disk")

    assert (report.dropped, report.kept_because) == ((), {digest: "fits the budget"})
    assert [(k.digest, k.evicted, k.because) for k in report.kernels] == [(digest, False, "fits the budget")]


def test_what_no_index_names_any_more_goes_for_that(cached):
    made, _, digest = cached
    made.platform.revoke_kernel(digest, "bad")

    (went,) = made.platform.evict_cache("disk", budget_bytes=0, dry_run=True).kernels

    assert (went.digest, went.evicted, went.because) == (digest, True, "no index names it any more")


def test_the_store_is_no_cache(made_platform):
    with pytest.raises(NotEvictableError, match="the store keeps"):
        made_platform.platform.evict_cache("store")
    with made_platform.other(redis_url=NOWHERE) as platform, pytest.raises(NotEvictableError, match="answer"):
        platform.evict_cache("redis")


def test_warming_without_redis_says_what_was_missed(made_platform):
    _, published = made_platform.published()
    with made_platform.other(redis_url=NOWHERE) as platform:
        assert platform.warm_cache(["ffn_gelu"]).missed == (published.digest,)


def test_a_scrub_of_whole_copies_finds_nothing(cached):
    made, _, _ = cached

    report = made.platform.scrub_artifacts()

    assert (report.checked, report.damaged, report.next_cursor) == (1, (), None)


def damage_store(made, digest):
    flip(made.objects / bundle_key(made.config.tenant, digest))


def damage_redis(made, digest):
    made.platform.connections.redis.put_bundle(digest, b"not a bundle")


def damage_disk(made, digest):
    folder = made.config.runtime.cache_dir / made.config.tenant / "kernels" / digest
    flip(next(folder.glob("forward-*.so")))


@pytest.mark.parametrize("tier", ["store", "redis", "disk"])
def test_a_damaged_copy_is_repaired_from_a_whole_one_and_told(cached, tier):
    made, kernel, digest = cached
    {"store": damage_store, "redis": damage_redis, "disk": damage_disk}[tier](made, digest)
    before = made.platform.connections.store.get(bundle_key(made.config.tenant, digest), max_bytes=10**8)

    first, second = made.platform.scrub_artifacts(), made.platform.scrub_artifacts()

    (damage,) = first.damaged
    assert (damage.tier, damage.digest, damage.action) == (tier, digest, "repaired")
    assert damage.reason in {Reason.MALFORMED, Reason.DIGEST_MISMATCH}
    assert second.damaged == ()
    connections = made.platform.connections
    assert (
        decode_bundle(connections.store.get(bundle_key(made.config.tenant, digest), max_bytes=10**8)) == kernel.bundle
    )
    told = events_about(connections.registry("platform"), f"kernel/{digest}")[-1]
    assert (told.type, told.facts["tier"]) == ("artifact.repaired", tier)
    if tier == "store":
        assert connections.store.get(blob_key(made.config.tenant, sha256_hex(before)), max_bytes=10**8) == before


def test_a_lost_object_is_put_back_from_a_cache(cached):
    made, _, digest = cached
    made.platform.connections.store.delete(bundle_key(made.config.tenant, digest))

    (damage,) = made.platform.scrub_artifacts().damaged

    assert (damage.tier, damage.reason, damage.action) == ("store", Reason.NOT_FOUND, "repaired")
    assert isinstance(made.platform.verify_kernel(digest), Verified)


def test_where_no_copy_is_whole_the_kernel_leaves_service(made_platform):
    _, published = made_platform.published()
    damage_store(made_platform, published.digest)

    (damage,) = made_platform.platform.scrub_artifacts().damaged

    assert damage.action == "rebuild_wanted"
    kernel = made_platform.platform.find_kernel(published.digest)
    assert kernel.state == "QUARANTINED"
    assert made_platform.loader().load("ffn_gelu").source == "eager"


def test_a_kernel_whose_bytes_are_lost_is_compiled_anew(made_platform):
    _, published = made_platform.published()
    damage_store(made_platform, published.digest)
    made_platform.platform.scrub_artifacts()

    again = made_platform.platform.compile_kernel("ffn_gelu")

    assert again.built
    assert again.state in {"QUARANTINED", "COMPILED"}  # the same bits again, or others in the lost one's place
    assert made_platform.platform.find_kernel("ffn_gelu").digest == again.digest
    assert made_platform.platform.scrub_artifacts().damaged == ()
    assert not made_platform.platform.compile_kernel("ffn_gelu").built


def test_a_scrub_walks_on_from_its_cursor(made_platform):
    made_platform.compiled("ffn_gelu")
    made_platform.compiled("squeeze_excite")

    first = made_platform.platform.scrub_artifacts(limit=1)
    second = made_platform.platform.scrub_artifacts(after=first.next_cursor, limit=1)
    third = made_platform.platform.scrub_artifacts(after=second.next_cursor, limit=1)

    assert (first.checked, second.checked, third.checked) == (1, 1, 0)
    assert third.next_cursor is None


def test_a_kernel_is_verified_as_a_loader_would(cached):
    made, _, digest = cached

    assert isinstance(made.platform.verify_kernel("ffn_gelu@production"), Verified)
    damage_store(made, digest)
    verdict = made.platform.verify_kernel(digest)

    assert isinstance(verdict, Rejected)


def test_why_says_what_a_loader_here_would_get(made_platform):
    _, published = made_platform.published()
    assert made_platform.platform.why("ffn_gelu@production").digest == published.digest

    made_platform.platform.revoke_kernel(published.digest, "bad")

    explained = made_platform.platform.why("ffn_gelu@production")
    assert (explained.source, explained.digest) == ("eager", None)
    assert explained.reason is not None
