"""What a kernel is tried with: both ends, the middle and outside of every symbol, never beyond the bound."""

import math

from hypothesis import given
from hypothesis import strategies as st

from morph_assets.evaluation.samples import COMPILED, plan_covered_share, plan_few, plan_samples, plan_timed
from morph_kernels.blueprint import Interface, SymbolRange, TensorSpec

BOUND = 10_000


@st.composite
def covered_interfaces(draw):
    symbols, covered = {}, {}
    for name in draw(st.lists(st.sampled_from(["batch", "seq", "width"]), unique=True, max_size=3)):
        low, inner_low, inner_high, high = sorted(draw(st.lists(st.integers(1, 2000), min_size=4, max_size=4)))
        symbols[name], covered[name] = SymbolRange(low, high), (inner_low, inner_high)
    spec = TensorSpec("x", "float32", (*symbols, 4))
    return Interface((spec,), (spec,), symbols), covered


@given(covered_interfaces())
def test_every_size_is_where_its_label_says(given_):
    interface, covered = given_
    samples = plan_samples(interface, covered, max_elements=BOUND)
    assert len({sample.label for sample in samples}) == len(samples)
    for sample in samples:
        assert all(size in interface.symbols[symbol] for symbol, size in sample.sizes.items())
        inside = all(covered[symbol][0] <= size <= covered[symbol][1] for symbol, size in sample.sizes.items())
        assert inside == (sample.path == COMPILED) == (not sample.label.startswith("outside"))


@given(covered_interfaces())
def test_both_ends_are_tried_unless_the_bound_forbids_it(given_):
    interface, covered = given_
    samples = plan_samples(interface, covered, max_elements=BOUND)
    inside = [sample for sample in samples if sample.path == COMPILED]
    assert {symbol: low for symbol, (low, _) in covered.items()} in [dict(sample.sizes) for sample in inside]
    least = 4 * math.prod(low for low, _ in covered.values())
    for symbol, (low, high) in covered.items():
        if least // low * high <= BOUND:
            assert any(sample.sizes[symbol] == high for sample in inside), symbol


@given(covered_interfaces())
def test_a_large_sample_keeps_the_bound_if_any_size_does(given_):
    interface, covered = given_
    least = 4 * math.prod(low for low, _ in covered.values())
    for sample in plan_samples(interface, covered, max_elements=BOUND):
        # Around the middle a single symbol may still be put to its least or just outside.
        if sample.label.startswith(("greatest", "bounded", "middle")):
            assert 4 * math.prod(sample.sizes.values()) <= max(BOUND, least)


@given(covered_interfaces())
def test_sizes_beyond_the_covered_ones_are_tried_where_the_interface_has_any(given_):
    interface, covered = given_
    outside = {s.label for s in plan_samples(interface, covered, max_elements=BOUND) if s.path != COMPILED}
    uncovered = {f"outside:{s}" for s, r in interface.symbols.items() if (r.min, r.max) != covered[s]}
    assert outside == uncovered
    assert (plan_covered_share(interface, covered) == 1.0) == (not uncovered)


@given(covered_interfaces())
def test_what_is_repeated_and_timed_lies_inside(given_):
    interface, covered = given_
    timed = plan_timed(plan_samples(interface, covered, max_elements=BOUND))
    assert timed
    for sizes in (plan_few(covered), *(sample.sizes for sample in timed)):
        assert all(covered[symbol][0] <= size <= covered[symbol][1] for symbol, size in sizes.items())
