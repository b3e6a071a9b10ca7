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
        if _always_true(guard, symbols, covered):
            continue
        # Most remaining guards say that some product is not one: sizes of one are what they exclude.
        for name in {symbols[symbol] for symbol in guard.free_symbols if symbol in symbols}:
            covered[name] = SymbolRange(max(2, covered[name].min), covered[name].max)
        if not _always_true(guard, symbols, covered):
            raise CompileError(f"the generated code assumes {guard}, which no ranges of {sorted(covered)} can promise")
    return covered


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
    return _proves(guard, bound_sympy(_as_difference(guard), bounds))


def _as_difference(guard: sympy.Basic) -> sympy.Basic:
    """Turn a relation into one expression, so that interval arithmetic can bound it."""
    if isinstance(guard, sympy.core.relational.Relational):
        return sympy.expand(guard.lhs - guard.rhs)
    return guard


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
