import pytest
from torch import nn

from morph_kernels.checkpoint import Checkpointer, PlainState, SqliteLedger
from morph_kernels.checkpoint.dtypes import tensor_bytes
from morph_kernels.checkpoint.ledger import BlobLocation, LedgerUnavailableError
from morph_kernels.checkpoint.packs import blob_digest
from morph_kernels.store import open_store
from tests.contract.checkpoint_ledger import CheckpointLedgerContract
from tests.support.checkpoints import fingerprint, small_state
from tests.support.faulty_ledger import FaultyLedger


class TestFaultyLedgerWithoutFaults(CheckpointLedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path):
        return FaultyLedger(SqliteLedger(tmp_path / "ledger.db"))


@pytest.fixture
def ledger(tmp_path):
    return FaultyLedger(SqliteLedger(tmp_path / "ledger.db"))


@pytest.fixture
def checkpointer(tmp_path, ledger):
    made = Checkpointer(run="run", store=open_store((tmp_path / "store").as_uri()), ledger=ledger)
    yield made
    made.close()


def test_a_commit_whose_answer_got_lost_is_one_checkpoint(checkpointer, ledger):
    ledger.lost_answers = 2
    done = checkpointer.save(small_state(), epoch=0, step=0).wait()
    (found,) = ledger.find("run", "main", 10)
    assert (found.checkpoint, found.sequence) == (done.checkpoint, done.sequence)
    checkpointer.save(small_state(), epoch=1, step=1).wait()
    assert len(ledger.find("run", "main", 10)) == 2


def test_a_short_absence_is_bridged_and_a_long_one_fails_the_save_but_not_the_run(checkpointer, ledger):
    state = small_state()
    checkpointer.save(state, epoch=0, step=0).wait()
    ledger.down_calls = 2
    checkpointer.save(state, epoch=1, step=1).wait()
    ledger.down_calls = 10**6
    handle = checkpointer.save(state, epoch=2, step=2)
    with pytest.raises(LedgerUnavailableError):
        handle.wait()
    ledger.down_calls = 0
    checkpointer.save(state, epoch=3, step=3).wait()
    assert [found.epoch for found in ledger.find("run", "main", 10)] == [3, 1, 0]


def test_a_blob_that_went_between_question_and_commit_is_written_again(checkpointer, ledger, tmp_path):
    state = PlainState(nn.Linear(20, 20))
    weight = blob_digest(tensor_bytes(state.model.weight))
    ledger.stale_blobs = {weight: BlobLocation("tenants/default/runs/run/packs/swept", 0, 1600)}
    done = checkpointer.save(state, epoch=0, step=0).wait()
    assert "swept" not in ledger.blobs(done.checkpoint)[weight].location
    before = state.model.weight.detach().clone()
    state.model.weight.data.zero_()
    checkpointer.restore(state)
    assert state.model.weight.equal(before)
    # The first try's pack and manifest are orphans; nothing names them.
    assert len(list((tmp_path / "store").rglob("packs/*"))) == 2


def test_a_ledger_that_goes_during_a_restore_leaves_the_state_alone(checkpointer, ledger):
    checkpointer.save(small_state(), epoch=0, step=0).wait()
    other = small_state(seed=4)
    before = fingerprint(other)
    ledger.down_calls = 10**6
    with pytest.raises(LedgerUnavailableError):
        checkpointer.restore(other)
    assert fingerprint(other) == before
    ledger.down_calls = 2
    assert checkpointer.restore(other).epoch == 0
