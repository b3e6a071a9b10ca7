import json
import random

import numpy as np
import pytest
import torch
from torch import nn

from morph_kernels.artifact.envelope import parse_envelope
from morph_kernels.artifact.signing import load_signer
from morph_kernels.artifact.trust import Role, create_trust, key_path
from morph_kernels.checkpoint import (
    CheckpointDamagedError,
    NoCheckpointError,
    PlainState,
    StateMismatchError,
)
from morph_kernels.checkpoint.commit import ObjectTakenError
from morph_kernels.checkpoint.ledger import LeaseLostError
from morph_kernels.checkpoint.record import MAX_RECORD_BYTES
from tests.support.checkpoints import fingerprint, local_checkpointer, small_state, train_steps


def packs_in(folder):
    return sorted((folder / "store").rglob("packs/*"))


def test_training_on_after_a_restore_repeats_every_bit(tmp_path):
    state = small_state()
    train_steps(state, 3)
    checkpointer = local_checkpointer(tmp_path)
    checkpointer.save(state, epoch=1, step=3).wait()
    train_steps(state, 4)
    expected = fingerprint(state)
    other = small_state(seed=99)
    report = local_checkpointer(tmp_path).restore(other)
    train_steps(other, 4)
    assert fingerprint(other) == expected
    assert (report.epoch, report.step, report.exact, report.reasons) == (1, 3, True, ())


def test_generators_of_python_and_numpy_come_back(tmp_path):
    checkpointer = local_checkpointer(tmp_path)
    state = small_state()
    np.random.default_rng()
    np.random.standard_normal(3)  # noqa: NPY002 - the global generator is the subject
    checkpointer.save(state, epoch=0, step=0).wait()
    expected = (random.random(), random.gauss(0, 1), np.random.standard_normal(5).tolist())  # noqa: NPY002, S311
    checkpointer.restore(state)
    assert (random.random(), random.gauss(0, 1), np.random.standard_normal(5).tolist()) == expected  # noqa: NPY002, S311


def test_a_tensor_changed_right_after_save_is_saved_as_it_was(tmp_path):
    state = PlainState(nn.Linear(300, 300))
    before = state.model.weight.detach().clone()
    checkpointer = local_checkpointer(tmp_path)
    handle = checkpointer.save(state, epoch=0, step=0)
    with torch.no_grad():
        state.model.weight.fill_(7)
    handle.wait()
    checkpointer.restore(state)
    assert torch.equal(state.model.weight, before)


def test_what_did_not_change_is_not_written_again(tmp_path):
    state = PlainState(nn.Sequential(nn.Linear(100, 100), nn.Linear(10, 10)))
    checkpointer = local_checkpointer(tmp_path)
    first = checkpointer.save(state, epoch=0, step=0).wait()
    with torch.no_grad():
        state.model[1].weight.add_(1)
    second = checkpointer.save(state, epoch=1, step=1).wait()
    third = checkpointer.save(state, epoch=2, step=2).wait()
    assert first.new_bytes > 40_000
    assert second.new_bytes == 400
    assert third.new_bytes == 0
    assert len(packs_in(tmp_path)) == 2


def test_shared_weights_are_stored_once_and_restored_as_one(tmp_path):
    model = nn.Sequential(nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False))
    model[1].weight = model[0].weight
    done = local_checkpointer(tmp_path).save(PlainState(model), epoch=0, step=0).wait()
    assert done.new_bytes < 2 * 100 * 100 * 4
    expected = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.zero_()
    local_checkpointer(tmp_path).restore(PlainState(model))
    assert torch.equal(model[1].weight, expected)


