import pytest

from morph_kernels.training.lifecycle import (
    BLENDED,
    LEARNING,
    OCCUPIED,
    TRANSITIONS,
    Refused,
    SeedCommand,
    SeedState,
    plan_transition,
)


def test_there_are_the_eleven_states_of_the_mission():
    assert [state.name for state in SeedState] == [
        "DORMANT", "GERMINATED", "TRAINING", "GRAFTING", "STABILIZATION", "EVALUATING",
        "FINE_TUNING", "FOSSILIZED", "CULLED", "CANCELLED", "ROLLED_BACK",
    ]  # fmt: skip


def test_a_good_seed_goes_from_dormant_to_fossil():
    state = SeedState.DORMANT
    for command in ("germinate", "train", "graft", "stabilize", "evaluate", "fine_tune", "fossilize"):
        state = plan_transition(state, SeedCommand(command))
    assert state is SeedState.FOSSILIZED


@pytest.mark.parametrize("state", list(SeedState))
@pytest.mark.parametrize("command", list(SeedCommand))
def test_what_the_table_does_not_say_is_refused_with_what_it_does(state, command):
    outcome = plan_transition(state, command)
    if (state, command) in TRANSITIONS:
        assert outcome is TRANSITIONS[state, command]
    else:
        assert outcome == Refused(state, command, tuple(c for s, c in TRANSITIONS if s is state))


def test_a_fossil_never_changes():
    assert not [command for state, command in TRANSITIONS if state is SeedState.FOSSILIZED]


def test_a_failed_load_culls_and_every_grafted_state_can_be_rolled_back():
    assert plan_transition(SeedState.GERMINATED, SeedCommand.FAIL_LOAD) is SeedState.CULLED
    for state in BLENDED - {SeedState.FOSSILIZED}:
        assert plan_transition(state, SeedCommand.ROLL_BACK) is SeedState.ROLLED_BACK


def test_every_state_can_be_reached_and_kernels_learn_only_where_they_are():
    assert set(TRANSITIONS.values()) == set(SeedState)
    assert LEARNING < OCCUPIED
    assert BLENDED < OCCUPIED
