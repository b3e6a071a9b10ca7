"""The example sizes of a trace: each tells its symbol from every other size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morph_kernels.blueprint import Interface, SymbolRange, TensorSpec
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.hints import plan_hints

ranges = st.tuples(st.integers(1, 200), st.integers(0, 9000)).map(lambda r: SymbolRange(r[0], r[0] + r[1]))


def interface(symbols, static):
    spec = TensorSpec("x", "float32", (*symbols, *static))
    return Interface(inputs=(spec,), outputs=(spec,), symbols=symbols)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), ranges, max_size=4), st.lists(st.integers(1, 64), max_size=4))
def test_hints_lie_in_their_ranges_and_differ_from_every_other_size(symbols, static):
    try:
        hints = plan_hints(interface(symbols, static), symbols)
    except CompileError:
        return
    assert all(symbols[name].min <= hint <= symbols[name].max for name, hint in hints.items())
    assert len({*hints.values(), *static}) == len(hints) + len(set(static))
    assert all(hint > 2 and all(hint % d for d in range(2, hint)) for hint in hints.values()), "odd primes"


def test_equal_ranges_get_different_hints():
    symbols = {"batch": SymbolRange(1, 64), "seq": SymbolRange(1, 64)}
    assert len(set(plan_hints(interface(symbols, [37]), symbols).values()) | {37}) == 3


@pytest.mark.parametrize("size_range", [SymbolRange(1, 2), SymbolRange(8, 10), SymbolRange(64, 64)])
def test_a_range_without_a_size_of_its_own_refuses_the_build(size_range):
    with pytest.raises(CompileError, match="'batch'"):
        plan_hints(interface({"batch": size_range}, [3]), {"batch": size_range})
