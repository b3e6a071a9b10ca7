"""Which concrete sizes a trace sees: the trace needs one example, and each size must be told apart from every other."""

from collections.abc import Iterator, Mapping

from morph_kernels.blueprint import Interface, SymbolRange
from morph_kernels.compile.errors import CompileError


def plan_hints(interface: Interface, ranges: Mapping[str, SymbolRange]) -> dict[str, int]:
    """Return an example size for every symbol of the interface.

    Hints are odd primes that equal no static dimension and no other hint, because the tracer gives equal hints one
    symbol: that is how two inputs that share `batch` come to share it, and how `batch` and `seq` stay apart.

    Raises:
        CompileError: a range holds no free prime, so its symbol could not be told from another size.
    """
    taken = {dim for spec in (*interface.inputs, *interface.outputs) for dim in spec.shape if isinstance(dim, int)}
    hints: dict[str, int] = {}
    for name in sorted(ranges, key=lambda symbol: ranges[symbol].max):
        found = next((prime for prime in _primes_near(ranges[name]) if prime not in taken), None)
        if found is None:
            raise CompileError(
                f"symbol {name!r} with range {ranges[name].min}..{ranges[name].max} holds no size that differs from "
                "every other size of the interface; widen the range or make the dimension static"
            )
        hints[name] = found
        taken.add(found)
    return hints


def _primes_near(size_range: SymbolRange, centre: int = 37) -> Iterator[int]:
    """Yield the odd primes of the range, nearest to a mid-sized example first."""
    low, high = max(3, size_range.min), min(size_range.max, 8192)
    start = min(max(centre, low), high)
    candidates = sorted(range(low, high + 1), key=lambda size: abs(size - start))
    return (size for size in candidates if size % 2 and all(size % d for d in range(3, int(size**0.5) + 1, 2)))