def test_a_flipped_bit_in_a_pack_names_the_tensor_and_the_pack_and_changes_nothing(tmp_path):
    state = small_state()
    local_checkpointer(tmp_path).save(state, epoch=0, step=0).wait()
    (pack,) = packs_in(tmp_path)
    data = bytearray(pack.read_bytes())
    data[40] ^= 4
    pack.write_bytes(data)
    other = small_state(seed=5)
    before = fingerprint(other)
    with pytest.raises(CheckpointDamagedError, match=rf"model/0\.weight is damaged in .*{pack.name}"):
        local_checkpointer(tmp_path).restore(other)
    assert fingerprint(other) == before


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_pack_that_is_gone_or_short_is_damage(tmp_path, damage):
    state = small_state()
    local_checkpointer(tmp_path).save(state, epoch=0, step=0).wait()
    (pack,) = packs_in(tmp_path)
    if damage == "gone":
        pack.unlink()
    else:
        pack.write_bytes(pack.read_bytes()[:-1])
    with pytest.raises(CheckpointDamagedError, match=pack.name):
        local_checkpointer(tmp_path).restore(state)


def test_a_state_with_other_names_is_refused_both_ways_and_untouched(tmp_path):
    local_checkpointer(tmp_path).save(small_state(), epoch=0, step=0).wait()
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16, affine=False), nn.Dropout(0.5), nn.Linear(16, 4))
    model.extra = nn.Parameter(torch.zeros(1))
    other = PlainState(model, torch.optim.AdamW(model.parameters()))
    before = fingerprint(other)
    with pytest.raises(StateMismatchError) as refused:
        local_checkpointer(tmp_path).restore(other)
    assert refused.value.missing == ("extra",)
    assert refused.value.unexpected == ("1.bias", "1.weight")
    assert fingerprint(other) == before


def test_a_tensor_of_another_shape_or_dtype_is_refused(tmp_path):
    local_checkpointer(tmp_path).save(PlainState(nn.Linear(4, 4)), epoch=0, step=0).wait()
    for other in (nn.Linear(4, 4).double(), nn.Linear(5, 4)):
        with pytest.raises(StateMismatchError, match=r"weight: torch\.float"):
            local_checkpointer(tmp_path).restore(PlainState(other))


def test_another_trainable_set_or_optimizer_is_refused(tmp_path):
    state = small_state()
    local_checkpointer(tmp_path).save(state, epoch=0, step=0).wait()
    frozen = small_state()
    frozen.model[0].weight.requires_grad_(False)
    with pytest.raises(StateMismatchError, match=r"trainable parameters.*0\.weight"):
        local_checkpointer(tmp_path).restore(frozen)
    frozen.model[0].weight.requires_grad_(True)
    frozen.optimizer = torch.optim.SGD(frozen.model.parameters())
    with pytest.raises(StateMismatchError, match=r"optimizers.*SGD.*AdamW"):
        local_checkpointer(tmp_path).restore(frozen)
    frozen.optimizer = torch.optim.AdamW(list(frozen.model.parameters())[1:])
    with pytest.raises(StateMismatchError, match=r"optimizer parameters.*0\.weight"):
        local_checkpointer(tmp_path).restore(frozen)


def test_scheduler_and_data_position_come_back(tmp_path):
    state = small_state()
    scheduler = torch.optim.lr_scheduler.StepLR(state.optimizer, step_size=1, gamma=0.1)

    class Position:
        def __init__(self):
            self.at = {"sample": 3, "order": torch.tensor([2, 0, 1]), "worker": (1, None, float("nan"))}

        def state_dict(self):
            return self.at

        def load_state_dict(self, state_dict):
            self.at = state_dict

    position = Position()
    saved = PlainState(state.model, state.optimizer, data=position, parts={"scheduler": scheduler})
    train_steps(saved, 1)
    scheduler.step()
    checkpointer = local_checkpointer(tmp_path)
    checkpointer.save(saved, epoch=0, step=0).wait()
    train_steps(saved, 1)
    scheduler.step()
    position.at = {}
    checkpointer.restore(saved)
    assert scheduler.last_epoch == 1
    assert state.optimizer.param_groups[0]["lr"] == 1e-2 * 0.1
    assert position.at["order"].tolist() == [2, 0, 1]
    assert position.at["worker"][:2] == (1, None)
    with pytest.raises(StateMismatchError, match="data positions"):
        checkpointer.restore(PlainState(state.model, state.optimizer, parts={"scheduler": scheduler}))


