"""Which kernels leave a disk that is full. Pure: entries come in, digests go out."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from morph_kernels.identity import KernelDigest


@dataclass(frozen=True)
class DiskUse:
    """What one kernel takes on disk, and when it was last found (seconds of the wall clock)."""

    digest: KernelDigest
    size_bytes: int
    used_at: float


def plan_eviction(
    kernels: Iterable[DiskUse], *, needed_bytes: int, budget_bytes: int, keep: Collection[KernelDigest] = ()
) -> list[KernelDigest] | None:
    """Return the kernels to drop so that `needed_bytes` more fit the budget, or None where no dropping makes them fit.

    Least recently used first, of equally old ones the largest first; never one of `keep`.
    """
    kernels = list(kernels)
    excess = sum(kernel.size_bytes for kernel in kernels) + needed_bytes - budget_bytes
    free = [kernel for kernel in kernels if kernel.digest not in keep]
    if excess > sum(kernel.size_bytes for kernel in free):
        return None
    dropped = []
    for kernel in sorted(free, key=lambda kernel: (kernel.used_at, -kernel.size_bytes, kernel.digest)):
        if excess <= 0:
            break
        dropped.append(kernel.digest)
        excess -= kernel.size_bytes
    return dropped
