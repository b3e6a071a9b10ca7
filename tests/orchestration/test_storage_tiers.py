"""Kernels between the storage tiers: by the nightly round, by recall on demand, and out with a proof."""

from dataclasses import replace

import dagster as dg
import pytest

from morph_assets.platform import Platform
from morph_assets.registry.artifacts import find_place
from morph_assets.registry.pins import pin
from morph_assets.usecases.move_kernel import move_kernel
from morph_sensors.build_requests import build_requests
from tests.orchestration.test_build_requests import asked

pytestmark = pytest.mark.slow


@pytest.fixture
def tiered(orchestra, made_platform):
    """Return the orchestra on a platform with a cold place and a policy."""
    opened = []

    def with_policy(**policy):
        cold_url = f"file://{made_platform.config.folders.home}/cold"
        storage = replace(made_platform.config.storage, cold_url=cold_url, **policy)
        opened.append(Platform.connect(replace(made_platform.config, storage=storage)))
        return orchestra.beside(opened[-1])

    yield with_policy
    for platform in opened:
        platform.close()


def night(orchestra):
    job = orchestra.defs.resolve_job_def("nightly_storage_tiers")
    return orchestra.metadata(job.execute_in_process(instance=orchestra.instance), "storage_tiers")


def place(platform, digest):
    return find_place(platform.connections.registry("platform"), digest)


def test_a_night_moves_what_nobody_uses_and_keeps_what_is_pinned(tiered, made_platform):
    _, idle = made_platform.judged("ffn_gelu")
    _, held = made_platform.judged("swiglu_rmsnorm")
    pin(made_platform.platform.connections.registry("curator"), f"kernel/{held.digest}", reason="paper")
    orchestra = tiered(cold_days=0)

    told = night(orchestra)

    assert (told["cold_count"], told["warm_count"]) == (1, 1)
    assert f"| {idle.digest[:16]} | ffn_gelu | cold | move | unused for 0 days |" in told["kernels"]
    assert (place(orchestra.platform, idle.digest), place(orchestra.platform, held.digest)) == ("cold", "store")
    assert night(orchestra)["kernels"].count("move") == 0
    # A scrub reads it where it lies.
    assert orchestra.platform.scrub_artifacts().damaged == ()


def test_a_scrub_that_knows_no_cold_place_gives_up_nothing_that_lies_there(tiered, made_platform):
    _, published = made_platform.published()
    move_kernel(tiered(cold_days=0).platform.connections, published.digest, "cold", reason="test")
    made_platform.platform.connections.redis.drop_bundle(published.digest)

    (damage,) = made_platform.platform.scrub_artifacts().damaged

    assert (damage.tier, damage.action) == ("store", "reported")
    assert made_platform.platform.find_kernel(published.digest).state == "PUBLISHED"


def test_a_damaged_leftover_beside_a_cold_copy_is_taken_away_alone(tiered, made_platform):
    _, published = made_platform.published()
    connections = tiered(cold_days=0).platform.connections
    move_kernel(connections, published.digest, "cold", reason="test")
    key = made_platform.platform.find_kernel(published.digest).bundle_key
    connections.main_store.put_if_absent(key, b"half of it")
    connections.redis.drop_bundle(published.digest)

    (damage,) = Platform(connections).scrub_artifacts().damaged

    assert (damage.tier, damage.action) == ("store", "repaired")
    assert connections.cold_store.size(key) == connections.main_store.size(key) > 100
    assert made_platform.platform.find_kernel(published.digest).state == "PUBLISHED"


def test_a_missed_cold_kernel_is_recalled_and_not_built(tiered, made_platform):
    made, published = made_platform.published()
    orchestra = tiered(cold_days=0)
    move_kernel(orchestra.platform.connections, published.digest, "cold", reason="test")
    assert made_platform.loader().load(made.blueprint).source == "eager"
    assert asked(orchestra.platform, 1) == {"ffn_gelu": "recall"}

    context = dg.build_sensor_context(instance=orchestra.instance, resources={"platform": orchestra.platform})
    (request,) = build_requests(context).run_requests
    job = orchestra.defs.resolve_job_def(request.job_name)
    assert job.execute_in_process(instance=orchestra.instance, run_config=request.run_config).success

    assert place(orchestra.platform, published.digest) == "store"
    assert made_platform.loader("new-host").load(made.blueprint).source == "store"
    assert [request.answer for request in orchestra.platform.build_requests()] == ["in_service"]


def test_what_is_hot_is_in_redis_and_what_is_not_leaves_it(tiered, made_platform):
    _, published = made_platform.published()
    redis = made_platform.platform.connections.redis
    redis.drop_bundle(published.digest)

    assert night(tiered(hot_days=1))["hot_count"] == 1
    assert [kernel.digest for kernel in redis.kernels()] == [published.digest]
    assert night(tiered(hot_days=0))["warm_count"] == 1
    assert redis.kernels() == []


def test_what_is_soon_rebuilt_is_dropped_with_a_proof(tiered, made_platform):
    _, kernel = made_platform.judged()
    assert night(tiered(drop_days=0, drop_build_s=1.0))["dropped_count"] == 0

    told = night(tiered(drop_days=0, drop_build_s=60.0))

    assert told["dropped_count"] == 1
    assert made_platform.platform.find_kernel(kernel.digest).state == "PURGED"
    assert not (made_platform.objects / kernel.bundle_key).exists()
    assert made_platform.platform.purge_kernel(kernel.digest).freed_bytes > 0
