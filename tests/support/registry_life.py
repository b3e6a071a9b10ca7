"""A tenant in which everything happened that can."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from morph_assets.registry.aliases import freeze_alias, move_alias, unfreeze_alias
from morph_assets.registry.approvals import approve_kernel, decline_kernel
from morph_assets.registry.artifacts import tell_artifact
from morph_assets.registry.blueprints import retire_release, submit_blueprint
from morph_assets.registry.builds import BuildCost, record_build, record_failed_build
from morph_assets.registry.checkpoints import list_checkpoints
from morph_assets.registry.evaluations import record_report, start_evaluation
from morph_assets.registry.kernels import KernelRecord, kernel_subject, quarantine_kernel, revoke_kernel
from morph_assets.registry.pins import pin, unpin
from morph_assets.registry.quotas import lower_quota
from morph_assets.registry.removal import begin_purge, finish_purge, restore_kernel, retire_kernel
from morph_assets.registry.retention import set_policy
from morph_assets.registry.tenants import set_quota
from morph_assets.registry.usage import meter_storage, report_served
from morph_kernels.identity import BlobDigest, BlueprintDigest, BuildKey, KernelDigest, ObjectKey
from tests.support.registry import TestTenant, compiled, digest_of, document_of, report_on


@pytest.fixture
def lived(tenant: TestTenant) -> TestTenant:
    """A tenant in which everything happened that can."""
    submit = tenant.registry("platform"), "child", *document_of("child")
    first = tenant.published("first")
    submit_blueprint(*submit, author="grace", tags=("mlp",), parents=(first.blueprint_digest,))
    record_build(tenant.registry("compiler"), compiled(first.blueprint_digest, "first"))
    record_failed_build(
        tenant.registry("compiler"),
        first.blueprint_digest,
        BuildKey(digest_of("failed")),
        reason="compile_failed",
        cost=BuildCost(cpu_s=1.23456789, wall_s=0.5, isolation="bubblewrap", log_tail="g++: what?"),
    )
    record_report(tenant.registry("evaluator"), report_on(first.digest, attestation=b"another runtime", torch="2.15.0"))
    tell_artifact(
        tenant.registry("platform"), first.digest, "artifact.damaged", tier="disk", reason="torn", action="dropped"
    )
    second = tenant.published("second", blueprint="second")
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 2, expected_row_version=1)
    tenant.evaluated("wrong", verdict="fail")
    broken = tenant.evaluated("broken", verdict="error")
    quarantine_kernel(tenant.registry("curator"), broken.digest, reason="odd")
    revoke_kernel(tenant.registry("curator"), second.digest, reason="wrong after all")
    retire_kernel(tenant.registry("curator"), broken.digest, reason="unused")
    retire_release(tenant.registry("curator"), "child", 1, reason="a mistake")
    _train(tenant.connect("trainer"), first.digest)
    _hold(tenant, first.digest)
    _remove(tenant, first.blueprint_digest)
    _account(tenant, first)
    return tenant


def _account(tenant: TestTenant, served: KernelRecord) -> None:
    """Decide on a speculative kernel, meter what is stored, and report what was handed out."""
    bold = record_build(tenant.registry("compiler"), compiled(served.blueprint_digest, "bold", pipeline="aggressive"))
    start_evaluation(tenant.registry("evaluator"), bold.digest)
    record_report(tenant.registry("evaluator"), report_on(bold.digest, attestation=b"bold"))
    decline_kernel(tenant.registry("curator"), bold.digest, reason="not yet")
    approve_kernel(tenant.registry("curator"), bold.digest, reason="ran a week")
    now = datetime.now(UTC)
    report_served(tenant.registry("platform"), {served.digest: 220_000}, began_at=now, ended_at=now)
    report_served(tenant.registry("trainer"), {served.digest: 1}, began_at=now, ended_at=now, run="run")
    with psycopg.connect(tenant.admin_url) as superuser:  # as if it had lain there for hours
        for table in ("tenant", "kernel"):
            statement = sql.SQL(
                "ALTER TABLE morph.{0} DISABLE TRIGGER USER; UPDATE morph.{0} SET created_at = created_at"
                " - interval '3 h'; ALTER TABLE morph.{0} ENABLE TRIGGER USER"
            )
            superuser.execute(statement.format(sql.Identifier(table)))
    meter_storage(tenant.registry("platform"))


def _remove(tenant: TestTenant, blueprint: BlueprintDigest) -> None:
    """Set policies, bring a kernel back, stop in the middle of a removal, end another, build what is gone anew."""
    curator = tenant.registry("curator")
    set_policy(curator, "idle", "unused", {"days": 90})
    set_policy(curator, "idle", "unused", {"days": 30}, expected_row_version=1)
    restored, halfway, gone, again = (tenant.evaluated(f"leaving {number}") for number in range(4))
    for kernel in (restored, halfway, gone, again):
        retire_kernel(curator, kernel.digest, reason="unused", policy="idle", grace_s=3600 if kernel is restored else 0)
    restore_kernel(curator, restored.digest, reason="wanted")
    begin_purge(curator, halfway.digest)
    for kernel in (gone, again):
        begin_purge(curator, kernel.digest)
        finish_purge(curator, kernel.digest, proof_digest=BlobDigest(digest_of("proof")), proof_key=ObjectKey("p/1"))
    record_build(tenant.registry("compiler"), compiled(blueprint, "leaving 3", provenance=b"built anew"))


def _hold(tenant: TestTenant, kernel: KernelDigest) -> None:
    """Freeze and move back, pin and unpin, and change what the tenant may use."""
    curator, publisher = tenant.registry("curator"), tenant.registry("publisher")
    move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=2, rolled_back=True)
    freeze_alias(curator, "ffn_gelu", "production", reason="release week")
    move_alias(publisher, "ffn_gelu", "staging", 1, expected_row_version=None)
    freeze_alias(curator, "ffn_gelu", "staging", reason="for a moment")
    unfreeze_alias(curator, "ffn_gelu", "staging", reason="over")
    (checkpoint, *_) = (found.checkpoint for found in list_checkpoints(curator))
    for subject in (kernel_subject(kernel), "release/ffn_gelu@1", f"checkpoint/{checkpoint}"):
        pin(curator, subject, reason="paper", until=datetime(2100, 1, 1, tzinfo=UTC))
        pin(curator, subject, reason="paper in review")
    unpin(curator, "release/ffn_gelu@1", reason="published")
    lower_quota(tenant.registry("admin"), "kernels", 1000, reason="budget")
    set_quota(tenant.admin_url, tenant.name, "kernels", 2000, reason="paid")


def _train(trainer: psycopg.Connection, kernel: str) -> None:
    holder, parent = uuid4(), None
    (epoch,) = trainer.execute("SELECT morph.open_run('run', %s, 600)", (holder,)).fetchone()
    for step in range(2):
        checkpoint = uuid4()
        blobs = [
            {"digest": digest_of("shared"), "location": "packs/0", "byte_offset": 0, "size_bytes": 10},
            {"digest": digest_of(f"new {step}"), "location": f"packs/{step}", "byte_offset": 10, "size_bytes": 20},
        ]
        trainer.execute(
            "SELECT morph.commit_checkpoint(%s, 'run', 'main', %s, %s, %s, 1, %s, 'v1', 1, %s, 'm/1', %s, %s, %s)",
            (checkpoint, parent, holder, epoch, step, digest_of(f"m{step}"), Jsonb(blobs), [kernel], parent),
        )
        parent = checkpoint
    trainer.execute("SELECT morph.record_restore('run', %s, %s, %s)", (holder, epoch, parent))
    _look_back(trainer, (holder, epoch), newest=parent)


def _look_back(trainer: psycopg.Connection, lease: tuple[UUID, int], *, newest: UUID | None) -> None:
    """Fork, roll back, tag twice, pin and unpin."""
    (first,) = trainer.execute(
        "SELECT checkpoint FROM morph.resolve_checkpoint('run', 'main', NULL, NULL, NULL, 0, NULL, NULL)"
    ).fetchone()
    trainer.execute("SELECT morph.fork_branch('run', %s, %s, 'side', %s)", (*lease, first))
    trainer.execute("SELECT morph.move_head('run', %s, %s, 'main', %s, %s)", (*lease, first, newest))
    for named, move in ((first, False), (newest, True)):
        trainer.execute("SELECT morph.tag_checkpoint('run', %s, %s, 'best', %s, %s)", (*lease, named, move))
    trainer.execute("SELECT morph.pin_checkpoint('run', %s, %s, %s, 'paper', NULL)", (*lease, first))
    trainer.execute("SELECT morph.unpin_checkpoint('run', %s, %s, %s, 'out')", (*lease, first))
