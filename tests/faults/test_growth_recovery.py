"""train(a + b) equals train(a), SIGKILL, restore, train(b): bit for bit, with grafts in between."""

import os
import signal

import pytest
import torch

from morph_kernels.checkpoint import BodyUnavailableError, StateMismatchError
from morph_kernels.training import SeedState
from tests.support.growing_runs import NARROW_FFN, WHOLE_LIFE, Script, bits, epoch_loop, growing_run
from tests.support.growth_process import train_and_tell
from tests.support.kill_storm import fork_server

EPOCHS = 9


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    loop = epoch_loop(None, Script(WHOLE_LIFE))
    loop.run_epochs(EPOCHS)
    torch.set_num_threads(threads)
    return bits_without_checkpoints(loop.run)


def bits_without_checkpoints(run):
    """The bits of a run, less the ids of checkpoints, which differ from run to run."""
    for slot in run.slots.values():
        slot.known_good = None
    return bits(run)


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3, 4, 5, 6, 8])
def test_a_killed_run_ends_like_one_that_was_not(tmp_path, uninterrupted, killed_after):
    context = fork_server()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=train_and_tell, args=(str(tmp_path), EPOCHS, theirs))
    process.start()
    theirs.close()
    for epoch in range(1, max(1, killed_after) + 1):
        assert ours.poll(60)
        assert ours.recv() == epoch
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    loop = epoch_loop(tmp_path, Script(WHOLE_LIFE), seed=77)
    report = loop.resume(f"epoch:{killed_after}", bodies="pinned")
    assert report.exact
    assert loop.epoch == killed_after
    loop.run_epochs(EPOCHS)
    assert bits_without_checkpoints(loop.run) == uninterrupted
    assert loop.run.slots["slot_a"].seed_state is SeedState.FOSSILIZED


def test_a_roll_back_restores_everything_but_the_verdict_on_the_seed(tmp_path):
    table = {epoch: list(commands) for epoch, commands in WHOLE_LIFE.items() if epoch < 4}
    script = Script(table)
    loop = epoch_loop(tmp_path, script)
    loop.run_epochs(2)
    before_graft = bits(loop.run)
    loop.run_epochs(3)
    table.clear()
    table[4] = [("slot_a", "roll_back", None)]
    script.table = table
    assert loop.run.slots["slot_a"].seed_state is SeedState.GRAFTING
    report = loop._one_epoch()
    assert [transition.after for transition in report.transitions] == [SeedState.ROLLED_BACK]
    assert loop.epoch == 2
    slot = loop.run.slots["slot_a"]
    assert (slot.seed_state, slot.kernel) == (SeedState.ROLLED_BACK, None)
    after = bits(loop.run)
    shared = {name for name in before_graft if "slot_a" not in name}
    assert {name: after[name] for name in shared} == {name: before_graft[name] for name in shared}
    table.clear()
    loop.run_epochs(4)
    assert loop.epoch == 4


def test_pinned_bodies_that_cannot_be_had_are_refused_before_the_first_step(tmp_path):
    loop = epoch_loop(tmp_path, Script(WHOLE_LIFE))
    loop.run_epochs(2)
    # As if the run had trained on a compiled body: what a kernel module reports then.
    loop.run.slots["slot_a"].kernel.digest = "c" * 64
    loop._save()
    loop._settle()
    other = epoch_loop(tmp_path, Script(WHOLE_LIFE), seed=5)
    before = bits(other.run)
    with pytest.raises(BodyUnavailableError, match="slot 'slot_a' ran cccc"):
        other.resume(bodies="pinned")
    assert bits(other.run) == before
    report = other.resume(bodies="available")
    assert (report.exact, report.reasons) == (False, ("body_changed",))


def test_a_host_with_other_slots_is_refused(tmp_path):
    epoch_loop(tmp_path, Script({})).run_epochs(1)
    run = growing_run(parts={"controller": Script({})})
    del run.slots["slot_b"]
    loop = epoch_loop(tmp_path, Script({}), run=run)
    with pytest.raises(StateMismatchError, match=r"seed slots.*slot_b"):
        loop.resume()


def test_the_journal_says_which_body_each_slot_ran_from_when_on(tmp_path):
    loop = epoch_loop(tmp_path, Script(WHOLE_LIFE))
    loop.run_epochs(4)
    journal = [(record.boundary, record.slot, record.body) for record in loop.run.journal()]
    assert journal == [(1, "slot_a", "eager"), (3, "slot_b", "eager")]
    assert [graft.digest for graft in loop.run.grafts()] == [NARROW_FFN.digest] * 2
