"""What is brought into Redis before anybody asks for it."""

import pytest

from morph_assets.registry.events import EventCursor
from morph_assets.usecases.plan_warming import WarmingPlace, format_warming, parse_warming, plan_warming
from morph_kernels.identity import KernelDigest

A, B = KernelDigest("a" * 64), KernelDigest("b" * 64)
SEEN = EventCursor(1, 7)


def test_what_is_needed_and_not_there_is_brought_with_whom_it_is_for():
    plan = plan_warming({A: "a running job", B: "ffn@production"}, held={B}, place=WarmingPlace(), seen=SEEN)

    assert plan.warm == {A: "a running job"}
    assert plan.place == WarmingPlace(SEEN, frozenset({A}))


def test_what_did_not_stay_is_not_brought_again_as_long_as_it_is_needed():
    first = plan_warming({A: "x"}, held=(), place=WarmingPlace(), seen=SEEN)
    second = plan_warming({A: "x"}, held=(), place=first.place, seen=SEEN)
    between = plan_warming({}, held=(), place=second.place, seen=SEEN)

    assert second.warm == {}
    assert plan_warming({A: "x"}, held=(), place=between.place, seen=SEEN).warm == {A: "x"}


@pytest.mark.parametrize("text", [None, "", "no json", "[1]", '{"asked": 3, "seen": 4}'])
def test_a_cursor_that_holds_something_else_is_the_beginning(text):
    assert parse_warming(text) == WarmingPlace()


def test_a_cursor_survives_being_written():
    place = WarmingPlace(SEEN, frozenset({A, B}))
    assert parse_warming(format_warming(place)) == place
