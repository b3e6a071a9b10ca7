"""The searches of the registry's benchmark: each case is a kind of query, drawn anew for every call."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Final

from morph_assets.bench.registry_ground import HARDWARE, SHAPE_CLASS, kernel_digest, pick_tags
from morph_assets.registry.connection import Registry
from morph_assets.registry.kernels import kernel_state, quarantine_kernel
from morph_assets.registry.search import KernelQuery, search_kernels

PAGE: Final = 20
_Draw = Callable[[random.Random], KernelQuery]
# What many kernels fit is unselective; a selective query leaves some hundreds or fewer of 200,000.
SEARCHES: Final[Mapping[str, _Draw]] = {
    "unselective, no tags": lambda _: KernelQuery(device="cpu"),
    "unselective, required tags": lambda c: KernelQuery(required=pick_tags(c, 1, most=5), max_latency_us=1500.0),
    "unselective, preferred tags": lambda c: KernelQuery(preferred=pick_tags(c, 3)),
    "selective, no tags": lambda c: KernelQuery(max_risk=0.002, max_memory_bytes=c.randrange(10**8, 10**9)),
    "selective, required tags": lambda c: KernelQuery(
        required=pick_tags(c, 2, least=40, most=120), excluded=pick_tags(c, 1), device="cpu"
    ),
    "selective, preferred tags": lambda c: KernelQuery(
        required=pick_tags(c, 1, least=100), preferred=pick_tags(c, 5), excluded=pick_tags(c, 1), max_latency_us=1000.0
    ),
    "measured on named hardware": lambda c: KernelQuery(
        hardware=HARDWARE[0], shape_class=SHAPE_CLASS, required=pick_tags(c, 1, most=40)
    ),
}


@dataclass(frozen=True)
class SearchTimes:
    """How many milliseconds searches took.

    Attributes:
        wall_ms: each of them, by the clock.
        server_ms: of a processor, on the average, in the server's process.
        client_ms: of a processor, on the average, in this one.
    """

    wall_ms: tuple[float, ...]
    server_ms: float
    client_ms: float


def time_searches(registry: Registry, draw: _Draw, *, count: int, seed: int) -> SearchTimes:
    """Return what so many searches took, by a server on this machine."""
    chance = random.Random(seed)  # noqa: S311 - the same queries every time
    queries = [draw(chance) for _ in range(count)]
    server, taken = registry.server_process, []
    server_ms, client_ms = _processor_ms(server), 1000 * time.process_time()
    for query in queries:
        start = time.perf_counter()
        search_kernels(registry, query, limit=PAGE)
        taken.append(1000 * (time.perf_counter() - start))
    server_ms, client_ms = _processor_ms(server) - server_ms, 1000 * time.process_time() - client_ms
    return SearchTimes(tuple(taken), server_ms / count, client_ms / count)


def _processor_ms(process: int) -> float:
    """Return how long a process has had a processor, to the microsecond."""
    return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[0]) / 1e6


def time_lookups(registry: Registry, tenant: str, kernels: int, *, count: int) -> list[float]:
    """Return how many milliseconds each of so many lookups by primary key took, on the same kind of connection."""
    chance = random.Random(1)  # noqa: S311 - the same kernels every time
    taken = []
    for _ in range(count):
        digest = kernel_digest(tenant, chance.randrange(kernels))
        start = time.perf_counter()
        kernel_state(registry, digest)
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def count_searches(
    reader_url: str, writer_url: str, tenant: str, *, readers: int, seconds: float
) -> tuple[float, float]:
    """Return searches and writes a second of readers beside a writer, each in a process of its own."""
    context = get_context("spawn")
    done: SimpleQueue[tuple[str, int]] = context.SimpleQueue()
    ready = context.Barrier(readers + 2)
    processes = [
        context.Process(target=_read, args=(reader_url, number, seconds, ready, done)) for number in range(readers)
    ]
    processes.append(context.Process(target=_write, args=(writer_url, tenant, seconds, ready, done)))
    for process in processes:
        process.start()
    ready.wait()
    counts = [done.get() for _ in processes]
    for process in processes:
        process.join()
    rates = {kind: sum(n for what, n in counts if what == kind) / seconds for kind in ("read", "written")}
    return rates["read"], rates["written"]


def _read(url: str, seed: int, seconds: float, ready: object, done: "SimpleQueue[tuple[str, int]]") -> None:
    chance = random.Random(seed)  # noqa: S311 - the same queries every time
    draws = list(SEARCHES.values())
    count = 0
    with Registry.open(url) as registry:
        search_kernels(registry, KernelQuery(), limit=PAGE)
        ready.wait()  # type: ignore[attr-defined]  # a barrier of whatever context
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            search_kernels(registry, chance.choice(draws)(chance), limit=PAGE)
            count += 1
    done.put(("read", count))


def _write(url: str, tenant: str, seconds: float, ready: object, done: "SimpleQueue[tuple[str, int]]") -> None:
    count = 0
    with Registry.open(url) as registry:
        ready.wait()  # type: ignore[attr-defined]  # a barrier of whatever context
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            quarantine_kernel(registry, kernel_digest(tenant, count), reason="bench")
            count += 1
    done.put(("written", count))
