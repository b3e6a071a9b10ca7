"""The commit of a checkpoint, called as training calls it: with the trainer's login and plain SQL."""

import threading
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.checkpoints import list_checkpoints, list_runs
from morph_assets.registry.errors import GuardError
from morph_assets.registry.events import events_after
from morph_assets.registry.lineage import trace_lineage
from morph_assets.registry.removal import retire_kernel
from morph_assets.registry.tenants import set_quota
from tests.support.registry import digest_of

COMMIT = """SELECT morph.commit_checkpoint(
    %(checkpoint)s, %(run)s, %(branch)s, %(parent)s, %(holder)s, %(lease_epoch)s, %(epoch)s, %(step)s, %(controller)s,
    %(world_size)s, %(manifest)s, %(manifest_key)s, %(blobs)s, %(kernels)s::text[], %(expected_head)s)"""


def blob(text, *, pack="pack-1", size=100):
    return {"digest": digest_of(text), "location": f"t/packs/{pack}", "byte_offset": 0, "size_bytes": size}


class Trainer:
    """A training process with its connection and its lease."""

    def __init__(self, tenant, run="digits"):
        self.tenant, self.run, self.holder = tenant, run, uuid4()
        self.connection = tenant.connect("trainer")
        self.epoch = self.call("SELECT morph.open_run(%s, %s, 60)", (run, self.holder))

    def call(self, statement, parameters=()):
        return self.connection.execute(statement, parameters).fetchone()[0]

    def commit(self, checkpoint=None, **changes):
        facts = {
            "checkpoint": checkpoint or uuid4(),
            "run": self.run,
            "branch": "main",
            "parent": None,
            "holder": self.holder,
            "lease_epoch": self.epoch,
            "epoch": 1,
            "step": 10,
            "controller": "7",
            "world_size": 2,
            "manifest": digest_of("manifest"),
            "manifest_key": "t/manifests/1",
            "blobs": Jsonb([blob("a"), blob("b")]),
            "kernels": [],
            "expected_head": None,
        }
        return self.call(COMMIT, facts | changes)

    def refusal(self, **changes):
        with pytest.raises(psycopg.Error) as refused:
            self.commit(**changes)
        return refused.value.sqlstate

    def live(self, *texts):
        rows = self.connection.execute(
            "SELECT digest, location FROM morph.live_blobs(%s)", ([digest_of(text) for text in texts],)
        )
        return dict(rows.fetchall())


@pytest.fixture
def trainer(tenant):
    return Trainer(tenant)


def set_blob_state(tenant, text, state):
    with psycopg.connect(tenant.admin_url) as owner:
        owner.execute(
            "UPDATE morph.blob SET state = %s WHERE tenant = %s AND digest = %s", (state, tenant.name, digest_of(text))
        )


def test_a_checkpoint_is_found_with_its_blobs_kernels_lineage_and_event(tenant, trainer):
    kernel, first, second = tenant.published(), uuid4(), uuid4()
    trainer.commit(first)
    seq = trainer.commit(second, parent=first, expected_head=first, epoch=2, kernels=[kernel.digest, kernel.digest])
    rows = trainer.connection.execute(
        "SELECT checkpoint, parent, epoch, seq FROM morph.find_checkpoints('digits', 'main', 10)"
    ).fetchall()
    assert [row[0] for row in rows] == [second, first]
    assert rows[0][1:] == (first, 2, seq)
    blobs = trainer.connection.execute("SELECT digest FROM morph.checkpoint_blobs(%s)", (second,)).fetchall()
    assert {digest for (digest,) in blobs} == {digest_of("a"), digest_of("b")}
    newest, _ = list_checkpoints(tenant.registry("platform"), run="digits")
    assert (newest.checkpoint, newest.kernels, newest.size_bytes) == (second, [kernel.digest], 200)
    (run,) = list_runs(tenant.registry("platform"))
    assert (run.run, run.active, run.checkpoints, run.latest_seq) == ("digits", True, 2, seq)
    came_from = trace_lineage(tenant.registry("controller"), f"checkpoint/{second}", direction="up")
    assert {edge.target.split("/")[0] for edge in came_from} == {"kernel", "checkpoint", "run", "blueprint"}
    needed_by = trace_lineage(tenant.registry("controller"), f"kernel/{kernel.digest}", direction="down")
    assert f"checkpoint/{second}" in {edge.source for edge in needed_by}
    before = trace_lineage(tenant.registry("controller"), f"kernel/{kernel.digest}", direction="down", as_of=seq - 1)
    assert f"checkpoint/{second}" not in {edge.source for edge in before}
    (told,) = events_after(tenant.registry("auditor"), seq - 1, types=["checkpoint.committed"])
    assert (told.type, told.actor) == ("checkpoint.committed", f"morph_{tenant.name}_trainer")
    assert told.facts["kernels"] == [kernel.digest]
    assert verify_chain(tenant.registry("auditor")) is None


