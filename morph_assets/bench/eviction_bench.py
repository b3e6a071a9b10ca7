"""`morph bench eviction`: what our choice of what to drop saves, against others and against knowing the future."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from morph_assets.bench.eviction_traces import TracedKernel, TraceShape, make_trace
from morph_assets.bench.result import BenchResult, BenchRow, describe_machine, plan_row
from morph_kernels.cache.eviction import CachedKernel
from morph_kernels.identity import KernelDigest

_NEVER: Final = 10**9
_SHARES: Final = (0.05, 0.1, 0.25)


@dataclass(frozen=True)
class Held:
    """A kernel in a simulated cache: what every policy may look at."""

    kernel: CachedKernel
    came_at: int
    used_at: int
    next_at: int


Score = Callable[[Held], float]
# What a policy drops first has the lowest score. The future is known to the last one alone; with sizes that differ no
# policy is known to be the best one, and this is the usual upper mark.
POLICIES: Final[dict[str, Score]] = {
    "GDSF (ours)": lambda held: held.kernel.priority,
    "LRU": lambda held: held.used_at,
    "LFU": lambda held: held.kernel.uses,
    "Belady": lambda held: -(held.next_at - held.used_at) * held.kernel.size_bytes / held.kernel.rebuild_s,
}


@dataclass(frozen=True)
class Saved:
    """What a cache saved over a trace, as shares of what asking for everything would have cost."""

    hits: float
    seconds: float


def bench_eviction(shape: TraceShape, *, traces: int) -> BenchResult:
    """Return what each policy saves of so many made-up traces, for caches of several sizes."""
    machine = describe_machine() | {"kernels": shape.kernels, "requests": shape.requests, "traces": traces}
    made = [make_trace(seed, shape) for seed in range(traces)]
    return BenchResult("eviction", machine, tuple(_rows(made)))


def _rows(traces: Sequence[Sequence[TracedKernel]]) -> Iterator[BenchRow]:
    for share in _SHARES:
        for policy, score in POLICIES.items():
            saved = [replay(trace, score, budget_bytes=int(share * _library_bytes(trace))) for trace in traces]
            case = f"{policy}, {share:.0%} of the library"
            yield plan_row(case, "hit rate", "1", [one.hits for one in saved])
            yield plan_row(case, "seconds saved", "1", [one.seconds for one in saved])


def _library_bytes(trace: Sequence[TracedKernel]) -> int:
    return sum({kernel.digest: kernel.size_bytes for kernel in trace}.values())


def replay(trace: Sequence[TracedKernel], score: Score, *, budget_bytes: int) -> Saved:
    """Return what a cache of that size saves when it drops by that score."""
    upcoming = _next_uses(trace)
    held: dict[KernelDigest, Held] = {}
    clock, size, hits, saved_s = 0.0, 0, 0, 0.0
    for now, wanted in enumerate(trace):
        known = held.get(wanted.digest)
        if known is not None:
            hits, saved_s = hits + 1, saved_s + wanted.rebuild_s
            kernel = replace(known.kernel, uses=known.kernel.uses + 1, clock=clock)
            held[wanted.digest] = replace(known, kernel=kernel, used_at=now, next_at=upcoming[now])
            continue
        if wanted.size_bytes > budget_bytes:
            continue
        while size + wanted.size_bytes > budget_bytes:
            victim = min(held.values(), key=score)
            clock = max(clock, victim.kernel.priority)
            size -= victim.kernel.size_bytes
            del held[victim.kernel.digest]
        came = CachedKernel(wanted.digest, wanted.size_bytes, rebuild_s=wanted.rebuild_s, clock=clock)
        held[wanted.digest] = Held(came, now, now, upcoming[now])
        size += wanted.size_bytes
    return Saved(hits / len(trace), saved_s / sum(request.rebuild_s for request in trace))


def _next_uses(trace: Sequence[TracedKernel]) -> list[int]:
    """Return for each request when the same kernel is asked for next."""
    seen: dict[KernelDigest, int] = {}
    upcoming = [_NEVER] * len(trace)
    for now in reversed(range(len(trace))):
        upcoming[now] = seen.get(trace[now].digest, _NEVER)
        seen[trace[now].digest] = now
    return upcoming
