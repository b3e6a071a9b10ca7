"""Processes that save for ever, to be killed at any instant. Started from a fork server that has torch loaded."""

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tests.support.checkpoints import local_checkpointer, small_state

_WIDTH = 64


def fork_server() -> multiprocessing.context.ForkServerContext:
    """A context whose children start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    # The first optimizer of a process imports torch._dynamo, which takes longer than the whole save.
    context.set_forkserver_preload(["torch", "torch._dynamo", "obstore.store", "morph_kernels.checkpoint"])
    return context


def storm_state():
    """A state of which half the tensors never change, as in a model with frozen parts."""
    state = small_state()
    state.model.register_buffer("marked", torch.zeros(_WIDTH, _WIDTH))
    state.model.register_buffer("resting", torch.arange(_WIDTH * _WIDTH, dtype=torch.float64))
    return state


def mark(state, step: int) -> None:
    """Write the step into every element of one tensor, so that a torn save shows."""
    state.model.marked.fill_(float(step))


def save_for_ever(folder: str, first: int, told: Connection) -> None:
    """Save step after step; tell each one that is acknowledged."""
    torch.set_num_threads(1)
    state = storm_state()
    checkpointer = local_checkpointer(Path(folder))
    if first:
        checkpointer.restore(state)
    step = first
    told.send(("ready", os.getpid()))
    while True:
        step += 1
        mark(state, step)
        done = checkpointer.save(state, epoch=step, step=step).wait()
        told.send((step, str(done.checkpoint)))
