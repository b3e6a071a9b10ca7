"""Which kernels leave a cache that is full: GreedyDual-Size-Frequency. Pure: kernels come in, a plan goes out.

A kernel's priority is the cache's clock when it was last found, plus what its bytes save: how often it was found, times
what it costs to have it again, over its size. The lowest goes first and the clock moves up to it, so that what was
useful once and is found no more grows old. Source: Cherkasova, "Improving WWW Proxies Performance with
Greedy-Dual-Size-Frequency Caching Policy", HP Labs HPL-98-69, 1998.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from morph_kernels.identity import KernelDigest

FITS: Final = "fits the budget"
_NOBODY: Final[Mapping[KernelDigest, str]] = MappingProxyType({})


@dataclass(frozen=True)
class CachedKernel:
    """A kernel in a cache, and what speaks for keeping it.

    Attributes:
        digest: of the kernel.
        size_bytes: what it takes in this cache.
        uses: how often it was found since it came.
        rebuild_s: seconds that it costs to have it again; 0 for what nobody asks for any more.
        clock: the cache's clock when it was last found, in seconds a byte like a priority.
    """

    digest: KernelDigest
    size_bytes: int
    uses: int = 1
    rebuild_s: float = 1.0
    clock: float = 0.0

    @property
    def priority(self) -> float:
        """What speaks for keeping it, in seconds a byte: the lowest of a cache goes first."""
        return self.clock + self.uses * self.rebuild_s / max(1, self.size_bytes)


@dataclass(frozen=True)
class EvictionPlan:
    """What to drop, cheapest to lose first, and for every other kernel why it stays.

    Attributes:
        dropped: the kernels that go.
        kept_because: a reason for each one that stays.
        fits: whether the rest, with what is to come, is within the budget.
        clock: the cache's clock afterwards.
    """

    dropped: tuple[CachedKernel, ...]
    kept_because: Mapping[KernelDigest, str]
    fits: bool
    clock: float

    @property
    def freed_bytes(self) -> int:
        """What the dropped ones took."""
        return sum(kernel.size_bytes for kernel in self.dropped)

    def __str__(self) -> str:
        """One line for a person."""
        reasons: dict[str, int] = {}
        for reason in self.kept_because.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        kept = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        return f"evicted {len(self.dropped)} ({self.freed_bytes} bytes); kept: {kept or 'none'}"


def plan_eviction(
    kernels: Iterable[CachedKernel],
    *,
    budget_bytes: int,
    needed_bytes: int = 0,
    keep: Mapping[KernelDigest, str] = _NOBODY,
    clock: float = 0.0,
) -> EvictionPlan:
    """Return what to drop so that the rest and `needed_bytes` more fit the budget, as far as it can be done.

    Args:
        kernels: what the cache holds.
        budget_bytes: what it may hold.
        needed_bytes: what is to come.
        keep: kernels that stay in any case, each with the reason.
        clock: the cache's, as it is now.
    """
    found = sorted(kernels, key=lambda kernel: (kernel.priority, -kernel.size_bytes, kernel.digest))
    excess = sum(kernel.size_bytes for kernel in found) + needed_bytes - budget_bytes
    dropped: list[CachedKernel] = []
    kept: dict[KernelDigest, str] = {}
    for kernel in found:
        if kernel.digest in keep:
            kept[kernel.digest] = keep[kernel.digest]
        elif excess > 0:
            dropped.append(kernel)
            excess -= kernel.size_bytes
        else:
            kept[kernel.digest] = FITS
    return EvictionPlan(tuple(dropped), kept, excess <= 0, max([clock, *(kernel.priority for kernel in dropped)]))
