"""Damage in any tier is found and mended while training goes on."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from morph_assets.registry.events import events_about
from morph_assets.usecases.find_copies import find_copies
from morph_assets.usecases.scrub_artifacts import plan_pause
from morph_kernels.artifact.bundle import encode_bundle
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.reasons import Reason
from tests.support.planted_damages import DAMAGES, many_kernels, plant

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@contextmanager
def training(made, *refs):
    """Load and train in a process of its own while the block runs; its loads are in the list afterwards."""
    environment = made.environment() | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}",
        "MORPH_CACHE_DIR": str(made.config.runtime.cache_dir),
        "MORPH_REFRESH_S": "0.001",
    }
    command = [sys.executable, "-m", "tests.support.loading_without_pause", *refs]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert json.loads(process.stdout.readline()) == "training"
        told = {}
        try:
            yield told
            out, _ = process.communicate("stop\n", timeout=60)
            told.update(json.loads(out.splitlines()[-1]))
        finally:
            process.kill()


def keep_everywhere(made, kernel):
    connections = made.platform.connections
    connections.disk.put(kernel.manifest, kernel.bundle)
    connections.redis.put_bundle(kernel.manifest.digest, encode_bundle(kernel.bundle))


def test_a_hundred_of_a_hundred_damages_are_mended_while_training_loads_without_a_pause(made_platform):
    made, platform = made_platform, made_platform.platform
    served = [made.published(name)[0] for name in ("ffn_gelu", "squeeze_excite")]
    kernels = many_kernels(served[0], 50)
    for kernel in kernels:
        made.register(kernel)
    for kernel in (*served, *kernels):
        keep_everywhere(made, kernel)

    with training(made, "ffn_gelu@production", "squeeze_excite@production") as told:
        planted = plant(made, kernels)
        report = platform.scrub_artifacts(limit=100)

    assert len(planted) == 100
    assert {(d.tier, d.kind) for d in planted} == {(tier, kind) for tier, kinds in DAMAGES.items() for kind in kinds}
    assert Counter((d.digest, d.tier) for d in report.damaged) == Counter((d.digest, d.tier) for d in planted)
    assert {damage.action for damage in report.damaged} == {"repaired"}
    registry = platform.connections.registry("platform")
    for kernel in kernels:
        record = platform.find_kernel(kernel.manifest.digest)
        copies = find_copies(platform.connections, record)
        assert {copy.tier: copy.held for copy in copies} == dict.fromkeys(("store", "redis", "disk"), kernel.bundle)
        told_of = [event for event in events_about(registry, f"kernel/{record.digest}") if "artifact" in event.type]
        assert len(told_of) == 2
    assert platform.scrub_artifacts(limit=100).damaged == ()
    sources = Counter(load["source"] for load in told["loads"])
    assert set(sources) == {"disk"}
    assert len(told["loads"]) > 10
    assert not any(load["wrong"] for load in told["loads"])
    assert max(load["seconds"] for load in told["loads"]) < told["deadline_s"]


def test_what_is_damaged_in_every_tier_is_never_served_and_asked_for_anew(made_platform):
    made = made_platform
    kernel, published = made.published()
    keep_everywhere(made, kernel)
    for tier in DAMAGES:
        DAMAGES[tier]["flipped bit"](made, kernel, kernel)

    report = made.platform.scrub_artifacts()

    assert {(damage.tier, damage.action) for damage in report.damaged} == {
        (tier, "rebuild_wanted") for tier in ("store", "redis", "disk")
    }
    (copy,) = find_copies(made.platform.connections, made.platform.find_kernel(published.digest))
    assert (copy.tier, copy.held) == ("store", Reason.NOT_FOUND)
    assert made.loader("host").load("ffn_gelu").source == "eager"


def test_a_copy_that_cannot_be_replaced_now_is_dropped_all_the_same(made_platform):
    made = made_platform
    kernel, published = made.published()
    keep_everywhere(made, kernel)
    connections, digest = made.platform.connections, published.digest
    for tier in ("disk", "redis"):
        DAMAGES[tier]["flipped bit"](made, kernel, kernel)
    connections.redis.bound(1, pins=[digest])

    # Another process that writes to the disk and does not end.
    with DiskFolder(made.config.runtime.cache_dir, tenant=made.config.tenant).writing("kernels"):
        report = made.platform.scrub_artifacts()

    assert {(damage.tier, damage.action) for damage in report.damaged} == {("redis", "dropped"), ("disk", "dropped")}
    assert report.is_mended
    assert connections.disk.find(digest) is None
    assert connections.redis.find_bundle(digest, max_bytes=10**8) is None


def test_a_cache_that_keeps_what_it_holds_is_reported(made_platform):
    made = made_platform
    kernel, _ = made.published()
    keep_everywhere(made, kernel)
    DAMAGES["disk"]["flipped bit"](made, kernel, kernel)
    # Where damaged things go is no folder.
    (made.config.runtime.cache_dir / made.config.tenant / "quarantine").write_text("")

    report = made.platform.scrub_artifacts()

    assert [(damage.tier, damage.action) for damage in report.damaged] == [("disk", "reported")]
    assert not report.is_mended


def test_a_scrub_is_no_use_of_what_it_reads(made_platform):
    made = made_platform
    kernel, _ = made.published()
    keep_everywhere(made, kernel)
    connections = made.platform.connections
    before = connections.disk.kernels(), connections.redis.kernels()

    made.platform.scrub_artifacts()

    assert (connections.disk.kernels(), connections.redis.kernels()) == before


def test_a_value_of_another_type_in_redis_is_mended(made_platform):
    made = made_platform
    kernel, published = made.published()
    keep_everywhere(made, kernel)
    redis = made.platform.connections.redis
    client = redis._connect()
    client.delete(f"morph:{made.config.tenant}:bundle:{published.digest}")
    client.lpush(f"morph:{made.config.tenant}:bundle:{published.digest}", "a list")

    (damage,) = made.platform.scrub_artifacts().damaged

    assert (damage.tier, damage.reason, damage.action) == ("redis", Reason.MALFORMED, "repaired")
    assert redis.find_bundle(published.digest, max_bytes=10**8) is not None


def test_a_scrub_keeps_to_its_rate(made_platform):
    made = made_platform
    kernels = many_kernels(made.compiled()[0], 4)
    for kernel in kernels:
        made.register(kernel)
        keep_everywhere(made, kernel)
    read_bytes = made.platform.scrub_artifacts().read_bytes

    started = time.monotonic()
    made.platform.scrub_artifacts(bytes_per_s=read_bytes // 4)

    # What was read last is not waited for.
    assert time.monotonic() - started > 2.5


def test_a_pause_brings_the_average_down_to_the_rate():
    assert plan_pause(1000, 2.0, bytes_per_s=100) == pytest.approx(8.0)
    assert plan_pause(1000, 10.0, bytes_per_s=100) == 0.0
    assert plan_pause(0, 0.0, bytes_per_s=1) == 0.0
