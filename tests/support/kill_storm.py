"""Processes that save for ever, to be killed at any instant. Started from a fork server that has torch loaded."""

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import urlsplit
from uuid import UUID

import torch

from morph_kernels.checkpoint import Checkpointer, CheckpointLedger, NoCheckpointError, PostgresLedger, SqliteLedger
from morph_kernels.store import open_store
from tests.support.checkpoints import small_state

_WIDTH = 64
# Of a save this long passes between an acknowledgement and the kill; some kills come before there is anything to lose.
_WITHIN_S = 0.012
_MOST_SAVES = 4


def fork_server() -> multiprocessing.context.ForkServerContext:
    """A context whose children start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    # The first optimizer of a process imports torch._dynamo, which takes longer than the whole save.
    context.set_forkserver_preload(
        ["torch", "torch._dynamo", "obstore.store", "psycopg", "sqlite3", "tests.support.kill_storm"]
    )
    return context


@dataclass(frozen=True)
class Place:
    """Where a run of the storm saves to; `number` tells its tensors from those of the others."""

    store: str
    ledger: str
    number: int = 0
    lease_ttl_s: float = 6.0

    @property
    def run(self) -> str:
        """The run's name."""
        return f"run-{self.number}"

    def open_ledger(self) -> CheckpointLedger:
        """Open the ledger, a file or a registry."""
        url = urlsplit(self.ledger)
        return SqliteLedger(url.path) if url.scheme == "file" else PostgresLedger(self.ledger)

    def open(self) -> Checkpointer:
        """Open the run."""
        ledger = self.open_ledger()
        return Checkpointer(run=self.run, store=open_store(self.store), ledger=ledger, lease_ttl_s=self.lease_ttl_s)

    def mark_of(self, step: int) -> float:
        """Return what every element of the changing tensor is at a step."""
        return float(self.number * 10_000 + step)


def storm_state():
    """A state of which half the tensors never change, as in a model with frozen parts."""
    state = small_state()
    state.model.register_buffer("marked", torch.zeros(_WIDTH, _WIDTH))
    state.model.register_buffer("resting", torch.arange(_WIDTH * _WIDTH, dtype=torch.float64))
    return state


def save_for_ever(place: Place, told: Connection) -> None:
    """Go on from the newest checkpoint and save step after step; tell each one that is acknowledged."""
    torch.set_num_threads(1)
    told.send(None)
    state, step = storm_state(), 0
    checkpointer = place.open()
    try:
        step = checkpointer.restore(state).step
    except NoCheckpointError:
        told.send(None)
    while True:
        step += 1
        state.model.marked.fill_(place.mark_of(step))
        done = checkpointer.save(state, epoch=step, step=step).wait()
        told.send((step, done.checkpoint))


@dataclass
class KillStorm:
    """Kills savers of one place at random instants, and keeps in mind what they had been told was safe."""

    place: Place
    chance: random.Random
    acknowledged: dict[UUID, int] = field(default_factory=dict)

    def kill_one(self) -> None:
        """Run a saver; kill it in one of its first saves, or while it still opens the run."""
        context = fork_server()
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=save_for_ever, args=(self.place, theirs))
        process.start()
        theirs.close()
        told = []
        for _ in range(self.chance.randint(1, 2 + _MOST_SAVES)):
            assert ours.poll(60)
            told.append(ours.recv())
        # The wait for a signal that never comes: the instant of the kill is the subject, not something to wait for.
        signal.sigtimedwait([], self.chance.uniform(0, _WITHIN_S))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        told += _rest_of(ours)
        self.acknowledged |= {checkpoint: step for step, checkpoint in filter(None, told)}

    def check(self) -> int:
        """Check that all that was acknowledged is there and all that is there is whole; return how many there are."""
        checkpointer, state = self.place.open(), storm_state()
        # First: what a writer left behind still does is shut out from here on.
        checkpointer.restore(state)
        visible = {
            found.checkpoint: found.step for found in self.place.open_ledger().find(self.place.run, "main", 9999)
        }
        assert self.acknowledged.items() <= visible.items()
        for checkpoint, step in visible.items():
            report = checkpointer.restore(state, selector=str(checkpoint))
            assert (report.step, report.epoch) == (step, step)
            assert torch.all(state.model.marked == self.place.mark_of(step))
            assert torch.equal(state.model.resting, torch.arange(_WIDTH * _WIDTH, dtype=torch.float64))
        checkpointer.close()
        return len(visible)


def _rest_of(told: Connection) -> Iterator[tuple[int, UUID] | None]:
    with told:
        while True:
            try:
                yield told.recv()
            except EOFError:
                return
