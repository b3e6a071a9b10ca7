"""What the log tells is what the tables hold; what it does not tell is found."""

from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.artifacts import tell_artifact
from morph_assets.registry.blueprints import retire_release, submit_blueprint
from morph_assets.registry.builds import BuildCost, record_build, record_failed_build
from morph_assets.registry.errors import RegistryError
from morph_assets.registry.evaluations import record_report
from morph_assets.registry.kernels import quarantine_kernel, retire_kernel, revoke_kernel
from morph_assets.registry.replay.check import check_replay, iter_log
from morph_assets.registry.replay.state import ReplayedState, fold
from morph_kernels.identity import BuildKey
from tests.support.registry import compiled, digest_of, document_of, report_on


@pytest.fixture
def lived(tenant):
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
    return tenant


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


def test_the_log_amounts_to_the_tables(lived):
    checked = check_replay(lived.registry("auditor"))

    assert checked.differences == ()
    assert checked.seq > 30
    assert checked.rows > 60


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE morph.kernel SET state_reason = 'x' WHERE state = 'REJECTED'", "kernel"),
        ("UPDATE morph.kernel SET latency_us = 1", "kernel"),
        ("DELETE FROM morph.kernel_tag", "kernel_tag"),
        ("UPDATE morph.alias SET version = 1", "alias"),
        ("UPDATE morph.checkpoint SET step = 7", "checkpoint"),
        ("UPDATE morph.blueprint_release SET author = 'eve'", "blueprint_release"),
        ("UPDATE morph.measurement SET value = value * 2", "measurement"),
        ("UPDATE morph.build SET cpu_s = 0", "build"),
        ("UPDATE morph.edge SET until_seq = since_seq + 1", "edge"),
        ("INSERT INTO morph.run (tenant, run) SELECT tenant, 'forged' FROM morph.tenant", "run"),
    ],
)
def test_a_row_that_the_log_does_not_tell_of_is_found(lived, change, table):
    with psycopg.connect(lived.admin_url) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute(change)
        superuser.commit()
        found = check_replay(lived.registry("auditor")).differences
        superuser.execute("SET session_replication_role = origin")

    assert {difference.table for difference in found} == {table}


def test_a_log_with_a_gap_is_not_repeated(lived):
    events = list(iter_log(lived.registry("auditor")))
    with pytest.raises(RegistryError, match=r"event 5 of .* is missing"):
        fold(ReplayedState(lived.name), events[:4] + events[5:])


def test_an_event_of_a_newer_version_is_not_skipped(lived):
    with psycopg.connect(lived.admin_url) as superuser:
        superuser.execute("SELECT morph.append_event_for(%s, 'future.happened', 'x/1', '{}')", (lived.name,))
    with pytest.raises(RegistryError, match=r"future\.happened: unknown to this version"):
        check_replay(lived.registry("auditor"))
