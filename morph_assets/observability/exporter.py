"""Prometheus metrics of the platform, read when they are asked for: nothing is counted twice and nothing drifts."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from morph_assets.observability import names
from morph_assets.observability.counts import PlatformCounts
from morph_assets.observability.names import MetricName
from morph_kernels.errors import MorphError

Values = Mapping[tuple[str, ...], float]


class PlatformCollector(Collector):
    """Asks for the counts at every scrape; where the registry does not answer, only that is reported."""

    def __init__(self, read: Callable[[], PlatformCounts]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Yield every metric of the platform."""
        try:
            counts = self._read()
        except MorphError:
            yield _gauge(names.SCRAPE_OK, {(): 0.0})
            return
        yield _gauge(names.SCRAPE_OK, {(): 1.0})
        yield from _platform(counts)
        yield from _tiers(counts)


def serve_metrics(read: Callable[[], PlatformCounts], *, port: int, address: str) -> tuple[WSGIServer, Thread]:
    """Serve the metrics on a thread of their own; port 0 lets the system choose. Shut the server down to end it."""
    registry = CollectorRegistry()
    registry.register(PlatformCollector(read))
    return start_http_server(port, addr=address, registry=registry)


def _platform(counts: PlatformCounts) -> Iterator[Metric]:
    yield _gauge(names.KERNELS, {(state,): float(count) for state, count in counts.kernels.items()})
    yield _gauge(names.BLUEPRINTS, {(): float(counts.blueprints)})
    yield _counter(names.BUILDS, {(outcome,): float(count) for outcome, count in counts.builds.items()})
    yield _counter(names.BUILD_SECONDS, {(): counts.build_cpu_s})
    yield _counter(names.REJECTIONS, {(reason,): float(count) for reason, count in counts.rejections.items()})
    yield _gauge(names.EVENTS, {(): float(counts.event_seq)})
    yield _gauge(names.TIMELINE, {(): float(counts.timeline)})
    yield _gauge(names.UNANCHORED_EVENTS, {(): float(counts.unanchored_events)})
    yield _gauge(names.UNANCHORED_SECONDS, {(): counts.unanchored_s})
    yield _gauge(names.CHECKPOINTS, {(): float(counts.checkpoints)})
    yield _gauge(names.ACTIVE_RUNS, {(): float(counts.active_runs)})
    yield _gauge(names.INDEXES_BEHIND, {(): float(counts.indexes_behind)})
    failures: Values = {(what,): float(count) for what, count in counts.best_effort_failures.items()}
    yield _counter(names.BEST_EFFORT_FAILURES, failures)


def _tiers(counts: PlatformCounts) -> Iterator[Metric]:
    up = [tier for tier in counts.tiers if tier.available]
    yield _gauge(names.TIER_UP, {(tier.tier,): float(tier.available) for tier in counts.tiers})
    yield _gauge(names.CACHE_BYTES, {(tier.tier,): float(tier.size_bytes) for tier in up})
    yield _gauge(names.CACHE_ENTRIES, {(tier.tier,): float(tier.entries) for tier in up})
    limited: Values = {(tier.tier,): float(tier.budget_bytes) for tier in up if tier.budget_bytes is not None}
    yield _gauge(names.CACHE_BUDGET, limited)


def _gauge(metric: MetricName, values: Values) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _counter(metric: MetricName, values: Values) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
