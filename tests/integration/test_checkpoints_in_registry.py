"""Checkpoints committed by the registry: the same bits, with an event and lineage of their own."""

import os
import signal
import time

import pytest
import torch

from morph_assets.registry.lineage import trace_lineage
from morph_kernels.checkpoint import Checkpointer, PostgresLedger
from morph_kernels.checkpoint.ledger import LedgerError
from morph_kernels.store import open_store
from tests.support.checkpoints import fingerprint, small_state, train_steps
from tests.support.kill_storm import fork_server
from tests.support.registry_saver import save_one_and_hang


@pytest.fixture
def checkpointer(tenant, tmp_path):
    made = registry_checkpointer(tenant, tmp_path)
    yield made
    made.close()


def registry_checkpointer(tenant, folder, **options):
    return Checkpointer(
        run="digits", store=open_store(folder.as_uri()), ledger=PostgresLedger(tenant.url("trainer")), **options
    )


def test_a_checkpoint_comes_back_and_stands_in_the_registry(tenant, tmp_path, checkpointer):
    state = small_state()
    train_steps(state, 2)
    done = checkpointer.save(state, epoch=1, step=2).wait()
    again = checkpointer.save(state, epoch=2, step=2).wait()
    train_steps(state, 2)
    expected = fingerprint(state)
    report = checkpointer.restore(state, selector="epoch:1")
    train_steps(state, 2)
    assert fingerprint(state) == expected
    assert (report.checkpoint, again.new_bytes) == (done.checkpoint, 0)
    with tenant.connect("auditor") as connection:
        events = connection.execute("select count(*) from morph.event where type = 'checkpoint.committed'").fetchone()
    assert events == (2,)
    (edge,) = trace_lineage(tenant.registry("controller"), "run/digits", direction="up", max_depth=1)
    assert (edge.relation, edge.target) == ("restored_from", f"checkpoint/{done.checkpoint}")
    assert len(list(tmp_path.rglob("commits/*"))) == 2


def test_a_killed_trainer_is_followed_as_soon_as_its_lease_ends(tenant, tmp_path):
    context = fork_server()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=save_one_and_hang, args=(tenant.url("trainer"), tmp_path.as_uri(), theirs))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == "saved"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    state = small_state(seed=9)
    started = time.monotonic()
    follower = registry_checkpointer(tenant, tmp_path, lease_ttl_s=1.0)
    assert follower.restore(state).step == 5
    assert time.monotonic() - started < 3
    follower.close()


def test_a_graft_on_an_unknown_kernel_is_refused_by_the_registry(tmp_path, checkpointer):
    state = small_state()

    class Grafted:
        model, optimizer, data, parts = state.model, state.optimizer, None, {}

        def seeds(self):
            return {}

        def grafts(self):
            from morph_kernels.checkpoint import Graft

            return [Graft("slot", "ffn", "a" * 64, b"{}", "d" * 64)]

        def journal(self):
            return ()

        def rebuild(self, topology):
            raise AssertionError(topology)

    with pytest.raises(LedgerError, match="no kernel"):
        checkpointer.save(Grafted(), epoch=0, step=0).wait()
    assert torch.equal(state.model[0].weight, Grafted.model[0].weight)
    assert list(tmp_path.rglob("commits/*")) == []