def test_any_epoch_or_id_can_be_had_and_saving_goes_on_from_there(tmp_path):
    state = PlainState(nn.Linear(3, 3))
    checkpointer = local_checkpointer(tmp_path)
    done = []
    for epoch in range(3):
        with torch.no_grad():
            state.model.weight.fill_(epoch)
        done.append(checkpointer.save(state, epoch=epoch, step=epoch).wait())
    checkpointer.restore(state, selector="epoch:1")
    assert state.model.weight[0, 0] == 1
    checkpointer.restore(state, selector=str(done[0].checkpoint))
    assert state.model.weight[0, 0] == 0
    checkpointer.save(state, epoch=1, step=9).wait()
    history = checkpointer._to.ledger.find("run", "main", 10)
    assert history[0].parent == done[0].checkpoint
    assert len(history) == 4
    assert local_checkpointer(tmp_path).restore(state).step == 9


def test_a_checkpoint_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(NoCheckpointError, match="no checkpoint latest"):
        local_checkpointer(tmp_path).restore(small_state())


def test_a_process_that_was_taken_over_commits_nothing_more(tmp_path):
    state = small_state()
    zombie = local_checkpointer(tmp_path)
    zombie.save(state, epoch=0, step=0).wait()
    local_checkpointer(tmp_path).restore(state)
    with pytest.raises(LeaseLostError):
        zombie.save(state, epoch=1, step=1).wait()
    assert len(zombie._to.ledger.find("run", "main", 10)) == 1


def test_a_failed_save_that_nobody_waited_for_is_told_by_the_next(tmp_path):
    state = small_state()
    zombie = local_checkpointer(tmp_path)
    zombie.save(state, epoch=0, step=0).wait()
    local_checkpointer(tmp_path).restore(state)
    zombie.save(state, epoch=1, step=1)
    with pytest.raises(LeaseLostError):
        zombie.save(state, epoch=2, step=2)


def test_every_acknowledged_save_has_its_record_and_a_missing_one_is_made_up_for(tmp_path):
    state = small_state()
    local_checkpointer(tmp_path).save(state, epoch=0, step=0).wait()
    (record,) = (tmp_path / "store").rglob("commits/*")
    content = record.read_bytes()
    record.unlink()
    local_checkpointer(tmp_path).restore(state)
    assert record.read_bytes() == content


def test_a_record_is_made_up_for_under_another_key_but_never_for_another_commit(tmp_path):
    create_trust(tmp_path / "old")
    create_trust(tmp_path / "new")
    old, new = (load_signer(key_path(tmp_path / name, Role.TRAINER)) for name in ("old", "new"))
    state = small_state()
    local_checkpointer(tmp_path, signer=old).save(state, epoch=0, step=0).wait()
    (record,) = (tmp_path / "store").rglob("commits/*")
    signed = record.read_bytes()
    assert local_checkpointer(tmp_path, signer=new).restore(state).step == 0
    assert record.read_bytes() == signed
    told = parse_envelope(signed, what="record", max_bytes=MAX_RECORD_BYTES)
    record.write_bytes(old.sign(json.loads(told.payload) | {"step": 1}))
    with pytest.raises(ObjectTakenError, match="records another commit"):
        local_checkpointer(tmp_path, signer=new).restore(state)


def test_other_threads_make_the_restore_inexact_unless_pinned(tmp_path):
    state = small_state()
    threads = torch.get_num_threads()
    local_checkpointer(tmp_path).save(state, epoch=0, step=0).wait()
    try:
        torch.set_num_threads(threads + 1)
        report = local_checkpointer(tmp_path).restore(state)
        assert (report.exact, report.reasons) == (False, ("threads_changed",))
        assert local_checkpointer(tmp_path).restore(state, bodies="pinned").exact
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads)


def test_a_sparse_tensor_is_refused_by_name(tmp_path):
    model = nn.Module()
    model.register_buffer("mask", torch.eye(3).to_sparse())
    with pytest.raises(Exception, match=r"model/mask is torch\.sparse_coo"):
        local_checkpointer(tmp_path).save(PlainState(model), epoch=0, step=0)
