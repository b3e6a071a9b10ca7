"""The promises of a `CheckpointLedger`: every adapter's tests subclass this."""

from dataclasses import replace
from uuid import uuid4

import pytest

from morph_kernels.checkpoint.lease import open_when_free
from morph_kernels.checkpoint.ledger import (
    BlobLocation,
    BlobNotLiveError,
    CommitRequest,
    HeadMovedError,
    LeaseLostError,
    LedgerError,
)


def blobs_of(*digits, pack="pack-1"):
    return {digit * 64: BlobLocation(pack, 100 * i, 100) for i, digit in enumerate(digits)}


def request(lease, **changes):
    base = CommitRequest(
        checkpoint=uuid4(),
        lease=lease,
        branch="main",
        parent=None,
        epoch=1,
        step=10,
        controller_version="7",
        world_size=2,
        manifest_digest="f" * 64,
        manifest_key="manifest-1",
        blobs=blobs_of("a", "b"),
        own_pack="pack-1",
        kernels=(),
        expected_head=None,
    )
    return replace(base, **changes)


class CheckpointLedgerContract:
    """A subclass offers the fixture `ledger`."""

    @pytest.fixture
    def run(self):
        return f"run-{uuid4().hex[:8]}"

    @pytest.fixture
    def lease(self, ledger, run):
        return ledger.open_run(run, holder=uuid4(), ttl_s=0.2)

    def test_a_commit_can_be_found_with_all_that_was_said(self, ledger, lease, run):
        asked = request(lease)
        receipt = ledger.commit(asked)
        (found,) = ledger.find(run, "main", 10)
        assert (found.checkpoint, found.parent, found.epoch, found.step) == (asked.checkpoint, None, 1, 10)
        assert (found.manifest_digest, found.manifest_key) == ("f" * 64, "manifest-1")
        assert found.sequence == receipt.sequence
        assert ledger.blobs(asked.checkpoint) == asked.blobs

    def test_a_restore_is_noted_of_what_there_is_and_by_the_run_alone(self, ledger, lease, run):
        asked = request(lease)
        ledger.commit(asked)
        ledger.note_restore(lease, asked.checkpoint)
        with pytest.raises(LedgerError, match="no checkpoint"):
            ledger.note_restore(lease, uuid4())
        ledger.release(lease)
        open_when_free(ledger, run, ttl_s=5.0)
        with pytest.raises(LeaseLostError):
            ledger.note_restore(lease, asked.checkpoint)

    def test_nothing_is_found_before_a_commit(self, ledger, lease, run):
        assert ledger.find(run, "main", 10) == []
        assert lease.epoch >= 1

    def test_the_same_id_commits_once(self, ledger, lease, run):
        asked = request(lease)
        assert ledger.commit(asked) == ledger.commit(asked)
        assert len(ledger.find(run, "main", 10)) == 1

    def test_opening_a_run_again_ends_the_lease_before(self, ledger, lease, run):
        newer = open_when_free(ledger, run, ttl_s=5)
        assert newer.epoch > lease.epoch
        with pytest.raises(LeaseLostError):
            ledger.commit(request(lease))
        with pytest.raises(LeaseLostError):
            ledger.renew(lease, ttl_s=60)
        assert ledger.find(run, "main", 10) == []
        ledger.renew(newer, ttl_s=60)
        ledger.commit(request(newer))

    def test_another_holder_cannot_borrow_an_epoch(self, ledger, lease):
        with pytest.raises(LeaseLostError):
            ledger.commit(request(replace(lease, holder=uuid4())))

    def test_the_head_moves_only_from_where_it_was_seen(self, ledger, lease, run):
        first = request(lease)
        ledger.commit(first)
        with pytest.raises(HeadMovedError):
            ledger.commit(request(lease, expected_head=None))
        with pytest.raises(HeadMovedError):
            ledger.commit(request(lease, expected_head=uuid4()))
        second = request(lease, expected_head=first.checkpoint, parent=first.checkpoint, epoch=2)
        ledger.commit(second)
        assert [found.checkpoint for found in ledger.find(run, "main", 10)] == [second.checkpoint, first.checkpoint]

    def test_a_refused_commit_leaves_no_blob_behind(self, ledger, lease):
        ledger.commit(request(lease))
        with pytest.raises(HeadMovedError):
            ledger.commit(request(lease, blobs=blobs_of("c", pack="pack-2"), own_pack="pack-2"))
        assert ledger.live_blobs(["c" * 64]) == {}

    def test_a_committed_blob_is_live_and_may_be_used_again(self, ledger, lease):
        first = request(lease)
        ledger.commit(first)
        assert ledger.live_blobs(["a" * 64, "e" * 64]) == {"a" * 64: first.blobs["a" * 64]}
        blobs = {"a" * 64: first.blobs["a" * 64]} | blobs_of("d", pack="pack-2")
        second = request(lease, blobs=blobs, own_pack="pack-2", expected_head=first.checkpoint)
        ledger.commit(second)
        assert ledger.blobs(second.checkpoint) == blobs

    def test_a_blob_that_is_gone_cannot_be_used_again(self, ledger, lease, run):
        with pytest.raises(BlobNotLiveError):
            ledger.commit(request(lease, own_pack="pack-of-another-save"))
        assert ledger.find(run, "main", 10) == []

    def test_branches_have_heads_of_their_own(self, ledger, lease, run):
        main = request(lease)
        ledger.commit(main)
        side = request(lease, branch="side", parent=main.checkpoint)
        ledger.commit(side)
        assert [found.checkpoint for found in ledger.find(run, "side", 10)] == [side.checkpoint]
        assert [found.checkpoint for found in ledger.find(run, "main", 10)] == [main.checkpoint]

    def test_sequences_grow_and_the_limit_cuts_the_oldest(self, ledger, lease, run):
        head, sequences = None, []
        for epoch in range(3):
            asked = request(lease, epoch=epoch, expected_head=head, parent=head)
            sequences.append(ledger.commit(asked).sequence)
            head = asked.checkpoint
        assert sequences == sorted(set(sequences))
        assert [found.epoch for found in ledger.find(run, "main", 2)] == [2, 1]

    def test_a_lease_that_was_given_back_can_be_taken_at_once(self, ledger, run):
        first = ledger.open_run(run, holder=uuid4(), ttl_s=60)
        ledger.release(first)
        assert ledger.open_run(run, holder=uuid4(), ttl_s=60).epoch > first.epoch
