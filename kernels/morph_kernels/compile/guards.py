"""From the guards that a trace left behind to the sizes a kernel is right for.

A guard is an assumption about sizes that the generated code made silently. Sizes outside the covered ranges run eager.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from morph_kernels.blueprint import SymbolRange
from morph_kernels.compile.errors import CompileError

_MOST_SIZES = 65_536


def plan_covered_ranges(
    guards: Sequence[sympy.Basic],
    symbols: Mapping[sympy.Symbol, str],
    declared: Mapping[str, SymbolRange],
    hints: Mapping[str, int],
) -> dict[str, SymbolRange]:
    """Return the widest ranges around the traced sizes in which every guard holds.

    Raises:
        CompileError: a guard ties several sizes together in a way that ranges cannot express.
    """
    covered = dict(declared)
    for guard in guards:
        names = {symbols[symbol] for symbol in guard.free_symbols if symbol in symbols}
        if len(names) == 1:
            name = names.pop()
            covered[name] = _interval_around(guard, covered[name], hints[name])
    for guard in guards:
        covered = _without_ones(guard, symbols, covered)
    return covered


def _without_ones(
    guard: sympy.Basic, symbols: Mapping[sympy.Symbol, str], covered: Mapping[str, SymbolRange]
) -> dict[str, SymbolRange]:
    """Return the ranges without as few sizes of one as a guard over several symbols excludes.

    What such a guard says is mostly that some product is not one, or larger than one of its factors.
    """
    names = sorted({symbols[symbol] for symbol in guard.free_symbols if symbol in symbols})
    for narrowed in ([], *([name] for name in names), names):
        candidate = {
            **covered,
            **{name: SymbolRange(max(2, covered[name].min), covered[name].max) for name in narrowed},
        }
        if _always_true(guard, symbols, candidate):
            return candidate
    raise CompileError(f"the generated code assumes {guard}, which no ranges of {sorted(covered)} can promise")


def _interval_around(guard: sympy.Basic, within: SymbolRange, hint: int) -> SymbolRange:
    """Return the largest interval around the hint in which a guard over one symbol holds."""
    if within.max - within.min > _MOST_SIZES:
        raise CompileError(f"a range of more than {_MOST_SIZES} sizes cannot be checked against the guard {guard}")
    (symbol,) = guard.free_symbols
    low = high = hint
    while low > within.min and _holds(guard, symbol, low - 1):
        low -= 1
    while high < within.max and _holds(guard, symbol, high + 1):
        high += 1
    return SymbolRange(low, high)


def _holds(guard: sympy.Basic, symbol: sympy.Symbol, size: int) -> bool:
    return bool(sympy_interp(PythonReferenceAnalysis, {symbol: size}, guard))


def _always_true(guard: sympy.Basic, symbols: Mapping[sympy.Symbol, str], covered: Mapping[str, SymbolRange]) -> bool:
    known = {symbol: covered[symbols[symbol]] for symbol in guard.free_symbols if symbol in symbols}
    if len(known) < len(guard.free_symbols):
        return False
    if len(known) == 1:
        ((symbol, size_range),) = known.items()
        return all(_holds(guard, symbol, size) for size in range(size_range.min, size_range.max + 1))
    bounds = {symbol: ValueRanges(r.min, r.max) for symbol, r in known.items()}
    return any(_proves(guard, bound_sympy(form, bounds)) for form in _as_differences(guard))


def _as_differences(guard: sympy.Basic) -> list[sympy.Basic]:
    """Turn a relation into expressions that interval arithmetic can bound; each form may prove what the other cannot.

    `s < b*s` is `s - b*s < 0`, where intervals forget that both terms hold the same `s`; `-s*(b - 1) < 0` keeps it.
    """
    if isinstance(guard, sympy.core.relational.Relational):
        difference = sympy.expand(guard.lhs - guard.rhs)
        return [difference, sympy.factor(difference)]
    return [guard]


def _proves(guard: sympy.Basic, bound: Any) -> bool:
    """Return whether a bound on left minus right side makes the relation true; what is no relation is not."""
    for relation, holds in _PROOFS:
        if isinstance(guard, relation):
            return bool(holds(bound))
    return False


_PROOFS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (sympy.Ne, lambda bound: bound.lower > 0 or bound.upper < 0),
    (sympy.Eq, lambda bound: bound.lower == bound.upper == 0),
    (sympy.StrictGreaterThan, lambda bound: bound.lower > 0),
    (sympy.GreaterThan, lambda bound: bound.lower >= 0),
    (sympy.StrictLessThan, lambda bound: bound.upper < 0),
    (sympy.LessThan, lambda bound: bound.upper <= 0),
)
