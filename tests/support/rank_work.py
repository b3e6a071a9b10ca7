"""What ranks do in tests; each function runs in its own process."""

from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from morph_kernels.errors import MorphError
from tests.support.checkpoints import fingerprint, local_checkpointer, small_state


def steps(state, wrapped, count):
    """Train on data that differs from rank to rank."""
    for _ in range(count):
        state.optimizer.zero_grad()
        wrapped(torch.randn(6, 8)).square().mean().backward()
        state.optimizer.step()


def start(rank, folder, group):
    """A replicated state, this rank's own generator, and the checkpointer."""
    state = small_state()
    torch.manual_seed(100 + rank)
    wrapped = DistributedDataParallel(state.model, process_group=group)
    return state, wrapped, local_checkpointer(Path(folder), group=group)


def train_save_train(rank, folder, group):
    """Return the bits at the end of a run that saved in the middle."""
    state, wrapped, checkpointer = start(rank, folder, group)
    steps(state, wrapped, 2)
    done = checkpointer.save(state, epoch=1, step=2).wait()
    steps(state, wrapped, 2)
    checkpointer.close()
    return str(done.checkpoint), fingerprint(state)


def restore_train(rank, folder, group):
    """Return the bits at the end of a run that began with a restore."""
    state, wrapped, checkpointer = start(rank + 50, folder, group)
    report = checkpointer.restore(state)
    steps(state, wrapped, 2)
    checkpointer.close()
    return (report.step, report.exact), fingerprint(state)


def save_at_different_steps(rank, folder, group):
    """Return what each rank hears when they are not at one point."""
    state, _, checkpointer = start(rank, folder, group)
    try:
        checkpointer.save(state, epoch=1, step=rank)
    except MorphError as error:
        return type(error).__name__, str(error)
    finally:
        checkpointer.close()
    return None


def restore_nothing(rank, folder, group):
    """Return what each rank hears when there is nothing to restore."""
    state, _, checkpointer = start(rank, folder, group)
    try:
        checkpointer.restore(state)
    except MorphError as error:
        return type(error).__name__, str(error)
    finally:
        checkpointer.close()
    return None


def restore_report(rank, folder, group):
    """Return why a restore on this many ranks is not exact."""
    state, _, checkpointer = start(rank, folder, group)
    report = checkpointer.restore(state)
    checkpointer.close()
    return report.exact, [str(reason) for reason in report.reasons]
