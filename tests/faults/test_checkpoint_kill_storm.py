"""SIGKILL at random instants: nothing acknowledged is lost, nothing visible is torn."""

import os
import random
import signal

import pytest
import torch

from morph_kernels.checkpoint import SqliteLedger
from tests.support.checkpoints import local_checkpointer
from tests.support.kill_storm import fork_server, save_for_ever, storm_state

KILLS = 25
SEED = 20240501


def kill_at_random(context, folder, first, chance):
    """Run a saver, kill it at some instant, and return what it had been told was safe."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=save_for_ever, args=(str(folder), first, theirs))
    process.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv()[0] == "ready"
    # The wait for a signal that never comes: the instant of the kill is the subject, not something to wait for.
    signal.sigtimedwait([], chance.uniform(0, 0.15))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    acknowledged = []
    try:
        while True:
            acknowledged.append(ours.recv())
    except EOFError:
        return acknowledged
    finally:
        ours.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_acknowledged_is_lost_and_nothing_visible_is_torn(tmp_path):
    chance = random.Random(SEED)  # noqa: S311 - instants, not secrets
    context = fork_server()
    acknowledged, last = {}, 0
    ledger = SqliteLedger(tmp_path / "ledger.db")
    for _ in range(KILLS):
        told = kill_at_random(context, tmp_path, last, chance)
        acknowledged |= {checkpoint: step for step, checkpoint in told}
        newest = ledger.find("run", "main", 1)
        last = newest[0].step if newest else 0
    visible = {str(found.checkpoint): found.step for found in ledger.find("run", "main", 9999)}
    assert len(acknowledged) > KILLS // 2
    assert acknowledged.items() <= visible.items()
    state = storm_state()
    checkpointer = local_checkpointer(tmp_path)
    for checkpoint, step in visible.items():
        report = checkpointer.restore(state, selector=checkpoint)
        assert (report.step, report.epoch) == (step, step)
        assert torch.all(state.model.marked == step)
        assert torch.equal(state.model.resting, torch.arange(64 * 64, dtype=torch.float64))
    checkpointer.close()
