"""Which caches are asked to make room."""

import pytest

from morph_assets.usecases.measure_caches import CacheState, TierState
from morph_assets.usecases.plan_pressure import format_asked, parse_asked, plan_pressure


def state(size_bytes: int, budget_bytes: int | None = 100, *, available: bool = True) -> CacheState:
    return CacheState((TierState("disk", 3, size_bytes, budget_bytes, available),))


@pytest.mark.parametrize(("size_bytes", "budget_bytes"), [(100, 100), (0, 100), (10_000, None)])
def test_within_its_budget_a_tier_is_left_alone(size_bytes, budget_bytes):
    plan = plan_pressure(state(size_bytes, budget_bytes), asked_at_bytes={})

    assert (plan.evict, plan.told) == ((), "every tier is within budget")


def test_over_its_budget_it_is_evicted_and_the_size_remembered():
    plan = plan_pressure(state(130), asked_at_bytes={})

    assert plan.evict == ("disk",)
    assert plan.asked_at_bytes == {"disk": 130}


def test_what_did_not_shrink_is_pinned_and_not_asked_again():
    plan = plan_pressure(state(130), asked_at_bytes={"disk": 130})

    assert plan.evict == ()
    assert plan.told == "disk is 30 bytes over its budget of 100 and holds only what is pinned"


def test_once_it_was_within_budget_the_same_size_is_asked_again():
    remembered = plan_pressure(state(90), asked_at_bytes={"disk": 130}).asked_at_bytes

    assert plan_pressure(state(130), asked_at_bytes=remembered).evict == ("disk",)


def test_a_tier_that_does_not_answer_is_named():
    assert "does not answer" in plan_pressure(state(0, None, available=False), asked_at_bytes={}).told


@pytest.mark.parametrize("text", [None, "", "no json", "[1]", '"x"', '{"disk": "much"}'])
def test_a_cursor_that_holds_something_else_is_no_memory(text):
    assert parse_asked(text) == {}


def test_a_cursor_survives_being_written():
    assert parse_asked(format_asked({"redis": 3, "disk": 1})) == {"disk": 1, "redis": 3}
