"""What a loader counts, as training and Prometheus see it."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from morph_kernels.artifact.bundle import encode_bundle
from morph_kernels.loader.body import _loaded
from morph_kernels.loader.metrics import LoaderMetrics
from tests.support.hostile_host import NAME, REF, assert_works
from tests.support.publishing import BUILD


def scraped(loader):
    """The samples of a scrape, by name and labels as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(LoaderMetrics(loader))
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_load_that_spared_a_build_is_counted_with_its_seconds_once(host, compiled):
    kernel = compiled(NAME)
    host.publisher.publish(kernel)
    _loaded.pop(kernel.manifest.digest, None)
    loader = host.publisher.loader()
    modules = [loader.load(REF), loader.load(REF), loader.load(kernel.blueprint)]
    assert_works(modules[0])
    found = scraped(loader)
    assert found['morph_loader_loads_total{outcome="store"}'] == 1
    assert found['morph_loader_loads_total{outcome="process"}'] == 2
    assert found["morph_loader_builds_saved_total"] == 1
    assert found["morph_loader_seconds_saved_total"] == pytest.approx(BUILD.total_seconds(), abs=5)
    assert found['morph_loader_calls{body="compiled"}'] == 1
    assert found['morph_loader_tier_answers_total{answer="miss",tier="redis"}'] >= 1
    assert found['morph_loader_tier_bytes_total{tier="store"}'] >= len(encode_bundle(kernel.bundle))
    assert found['morph_loader_breaker_open{tier="store"}'] == 0


def test_what_saves_nothing_is_counted_by_its_reason(host, compiled):
    kernel = compiled(NAME)
    host.publisher.publish(host.trap.kernel(kernel), attestations=())
    loader = host.publisher.loader()
    assert loader.load(REF).reason is not None
    found = scraped(loader)
    assert found["morph_loader_builds_saved_total"] == found["morph_loader_seconds_saved_total"] == 0
    assert found['morph_loader_loads_total{outcome="eager:unsigned"}'] == 1
    assert found['morph_loader_refused_total{what="store:unsigned"}'] == 1