def test_a_repeated_commit_returns_the_same_sequence(tenant, trainer):
    checkpoint = uuid4()
    assert trainer.commit(checkpoint) == trainer.commit(checkpoint)
    assert len(list_checkpoints(tenant.registry("platform"))) == 1


def test_a_retry_is_answered_also_after_the_lease_was_lost(tenant, trainer):
    checkpoint = uuid4()
    seq = trainer.commit(checkpoint)
    trainer.call("SELECT morph.release_lease('run/digits', %s, %s)", (trainer.holder, trainer.epoch))
    Trainer(tenant)
    assert trainer.commit(checkpoint) == seq


def test_the_same_commit_sent_twice_at_once_is_one(tenant):
    trainer, checkpoint, results = Trainer(tenant), uuid4(), []
    start = threading.Barrier(2)

    def send(connection):
        twin = Trainer.__new__(Trainer)
        twin.__dict__ = trainer.__dict__ | {"connection": connection}
        start.wait()
        results.append(twin.commit(checkpoint))

    threads = [threading.Thread(target=send, args=(tenant.connect("trainer"),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 2


def test_another_manifest_under_the_same_id_is_refused(trainer):
    checkpoint = uuid4()
    trainer.commit(checkpoint)
    assert trainer.refusal(checkpoint=checkpoint, manifest=digest_of("other")) == "MO004"


def test_a_second_live_writer_does_not_open_the_run(tenant, trainer):
    with pytest.raises(psycopg.Error) as refused:
        Trainer(tenant)
    assert refused.value.sqlstate == "MO011"
    assert trainer.commit() > 0


def test_a_writer_that_was_succeeded_commits_nothing(tenant, trainer):
    trainer.call("SELECT morph.release_lease('run/digits', %s, %s)", (trainer.holder, trainer.epoch))
    heir = Trainer(tenant)
    assert trainer.refusal() == "MO005"
    with pytest.raises(psycopg.Error) as refused:
        trainer.call("SELECT morph.renew_run('digits', %s, %s, 60)", (trainer.holder, trainer.epoch))
    assert refused.value.sqlstate == "MO005"
    assert heir.commit() > 0
    assert trainer.live("a") == {digest_of("a"): "t/packs/pack-1"}


def test_a_reopening_by_the_same_holder_ends_its_own_older_epoch(trainer):
    newer = trainer.call("SELECT morph.open_run('digits', %s, 60)", (trainer.holder,))
    assert newer == trainer.epoch + 1
    assert trainer.refusal() == "MO005"


def test_the_head_moves_only_from_where_it_was_seen(tenant, trainer):
    first = uuid4()
    trainer.commit(first)
    assert trainer.refusal(blobs=Jsonb([blob("c")])) == "MO004"
    assert trainer.refusal(expected_head=uuid4()) == "MO004"
    assert trainer.live("c") == {}
    trainer.commit(branch="side", parent=first)
    assert len(list_checkpoints(tenant.registry("platform"))) == 2


def test_a_checkpoint_with_an_unknown_kernel_or_parent_is_refused_whole(tenant, trainer):
    assert trainer.refusal(kernels=[digest_of("nobody")]) == "MO006"
    assert trainer.refusal(parent=uuid4()) == "23503"
    assert trainer.live("a", "b") == {}
    assert list_checkpoints(tenant.registry("platform")) == []


def test_a_kernel_of_another_tenant_is_an_unknown_kernel(trainer, other_tenant):
    assert trainer.refusal(kernels=[other_tenant.published().digest]) == "MO006"


def test_a_kernel_that_a_checkpoint_needs_cannot_be_retired(tenant, trainer):
    kernel = tenant.published()
    trainer.commit(kernels=[kernel.digest])
    with pytest.raises(GuardError, match="unreferenced"):
        retire_kernel(tenant.registry("curator"), kernel.digest, reason="old")


def test_retiring_a_kernel_waits_for_a_checkpoint_being_committed_with_it(tenant, trainer):
    kernel, curator = tenant.published(), tenant.connect("curator")
    with trainer.connection.transaction():
        trainer.commit(kernels=[kernel.digest])
        with pytest.raises(psycopg.Error) as refused:
            curator.execute("SELECT morph.retire_kernel(%s, 'old')", (kernel.digest,))
        assert refused.value.sqlstate == "55P03"
    with pytest.raises(GuardError):
        retire_kernel(tenant.registry("curator"), kernel.digest, reason="old")


def test_what_a_checkpoint_needs_cannot_be_deleted(tenant, trainer):
    kernel = tenant.published()
    trainer.commit(kernels=[kernel.digest])
    for statement in ("DELETE FROM morph.blob WHERE tenant = %s", "DELETE FROM morph.kernel WHERE tenant = %s"):
        with psycopg.connect(tenant.admin_url) as owner, pytest.raises(psycopg.errors.ForeignKeyViolation):
            owner.execute(statement, (tenant.name,))


def test_a_dead_blob_is_refused_until_it_is_uploaded_again(tenant, trainer):
    first = uuid4()
    trainer.commit(first)
    set_blob_state(tenant, "a", "dead")
    assert trainer.live("a", "b") == {digest_of("b"): "t/packs/pack-1"}
    assert trainer.refusal(parent=first, expected_head=first) == "MO010"
    trainer.commit(parent=first, expected_head=first, blobs=Jsonb([blob("a", pack="pack-2")]))
    assert trainer.live("a") == {digest_of("a"): "t/packs/pack-2"}


def test_a_sweep_waits_for_a_commit_that_shares_the_blob(tenant, trainer):
    trainer.commit()
    with trainer.connection.transaction():
        trainer.commit(branch="side")
        with psycopg.connect(tenant.admin_url) as sweep:
            free = sweep.execute(
                "SELECT digest FROM morph.blob WHERE tenant = %s FOR UPDATE SKIP LOCKED", (tenant.name,)
            ).fetchall()
    assert free == []


def test_a_blob_of_another_size_is_not_the_same_blob(trainer):
    trainer.commit()
    assert trainer.refusal(branch="side", blobs=Jsonb([blob("a", size=7)])) == "MO010"


def test_the_quota_of_bytes_is_hard(tenant, trainer):
    set_quota(tenant.admin_url, tenant.name, "blob_bytes", 250)
    first = uuid4()
    trainer.commit(first)
    assert trainer.refusal(parent=first, expected_head=first, blobs=Jsonb([blob("c")])) == "MO008"
    trainer.commit(parent=first, expected_head=first, blobs=Jsonb([blob("a"), blob("b")]))


def test_a_checkpoint_never_changes_nor_goes_without_its_event(tenant, trainer):
    trainer.commit()
    with psycopg.connect(tenant.admin_url) as owner:
        with pytest.raises(psycopg.Error) as refused, owner.transaction():
            owner.execute("UPDATE morph.checkpoint SET step = 11 WHERE tenant = %s", (tenant.name,))
        assert refused.value.sqlstate == "MO009"
        for table in ("branch_head", "checkpoint_blob", "checkpoint"):
            statement = psycopg.sql.SQL("DELETE FROM morph.{} WHERE tenant = %s").format(psycopg.sql.Identifier(table))
            owner.execute(statement, (tenant.name,))
        # The newest event about the checkpoint is its commit, of an earlier transaction.
        with pytest.raises(psycopg.Error) as eventless:
            owner.commit()
    assert eventless.value.sqlstate == "MO007"


@pytest.mark.parametrize("role", ["platform", "controller", "publisher", "admin"])
def test_only_the_trainer_commits(tenant, trainer, role):
    trainer.connection = tenant.connect(role)
    assert trainer.refusal() == "42501"


@pytest.mark.parametrize("run", ["a|b", "", "Run", "a/b"])
def test_a_run_that_cannot_be_a_partition_key_is_refused(tenant, run):
    with pytest.raises(psycopg.errors.CheckViolation):
        Trainer(tenant, run)
