"""From the sizes of a dimension at a few samples to the expression that gives them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from morph_kernels.blueprint.expressions import Expression, combine, evaluate

_LARGEST_STEP = 16


def find_expression(samples: Sequence[Mapping[str, int]], found: Sequence[int]) -> Expression | None:
    """Return an expression of the symbols that gives the size found at every sample, or None."""
    for candidate in _candidates(samples, found):
        if all(evaluate(candidate, sizes) == size for sizes, size in zip(samples, found, strict=True)):
            return candidate
    return None


def _candidates(samples: Sequence[Mapping[str, int]], found: Sequence[int]) -> Iterator[Expression]:
    yield found[0]
    symbols = tuple(samples[0])
    for symbol in symbols:
        yield from _linear(symbol, samples, found)
    for count in range(2, len(symbols) + 1):
        for chosen in combinations(symbols, count):
            yield from _product(chosen, samples, found)
    for symbol in symbols:
        yield from _stepped(symbol, samples[0], found[0])


def _linear(symbol: str, samples: Sequence[Mapping[str, int]], found: Sequence[int]) -> Iterator[Expression]:
    low = min(range(len(samples)), key=lambda index: samples[index][symbol])
    high = max(range(len(samples)), key=lambda index: samples[index][symbol])
    run = samples[high][symbol] - samples[low][symbol]
    if run == 0 or (found[high] - found[low]) % run:
        return
    factor = (found[high] - found[low]) // run
    if factor >= 1:
        yield shifted(scaled(symbol, factor), found[low] - factor * samples[low][symbol])


def _product(
    symbols: Sequence[str], samples: Sequence[Mapping[str, int]], found: Sequence[int]
) -> Iterator[Expression]:
    whole = math.prod(samples[0][symbol] for symbol in symbols)
    if found[0] % whole == 0 and found[0]:
        product: Expression = symbols[0]
        for symbol in symbols[1:]:
            product = combine("*", product, symbol)
        yield scaled(product, found[0] // whole)


def _stepped(symbol: str, sizes: Mapping[str, int], first: int) -> Iterator[Expression]:
    """Yield multiples of what a window of some stride leaves of a symbol."""
    for step in range(2, _LARGEST_STEP + 1):
        for offset in range(-_LARGEST_STEP, _LARGEST_STEP + 1):
            stepped = combine("//", shifted(symbol, offset), step)
            whole = evaluate(stepped, sizes)
            if whole > 0 and first % whole == 0:
                yield scaled(stepped, first // whole)


def scaled(expression: Expression, factor: int) -> Expression:
    """Return factor times the expression, without a factor of one."""
    return expression if factor == 1 else combine("*", factor, expression)


def shifted(expression: Expression, offset: int) -> Expression:
    """Return the expression plus the offset, without an offset of zero."""
    if offset == 0:
        return expression
    return combine("+", expression, offset) if offset > 0 else combine("-", expression, -offset)
