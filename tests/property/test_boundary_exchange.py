"""The agreement at a boundary, over all that ranks can say; and run plans, over all that a file can hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morph_kernels.artifact.document import MalformedError
from morph_kernels.blueprint.errors import BlueprintError
from morph_kernels.identity import InvalidNameError
from morph_kernels.loader import BoundaryError, RunPlan
from morph_kernels.loader.boundary import EAGER, SlotState, plan_exchange

A, B = "a" * 64, "b" * 64
bodies = st.sampled_from([EAGER, A, B])
says = st.builds(SlotState, slot=st.just("0:x"), current=bodies, wanted=bodies, ready=st.booleans())
ranks = st.lists(says, min_size=1, max_size=5)


@given(ranks)
def test_all_ranks_decide_alike_whoever_asks(states):
    (decided,) = plan_exchange([[state] for state in states]).values()
    for order in (states[::-1], states[1:] + states[:1]):
        assert plan_exchange([[state] for state in order]) == {"0:x": decided}


@given(ranks)
def test_no_rank_gets_a_body_that_it_is_not_ready_for(states):
    (decided,) = plan_exchange([[state] for state in states]).values()
    for state in states:
        assert decided in {EAGER, state.current} or (decided == state.wanted and state.ready)


@given(ranks, says)
def test_where_one_rank_must_leave_its_body_all_run_eager(states, one):
    revoked = SlotState("0:x", one.current, EAGER, ready=True)
    assert plan_exchange([[state] for state in [*states, revoked]]) == {"0:x": EAGER}


@given(ranks)
def test_a_new_body_comes_only_where_all_want_it(states):
    (decided,) = plan_exchange([[state] for state in states]).values()
    if decided not in {EAGER, *(state.current for state in states)}:
        assert {state.wanted for state in states} == {decided}


def test_ranks_with_different_slots_agree_on_nothing():
    one, other = (SlotState(name, EAGER, A, ready=True) for name in ("0:x", "0:y"))
    with pytest.raises(BoundaryError):
        plan_exchange([[one], [other]])
    with pytest.raises(BoundaryError):
        plan_exchange([[one], [one, other]])


@given(st.binary(max_size=300))
def test_no_bytes_but_a_plans_are_a_plan(data):
    with pytest.raises((MalformedError, BlueprintError, InvalidNameError)):
        RunPlan.from_bytes(data)


def test_an_empty_plan_is_one():
    assert RunPlan.from_bytes(RunPlan({}).to_bytes()) == RunPlan({})
