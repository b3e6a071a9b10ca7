"""Which sizes and which values a kernel is tried with; pure, and the same in the parent and in its children."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from morph_kernels.artifact.target import Ranges
from morph_kernels.blueprint import Interface
from morph_kernels.reasons import Reason

Pattern = Literal["normal", "mixed", "nonfinite"]
COMPILED = "compiled"


@dataclass(frozen=True)
class Sample:
    """One set of sizes and values.

    `pattern` says what the inputs hold: normal numbers; numbers of every magnitude with zeros among them; or normal
    numbers with a NaN and an infinity. `steps` backward passes accumulate. `path` is how the module counts the call.
    """

    label: str
    sizes: Mapping[str, int]
    pattern: Pattern = "normal"
    steps: int = 1
    path: str = COMPILED

    def to_document(self) -> dict[str, Any]:
        """Return it as a child reads it."""
        return asdict(self) | {"sizes": dict(self.sizes)}


def plan_samples(interface: Interface, covered: Ranges, *, max_elements: int) -> tuple[Sample, ...]:
    """Return the samples of a kernel: both ends of every symbol, the middle, outside, and hostile values.

    Large samples are bounded: other symbols shrink first, then the symbol itself, whose label then says "bounded".
    """
    middle = {symbol: _middle(low, high) for symbol, (low, high) in covered.items()}
    middle = _shrink(interface, middle, covered, max_elements=max_elements)
    sizes = [("least", {symbol: low for symbol, (low, _) in covered.items()}), ("middle", middle)]
    for symbol, (low, high) in covered.items():
        sizes.append((f"least:{symbol}", middle | {symbol: low}))
        largest = _shrink(interface, middle | {symbol: high}, covered, max_elements=max_elements, keep=symbol)
        sizes.append((f"{'greatest' if largest[symbol] == high else 'bounded'}:{symbol}", largest))
    distinct: dict[tuple[tuple[str, int], ...], Sample] = {}
    for label, found in sizes:
        distinct.setdefault(tuple(sorted(found.items())), Sample(label, found))
    return (
        *distinct.values(),
        *_outside(interface, covered, middle),
        Sample("mixed", middle, pattern="mixed"),
        Sample("nonfinite", middle, pattern="nonfinite"),
        Sample("accumulated", middle, steps=2),
    )


def _outside(interface: Interface, covered: Ranges, middle: dict[str, int]) -> Iterator[Sample]:
    """Yield sizes that the interface allows and the libraries do not cover: they must run eager and be right."""
    for symbol, (low, high) in covered.items():
        for size in (high + 1, low - 1):
            if size in interface.symbols[symbol]:
                yield Sample(f"outside:{symbol}", middle | {symbol: size}, path=str(Reason.OUT_OF_RANGE))
                break


def plan_few(covered: Ranges) -> dict[str, int]:
    """Return small sizes, for what is repeated hundreds of times."""
    return {symbol: min(high, max(low, 3)) for symbol, (low, high) in covered.items()}


def plan_timed(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """Return the samples to time: the least, the middle and the one that is largest in its first symbol."""
    plain = [sample for sample in samples if sample.label in {"least", "middle"}]
    large = [sample for sample in samples if sample.label.startswith(("greatest:", "bounded:"))]
    return (*plain, *large[:1])


def plan_covered_share(interface: Interface, covered: Ranges) -> float:
    """Return the share of the interface's sizes that the libraries cover."""
    return math.prod(
        (high - low + 1) / (interface.symbols[symbol].max - interface.symbols[symbol].min + 1)
        for symbol, (low, high) in covered.items()
    )


def _middle(low: int, high: int) -> int:
    """Return the geometric middle, odd if possible: no multiple of a vector's width hides a wrong tail."""
    return min(high, math.isqrt(max(low, 1) * high) | 1)


def _elements(interface: Interface, sizes: Mapping[str, int]) -> int:
    return sum(math.prod(spec.sizes(sizes)) for spec in interface.inputs)


def _shrink(
    interface: Interface, sizes: dict[str, int], covered: Ranges, *, max_elements: int, keep: str | None = None
) -> dict[str, int]:
    """Halve the largest size until the inputs fit the bound; the one to keep goes last, nothing leaves its range."""
    found = dict(sizes)
    while _elements(interface, found) > max_elements:
        free = [symbol for symbol in found if found[symbol] > covered[symbol][0] and symbol != keep]
        if not free and keep is not None and found[keep] > covered[keep][0]:
            free = [keep]
        if not free:
            break
        widest = max(free, key=lambda symbol: found[symbol])
        found[widest] = max(covered[widest][0], found[widest] // 2)
    return found
