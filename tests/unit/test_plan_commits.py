"""Which committed checkpoints are shown, and for which runs."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from morph_assets.registry.checkpoints import CheckpointRecord, RunRecord
from morph_assets.usecases.plan_commits import plan_commits

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
CHECKPOINT = CheckpointRecord(
    uuid4(), "run", "main", None, 1, 10, "heuristic-1", 2, "a" * 64, "key", [], 1000, 1, MOMENT
)


def committed(run: str, seq: int = 1) -> CheckpointRecord:
    return replace(CHECKPOINT, checkpoint=uuid4(), run=run, seq=seq)


def known(run: str, *, active: bool = False) -> RunRecord:
    return RunRecord(run, active, 1, 1, MOMENT)


def test_a_new_run_is_registered_once_and_each_of_its_checkpoints_reported():
    commits = [committed("mine", 1), committed("mine", 2)]

    plan = plan_commits(commits, registered=(), runs=[known("mine")], most=10)

    assert (plan.register, plan.drop, plan.passed_over) == (("mine",), (), 0)
    assert plan.report == tuple(commits)


def test_with_room_left_old_runs_stay():
    plan = plan_commits([committed("new")], registered={"old"}, runs=[known("new")], most=2)

    assert plan.drop == ()


def test_without_room_the_oldest_that_no_longer_trains_makes_place():
    runs = [known("newest"), known("idle"), known("training", active=True)]

    plan = plan_commits([committed("newest")], registered={"idle", "training"}, runs=runs, most=2)

    assert plan.register == ("newest",)
    assert plan.drop == ("idle",)


def test_a_checkpoint_of_a_run_that_is_not_shown_is_passed_over_and_counted():
    runs = [known("second"), known("first")]

    plan = plan_commits([committed("first"), committed("second")], registered=(), runs=runs, most=1)

    assert [checkpoint.run for checkpoint in plan.report] == ["second"]
    assert plan.passed_over == 1


RUNS = st.sampled_from("abcdefgh")


@given(
    commits=st.lists(RUNS, max_size=20),
    registered=st.sets(RUNS),
    runs=st.lists(st.tuples(RUNS, st.booleans()), unique_by=lambda run: run[0]),
    most=st.integers(1, 8),
)
def test_never_more_runs_are_shown_than_there_is_room_for(commits, registered, runs, most):
    plan = plan_commits(
        [committed(run, seq) for seq, run in enumerate(commits, start=1)],
        registered=registered,
        runs=[known(run, active=active) for run, active in runs],
        most=most,
    )

    after = (registered | set(plan.register)) - set(plan.drop)
    assert len(after) <= max(most, len(registered))
    # Nothing is reported for a run that is no partition: Dagster would take it without a word.
    assert {checkpoint.run for checkpoint in plan.report} <= after
    assert len(plan.report) + plan.passed_over == len(commits)
