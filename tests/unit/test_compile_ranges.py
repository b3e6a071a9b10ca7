"""From the guards of a trace to covered ranges: every size in them satisfies every guard, or the build is refused."""

import itertools

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from morph_kernels.blueprint import SymbolRange
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.guards import plan_covered_ranges

BATCH, SEQ = sympy.Symbol("s0", integer=True, positive=True), sympy.Symbol("s1", integer=True, positive=True)
NAMES = {BATCH: "batch", SEQ: "seq"}
HINTS = {"batch": 7, "seq": 5}
DECLARED = {"batch": SymbolRange(1, 24), "seq": SymbolRange(1, 12)}

terms = st.sampled_from([BATCH, SEQ, BATCH * SEQ, 3 * BATCH, BATCH + SEQ, BATCH * SEQ + SEQ, 2 * SEQ * BATCH**2])
numbers = st.integers(1, 60).map(sympy.Integer)
relations = st.sampled_from([sympy.Ne, sympy.Eq, sympy.Lt, sympy.Le, sympy.Gt, sympy.Ge])


def holds(guard: sympy.Basic, batch: int, seq: int) -> bool:
    return bool(guard.subs({BATCH: batch, SEQ: seq}))


@st.composite
def guards_of_a_trace(draw):
    """Guards that hold for the traced sizes, as all guards of a trace do."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        guard = draw(relations)(draw(terms), draw(st.one_of(terms, numbers)))
        if isinstance(guard, sympy.core.relational.Relational) and holds(guard, 7, 5):
            made.append(guard)
    return made


@settings(deadline=None)
@given(guards_of_a_trace())
def test_every_size_in_the_covered_ranges_satisfies_every_guard(guards):
    try:
        covered = plan_covered_ranges(guards, NAMES, DECLARED, HINTS)
    except CompileError:
        return
    sizes = [range(covered[name].min, covered[name].max + 1) for name in ("batch", "seq")]
    assert HINTS["batch"] in sizes[0]
    assert HINTS["seq"] in sizes[1]
    for batch, seq in itertools.product(*sizes):
        assert all(holds(guard, batch, seq) for guard in guards)


@pytest.mark.parametrize(
    ("guard", "batch", "seq"),
    [
        (BATCH <= 20, (1, 20), (1, 12)),
        (BATCH > 3, (4, 24), (1, 12)),
        (sympy.Ne(SEQ, 1), (1, 24), (2, 12)),
        (sympy.Ne(BATCH * SEQ, 1), (2, 24), (1, 12)),
        (SEQ < BATCH * SEQ, (2, 24), (1, 12)),
        (BATCH < BATCH * SEQ, (1, 24), (2, 12)),
        (BATCH * SEQ <= 24 * 12, (1, 24), (1, 12)),
    ],
)
def test_ranges_are_as_wide_as_one_guard_allows(guard, batch, seq):
    covered = plan_covered_ranges([guard], NAMES, DECLARED, HINTS)
    assert covered == {"batch": SymbolRange(*batch), "seq": SymbolRange(*seq)}


def test_an_example_size_never_widens_what_a_guard_left():
    """A trace at 512 once left `batch <= 4096` and was used at 8192."""
    covered = plan_covered_ranges([BATCH <= 4096], {BATCH: "batch"}, {"batch": SymbolRange(1, 8192)}, {"batch": 512})
    assert covered == {"batch": SymbolRange(1, 4096)}


def test_a_guard_that_no_ranges_can_promise_refuses_the_build():
    with pytest.raises(CompileError, match="no ranges"):
        plan_covered_ranges([sympy.Eq(sympy.Mod(BATCH * SEQ, 5), 0)], NAMES, DECLARED, HINTS)


def test_a_guard_on_a_size_that_is_no_symbol_of_the_interface_refuses_the_build():
    with pytest.raises(CompileError, match="no ranges"):
        plan_covered_ranges([sympy.Symbol("u0") > 3], NAMES, DECLARED, HINTS)


def test_a_range_too_wide_to_check_size_by_size_refuses_the_build():
    wide = {"batch": SymbolRange(1, 10**9)}
    with pytest.raises(CompileError, match="65536"):
        plan_covered_ranges([BATCH > 3], {BATCH: "batch"}, wide, {"batch": 7})
