"""A loader's counts for Prometheus: `prometheus_client.REGISTRY.register(LoaderMetrics(loader))`."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from morph_kernels.loader.loader import KernelLoader


class LoaderMetrics(Collector):
    """Every count of `loader.stats()`, read at each scrape; nothing is asked of any server."""

    def __init__(self, loader: KernelLoader) -> None:
        """Take the loader of this process."""
        self._loader = loader

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; a digest is never a label."""
        stats = self._loader.stats()
        tiers = stats["tiers"]
        yield _counter("loads", "Loads by source, or by why they are eager.", "outcome", stats["loads"])
        yield _counter("load_seconds", "Seconds in loads.", "outcome", stats["load_seconds"])
        yield CounterMetricFamily(
            "morph_loader_builds_saved", "Loads that brought a compiled body here.", stats["builds_saved"]
        )
        yield CounterMetricFamily(
            "morph_loader_seconds_saved", "Seconds that building would have taken longer.", stats["seconds_saved"]
        )
        yield _counter("refused", "What was not believed or not usable, by tier and reason.", "what", stats["refused"])
        yield _counter("evicted", "Kernels dropped to make room.", "tier", stats["evicted"])
        calls = GaugeMetricFamily("morph_loader_calls", "Calls of modules that still live, by body.", labels=("body",))
        for body, count in stats["calls"].items():
            calls.add_metric((body,), count)
        yield calls
        answers = CounterMetricFamily("morph_loader_tier_answers", "Answers of tiers.", labels=("tier", "answer"))
        for tier, counts in tiers.items():
            for answer, count in counts.items():
                if answer not in {"bytes", "breaker_open"}:
                    answers.add_metric((tier, answer), count)
        yield answers
        yield _counter("tier_bytes", "Bytes that came from a tier.", "tier", _of(tiers, "bytes"))
        breaker = GaugeMetricFamily("morph_loader_breaker_open", "Whether a tier is not asked.", labels=("tier",))
        for tier, is_open in _of(tiers, "breaker_open").items():
            breaker.add_metric((tier,), is_open)
        yield breaker


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"morph_loader_{name}", text, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _of(tiers: Mapping[str, Mapping[str, float]], what: str) -> dict[str, float]:
    return {tier: float(counts.get(what, 0)) for tier, counts in tiers.items()}
