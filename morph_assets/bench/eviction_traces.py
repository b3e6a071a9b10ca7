"""Made-up loads of a fleet: who asks a cache for which kernel, one after another.

Three kinds of demand, as real training clusters mix them: a library whose popularity follows Zipf's law and drifts,
runs that ask for the same few kernels again and again and then never more, and scans that touch many kernels once.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from morph_kernels.identity import KernelDigest

_ZIPF: Final = 0.9
_KERNEL_BYTES: Final = (150_000, 1_500_000)
_BUILD_S: Final = (8.0, 80.0)


@dataclass(frozen=True)
class TracedKernel:
    """A kernel of a trace: its bytes, and the seconds that building it takes."""

    digest: KernelDigest
    size_bytes: int
    rebuild_s: float


@dataclass(frozen=True)
class TraceShape:
    """What a trace is mixed of.

    Attributes:
        kernels: how many the library has.
        requests: how many there are.
        drift_every: after so many requests some kernels change their places in popularity.
        burst_share: the share of requests that belong to runs.
        scan_share: the share that belong to scans.
    """

    kernels: int = 600
    requests: int = 12_000
    drift_every: int = 400
    burst_share: float = 0.35
    scan_share: float = 0.1


def make_trace(seed: int, shape: TraceShape) -> list[TracedKernel]:
    """Return the requests of a trace, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - the same trace every time
    library = [_kernel(chance, number) for number in range(shape.kernels)]
    return list(_requests(chance, library, shape))


def _kernel(chance: random.Random, number: int) -> TracedKernel:
    return TracedKernel(
        KernelDigest(f"{number:064x}"),
        round(_between(chance, *_KERNEL_BYTES)),
        _between(chance, *_BUILD_S),
    )


def _between(chance: random.Random, low: float, high: float) -> float:
    """Return a number that is as likely within any factor as within any other of its size."""
    return float(low * (high / low) ** chance.random())


def _requests(chance: random.Random, library: Sequence[TracedKernel], shape: TraceShape) -> Iterator[TracedKernel]:
    order = list(library)
    weights = list(accumulate((rank + 1) ** -_ZIPF for rank in range(len(order))))
    made = 0
    while made < shape.requests:
        kind = chance.random()
        # A burst and a scan are many requests at once, so they begin more rarely than they are seen.
        if kind < shape.burst_share / 40:
            batch = _burst(chance, order)
        elif kind < (shape.burst_share / 40) + shape.scan_share / 60:
            start = chance.randrange(len(library))
            batch = [library[(start + step) % len(library)] for step in range(60)]
        else:
            batch = chance.choices(order, cum_weights=weights)
        for kernel in batch[: shape.requests - made]:
            yield kernel
            made += 1
            if made % shape.drift_every == 0:
                _drift(chance, order)


def _burst(chance: random.Random, order: Sequence[TracedKernel]) -> list[TracedKernel]:
    """Return what a run asks for: some kernels, every one of them each time that the run grows or starts again."""
    own = chance.sample(order, 8)
    return [kernel for _ in range(5) for kernel in own]


def _drift(chance: random.Random, order: list[TracedKernel]) -> None:
    for _ in range(max(1, len(order) // 20)):
        one, other = chance.randrange(len(order)), chance.randrange(len(order))
        order[one], order[other] = order[other], order[one]
