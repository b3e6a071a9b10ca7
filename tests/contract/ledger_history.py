"""The promises of a `CheckpointLedger` about any past point: every adapter's tests subclass this too."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from morph_kernels.checkpoint.lease import open_when_free
from morph_kernels.checkpoint.ledger import HeadMovedError, LeaseLostError, LedgerError, TagTakenError
from morph_kernels.checkpoint.selector import Sought
from tests.contract.checkpoint_ledger import blobs_of, request


def committed(ledger, lease, *, branch="main", parent=None, epoch=1, step=10, expected_head=...):
    """Commit a checkpoint that re-uses nothing; return its id."""
    asked = request(
        lease,
        branch=branch,
        parent=parent,
        epoch=epoch,
        step=step,
        expected_head=parent if expected_head is ... else expected_head,
        blobs=blobs_of("a", pack="pack-1"),
    )
    ledger.commit(asked)
    return asked.checkpoint


class LedgerHistoryContract:
    """A subclass offers the fixture `ledger`."""

    @pytest.fixture
    def run(self):
        return f"run-{uuid4().hex[:8]}"

    @pytest.fixture
    def lease(self, ledger, run):
        return ledger.open_run(run, holder=uuid4(), ttl_s=0.5)

    @pytest.fixture
    def line(self, ledger, lease):
        """Three checkpoints of `main`, epochs 0 to 2, steps 0, 10, 20."""
        saved, head = [], None
        for epoch in range(3):
            head = committed(ledger, lease, parent=head, epoch=epoch, step=10 * epoch)
            saved.append(head)
        return saved

    @staticmethod
    def found(ledger, run, branch="main", **point):
        answer = ledger.resolve(Sought(run, branch, **point))
        return None if answer is None else answer.checkpoint

    def test_every_way_to_name_a_point_finds_it_and_only_it(self, ledger, run, line):
        rows = {row.checkpoint: row for row in ledger.find(run, "main", 10)}
        assert ledger.resolve(Sought(run, "main")) == rows[line[2]]
        assert [self.found(ledger, run, epoch=epoch) for epoch in (0, 1, 2, 3)] == [*line, None]
        assert [self.found(ledger, run, step=step) for step in (0, 10, 20, 5)] == [*line, None]
        assert [self.found(ledger, run, checkpoint=each) for each in (*line, uuid4())] == [*line, None]
        for index, checkpoint in enumerate(line):
            at = datetime.fromisoformat(rows[checkpoint].recorded_at)
            before = None if index == 0 else line[index - 1]
            assert self.found(ledger, run, at=at) == checkpoint
            assert self.found(ledger, run, at=at - timedelta(microseconds=1)) == before
            assert self.found(ledger, run, before=rows[checkpoint].sequence) == before
            assert self.found(ledger, run, before=rows[checkpoint].sequence + 1) == checkpoint

    def test_nothing_is_found_in_a_branch_or_run_that_is_not_there(self, ledger, run, line):
        points = ({}, {"epoch": 1}, {"step": 10}, {"at": datetime.now(UTC)}, {"before": 2**40}, {"tag": "best"})
        assert {self.found(ledger, run, "side", **point) for point in points} == {None}
        assert {self.found(ledger, f"no-{run}", **point) for point in points} == {None}
        assert self.found(ledger, run) == line[2]

    def test_the_newest_of_an_epoch_that_was_saved_twice_is_found(self, ledger, lease, run, line):
        again = committed(ledger, lease, parent=line[1], epoch=2, step=20, expected_head=line[2])
        assert self.found(ledger, run, epoch=2) == self.found(ledger, run, step=20) == again

    def test_a_fork_has_the_history_before_it_and_a_head_of_its_own(self, ledger, lease, run, line):
        ledger.fork(lease, "side", line[1])
        assert self.found(ledger, run, "side") == line[1]
        assert [self.found(ledger, run, "side", epoch=epoch) for epoch in range(3)] == [line[0], line[1], None]
        assert ledger.find(run, "side", 10) == []
        child = committed(ledger, lease, branch="side", parent=line[1], epoch=2)
        assert self.found(ledger, run, "side") == self.found(ledger, run, "side", epoch=2) == child
        assert self.found(ledger, run, "side", epoch=0) == line[0]
        assert self.found(ledger, run) == line[2]

    def test_a_fork_may_begin_at_another_runs_checkpoint(self, ledger, line):
        other = f"run-{uuid4().hex[:8]}"
        lease = ledger.open_run(other, holder=uuid4(), ttl_s=60)
        ledger.fork(lease, "main", line[0])
        child = committed(ledger, lease, parent=line[0], epoch=1)
        assert self.found(ledger, other) == child
        assert self.found(ledger, other, epoch=0) == line[0]

    def test_a_fork_does_not_move_a_branch_that_is_there(self, ledger, lease, run, line):
        with pytest.raises(HeadMovedError, match="main"):
            ledger.fork(lease, "main", line[0])
        assert self.found(ledger, run) == line[2]

    def test_after_a_rollback_the_head_is_another_and_nothing_is_gone(self, ledger, lease, run, line):
        before = ledger.find(run, "main", 10)
        ledger.move_head(lease, "main", line[0], expected_head=line[2])
        assert self.found(ledger, run) == line[0]
        assert ledger.find(run, "main", 10) == before
        assert [self.found(ledger, run, epoch=epoch) for epoch in range(3)] == line
        with pytest.raises(HeadMovedError):
            committed(ledger, lease, parent=line[2], epoch=3)
        child = committed(ledger, lease, parent=line[0], epoch=1)
        assert self.found(ledger, run) == self.found(ledger, run, epoch=1) == child
        ledger.move_head(lease, "main", line[2], expected_head=child)
        assert self.found(ledger, run) == line[2]

    def test_a_head_moves_only_from_where_it_was_seen(self, ledger, lease, run, line):
        with pytest.raises(HeadMovedError):
            ledger.move_head(lease, "main", line[0], expected_head=line[1])
        with pytest.raises(HeadMovedError):
            ledger.move_head(lease, "side", line[0], expected_head=line[2])
        assert self.found(ledger, run) == line[2]

    def test_a_tag_moves_only_when_it_is_told_to_and_belongs_to_its_run(self, ledger, lease, run, line):
        ledger.tag(lease, "best", line[0], move=False)
        with pytest.raises(TagTakenError, match="move"):
            ledger.tag(lease, "best", line[1], move=False)
        assert self.found(ledger, run, tag="best") == self.found(ledger, run, "side", tag="best") == line[0]
        ledger.tag(lease, "best", line[1], move=True)
        assert self.found(ledger, run, tag="best") == line[1]
        assert self.found(ledger, f"no-{run}", tag="best") is None

    def test_what_was_done_already_may_be_done_again(self, ledger, lease, run, line):
        for _ in range(2):
            ledger.fork(lease, "side", line[0])
            ledger.move_head(lease, "main", line[1], expected_head=line[2])
            ledger.tag(lease, "best", line[0], move=False)
            ledger.pin(lease, line[0], reason="paper", until=None)
        assert (self.found(ledger, run, "side"), self.found(ledger, run)) == (line[0], line[1])

    def test_a_pin_says_why_holds_for_a_time_and_can_be_let_go(self, ledger, lease, line):
        ledger.pin(lease, line[0], reason="paper", until=None)
        ledger.pin(lease, line[0], reason="review", until=datetime.now(UTC) + timedelta(days=1))
        with pytest.raises(LedgerError):
            ledger.pin(lease, line[0], reason="", until=None)
        with pytest.raises(LedgerError, match="would hold nothing"):
            ledger.pin(lease, line[0], reason="late", until=datetime.now(UTC) - timedelta(days=1))
        assert [ledger.unpin(lease, line[0], reason="published") for _ in range(2)] == [True, False]

    def test_nothing_of_it_is_done_to_a_checkpoint_that_is_not_there(self, ledger, lease, run, line):
        for change in self.changes(uuid4(), line[2]):
            with pytest.raises(LedgerError, match="no checkpoint"):
                change(ledger, lease)
        assert self.found(ledger, run, "side") is None

    def test_who_lost_the_run_changes_nothing_of_it(self, ledger, lease, run, line):
        ledger.release(lease)
        open_when_free(ledger, run, ttl_s=5)
        for change in (*self.changes(line[0], line[2]), lambda ledger, lease: ledger.unpin(lease, line[0], reason="x")):
            with pytest.raises(LeaseLostError):
                change(ledger, lease)
        assert self.found(ledger, run) == line[2]
        assert self.found(ledger, run, "side") is self.found(ledger, run, tag="best") is None

    @staticmethod
    def changes(checkpoint, head):
        return (
            lambda ledger, lease: ledger.fork(lease, "side", checkpoint),
            lambda ledger, lease: ledger.move_head(lease, "main", checkpoint, expected_head=head),
            lambda ledger, lease: ledger.tag(lease, "best", checkpoint, move=True),
            lambda ledger, lease: ledger.pin(lease, checkpoint, reason="paper", until=None),
        )
