"""Two ranks save one state: one checkpoint, every rank's generators, and all hear of it or none."""

from morph_kernels.checkpoint import SqliteLedger
from tests.support.rank_work import (
    restore_nothing,
    restore_report,
    restore_train,
    save_at_different_steps,
    train_save_train,
)
from tests.support.ranks import run_ranks


def test_two_ranks_restore_each_its_own_generators_and_repeat_every_bit(tmp_path):
    saved = run_ranks(2, train_save_train, tmp_path)
    (found,) = SqliteLedger(tmp_path / "ledger.db").find("run", "main", 10)
    assert {name for name, _ in saved} == {str(found.checkpoint)}
    restored = run_ranks(2, restore_train, tmp_path)
    for (_, expected), (report, bits) in zip(saved, restored, strict=True):
        assert report == (2, True)
        assert bits == expected
    assert saved[0][1]["generator"] != saved[1][1]["generator"]


def test_another_number_of_ranks_restores_the_state_and_says_what_is_lost(tmp_path):
    run_ranks(2, train_save_train, tmp_path)
    assert run_ranks(1, restore_report, tmp_path) == [(False, ["world_size_changed"])]


def test_ranks_at_different_steps_save_nothing_and_all_hear_it(tmp_path):
    heard = run_ranks(2, save_at_different_steps, tmp_path)
    assert [name for name, _ in heard] == ["RanksDisagreeError"] * 2
    assert SqliteLedger(tmp_path / "ledger.db").find("run", "main", 10) == []


def test_a_failure_of_the_first_rank_is_heard_by_all(tmp_path):
    heard = run_ranks(2, restore_nothing, tmp_path)
    assert [name for name, _ in heard] == ["NoCheckpointError", "OtherRankFailedError"]
    assert "rank 0: NoCheckpointError" in heard[1][1]
