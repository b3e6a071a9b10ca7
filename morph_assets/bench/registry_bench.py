"""`morph bench registry`: how fast the registry answers, as whoever may do the least, on servers of its own."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from morph_assets.bench.registry_ground import BenchGround, iter_batches, kernel_digest, open_ground
from morph_assets.bench.registry_searches import SEARCHES, count_searches, time_lookups, time_searches
from morph_assets.bench.result import BenchResult, BenchRow, describe_machine, percentile, plan_row
from morph_assets.registry.approvals import approve_kernel
from morph_assets.registry.artifacts import tell_artifact
from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.connection import Registry
from morph_assets.registry.events import EventCursor, latest_seq
from morph_assets.registry.import_manifest import encode_batch
from morph_assets.registry.imports import import_batch
from morph_assets.registry.kernels import publish_kernel
from morph_assets.registry.lineage import trace_lineage
from morph_assets.registry.statistics import refresh_statistics
from morph_kernels.canonical import sha256_hex
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlobDigest
from morph_kernels.store.keys import blob_key

SMALL: Final = 1000
_ROUNDS: Final = 3
# From how many kernels on it pays to measure for longer: searches a case, events in the log, seconds under load.
_LENGTHS: Final = {100_000: (400, 50_000, 10.0), 5000: (100, 2000, 2.0)}
Say = Callable[[str], None]


class BrokenBenchError(MorphError):
    """What was measured gave a wrong answer: its time means nothing."""


@dataclass(frozen=True)
class RegistrySize:
    """How large the ground is, and how long each part of the measurement lasts."""

    kernels: int = 5000
    tenants: int = 2
    searches: int = 100
    events: int = 2000
    seconds: float = 2.0

    @classmethod
    def of(cls, kernels: int, tenants: int) -> "RegistrySize":
        """Return a measurement whose length fits so many kernels."""
        if kernels < SMALL * tenants:
            raise BrokenBenchError(f"{kernels} kernels are fewer than {SMALL} for each of {tenants} tenants")
        for least, lengths in _LENGTHS.items():
            if kernels >= least:
                return cls(kernels, tenants, *lengths)
        return cls(kernels, tenants, searches=20, events=200, seconds=0.5)

    @property
    def each(self) -> int:
        """How many kernels a tenant has."""
        return self.kernels // self.tenants


def bench_registry(size: RegistrySize = RegistrySize(), *, say: Say = lambda _: None) -> BenchResult:
    """Return what the registry takes at that size.

    Raises:
        BrokenBenchError: too few kernels, or something answered wrongly.
        ServicesError: the servers do not start.
    """
    machine = describe_machine()
    with open_ground(size.tenants) as ground:
        return BenchResult(
            "registry", machine | {"kernels": size.kernels, "tenants": size.tenants}, tuple(_rows(ground, size, say))
        )


def _rows(ground: BenchGround, size: RegistrySize, say: Say) -> Iterator[BenchRow]:
    say(f"loading {SMALL} kernels")
    _load(ground, 0, SMALL, seed=0)
    refresh_statistics(ground.operator_url)
    small = _time_upkeep(ground)
    say(f"loading {size.kernels} kernels of {size.tenants} tenants")
    yield _load_all(ground, size)
    say("vacuum and analyse")
    refresh_statistics(ground.operator_url)
    say("what is asked again and again")
    for case, rounds in _time_upkeep(ground).items():
        yield plan_row(case, "median", "ms", rounds)
        ratio = percentile(rounds, 0.5) / percentile(small[case], 0.5)
        yield plan_row(case, f"against {SMALL} kernels", "1", [ratio], goal=2.0)
    say("searches")
    yield from _search_rows(ground, size)
    say("readers beside a writer")
    yield from _load_rows(ground, size)
    say("lineage, publishing, audit")
    yield _lineage_row(ground, size)
    yield _publish_row(ground, size)
    yield _audit_row(ground, size)


def _load(ground: BenchGround, place: int, kernels: int, *, seed: int) -> tuple[int, float]:
    """Load a tenant's made-up kernels; return how many rows that made, and in how many seconds of the registry's."""
    tenant = ground.tenants[place]
    rows, seconds = 0, 0.0
    with Registry.open(tenant.urls["curator"]) as registry:
        for batch in iter_batches(tenant.name, kernels, seed=seed):
            manifest = encode_batch(batch)
            start = time.perf_counter()
            key = blob_key(tenant.name, BlobDigest(sha256_hex(manifest)))
            rows += import_batch(registry, manifest, key).rows
            seconds += time.perf_counter() - start
    return rows, seconds


def _load_all(ground: BenchGround, size: RegistrySize) -> BenchRow:
    # The first tenant's first kernels are there: the same seed makes the same batches, which change nothing.
    loaded = [_load(ground, place, size.each, seed=0) for place in range(size.tenants)]
    rates = [rows / seconds for rows, seconds in loaded]
    return plan_row("bulk load", "rows a second", "1/s", rates, goal=20_000, better="more")


def _search_rows(ground: BenchGround, size: RegistrySize) -> Iterator[BenchRow]:
    tenant = ground.tenants[0]
    with Registry.open(tenant.urls["trainer"]) as trainer, Registry.open(tenant.urls["controller"]) as controller:
        lookups = [time_lookups(controller, tenant.name, size.each, count=size.searches) for _ in range(_ROUNDS)]
        base = [percentile(taken, 0.5) for taken in lookups]
        yield plan_row("lookup by primary key", "p50", "ms", base)
        for case, draw in SEARCHES.items():
            time_searches(trainer, draw, count=10, seed=99)
            rounds = [time_searches(trainer, draw, count=size.searches, seed=seed) for seed in range(_ROUNDS)]
            medians = [percentile(taken.wall_ms, 0.5) for taken in rounds]
            late = [percentile(taken.wall_ms, 0.99) for taken in rounds]
            yield plan_row(f"search, {case}", "p50", "ms", medians, goal=2.0)
            yield plan_row(f"search, {case}", "p99", "ms", late, goal=10.0)
            yield plan_row(f"search, {case}", "processor time, server", "ms", [taken.server_ms for taken in rounds])
            yield plan_row(f"search, {case}", "processor time, client", "ms", [taken.client_ms for taken in rounds])
            ratios = [found / lookup for found, lookup in zip(medians, base, strict=True)]
            yield plan_row(f"search, {case}", "p50 against a lookup", "1", ratios)


def _load_rows(ground: BenchGround, size: RegistrySize) -> Iterator[BenchRow]:
    tenant = ground.tenants[0]
    urls = (tenant.urls["trainer"], tenant.urls["platform"])
    counted = [count_searches(*urls, tenant.name, readers=8, seconds=size.seconds)]
    case = "8 readers beside a writer"
    yield plan_row(case, "searches a second", "1/s", [read for read, _ in counted], goal=1000, better="more")
    yield plan_row(case, "writes a second", "1/s", [written for _, written in counted])


def _lineage_row(ground: BenchGround, size: RegistrySize) -> BenchRow:
    tenant, taken = ground.tenants[0], []
    with Registry.open(tenant.urls["controller"]) as registry:
        for number in range(0, size.each, max(1, size.each // 100)):
            start = time.perf_counter()
            trace_lineage(registry, f"kernel/{kernel_digest(tenant.name, number)}", direction="up", max_depth=6)
            taken.append(1000 * (time.perf_counter() - start))
    return plan_row("lineage, depth 6", "median", "ms", taken, goal=20.0)


def _publish_row(ground: BenchGround, size: RegistrySize) -> BenchRow:
    tenant, taken = ground.tenants[-1], []
    with Registry.open(tenant.urls["publisher"]) as registry, Registry.open(tenant.urls["curator"]) as curator:
        for number in range(0, size.each, max(1, size.each // 30)):
            digest = kernel_digest(tenant.name, number)
            approve_kernel(curator, digest, reason="imported, to be measured")
            start = time.perf_counter()
            publish_kernel(registry, digest)
            taken.append(1000 * (time.perf_counter() - start))
    return plan_row("publish a kernel", "median", "ms", taken, goal=25.0)


def _audit_row(ground: BenchGround, size: RegistrySize) -> BenchRow:
    tenant = ground.tenants[-1]
    with Registry.open(tenant.urls["platform"]) as registry:
        for number in range(size.events):
            digest = kernel_digest(tenant.name, number % size.each)
            tell_artifact(registry, digest, "artifact.repaired", tier="disk", reason="bench", action="none")
    rates = []
    with Registry.open(tenant.urls["auditor"]) as registry:
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            broken = verify_chain(registry)
            rates.append(latest_seq(registry) / (time.perf_counter() - start))
            if broken is not None:
                raise BrokenBenchError(f"the log breaks at event {broken}")
    return plan_row("verify the log", "events a second", "1/s", rates, goal=40_000, better="more")


def _time_upkeep(ground: BenchGround) -> dict[str, list[float]]:
    """Return the milliseconds of what sensors and an asset's page ask for again and again."""
    with ground.platform() as platform:
        now = platform.follow_events(EventCursor(1, 0), types=("blueprint.submitted",)).cursor
        asked: dict[str, Callable[[], object]] = {
            "sensor tick, arrivals": lambda: platform.follow_events(now, types=("blueprint.submitted",)),
            "sensor tick, indexes": platform.stale_indexes,
            "asset page": lambda: platform.show_blueprint("blueprint-0"),
        }
        return {case: [_milliseconds(work) for _ in range(15)] for case, work in asked.items()}


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)
