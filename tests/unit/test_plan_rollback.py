"""Where a step back in an alias's history leads."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morph_assets.registry.aliases import AliasMove
from morph_assets.usecases.rollback_alias import plan_rollback


def moves(*steps):
    """A history: a number is a move to that release, a negative one a step back to it."""
    return [
        AliasMove("production", abs(step), number, number, "ada", step < 0, datetime(2026, 1, 1, tzinfo=UTC))
        for number, step in enumerate(steps, 1)
    ]


@pytest.mark.parametrize(
    ("steps", "back_to"),
    [
        ((), None),
        ((1,), None),
        ((1, 2), 1),
        ((1, 2, 3), 2),
        ((1, 2, 3, -2), 1),
        ((1, 2, 3, -2, -1), None),
        ((1, 2, 3, -2, 4), 2),
        ((1, 2, 1), 2),
        ((1, 2, 1, -2), 1),
        ((1, 2, -1, 3, -1), None),
    ],
)
def test_each_step_back_leads_to_the_release_before_the_present_one(steps, back_to):
    assert plan_rollback(moves(*steps)) == back_to


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_rolling_back_to_the_end_undoes_every_move_in_turn(versions):
    way = [version for version, before in zip(versions, [None, *versions], strict=False) if version != before]
    history = moves(*way)
    for expected in reversed(way[:-1]):
        assert plan_rollback(history) == expected
        history = [*history, *moves(-expected)]
    assert plan_rollback(history) is None
