"""Who came from whom: up, down, at any moment, round cycles; and what breaks without a kernel."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.blueprints import submit_blueprint
from morph_assets.registry.errors import NotRegisteredError
from morph_assets.registry.events import events_after
from morph_assets.registry.kernels import revoke_kernel
from morph_assets.registry.lineage import find_impact, seq_at, trace_lineage
from morph_kernels.identity import KernelDigest
from tests.support.registry import digest_of, document_of


def train(tenant, run, kernel, *, restored_from=None):
    """A run with one checkpoint that uses the kernel; the checkpoint."""
    connection, holder, checkpoint = tenant.connect("trainer"), uuid4(), uuid4()
    (epoch,) = connection.execute("SELECT morph.open_run(%s, %s, 600)", (run, holder)).fetchone()
    if restored_from is not None:
        connection.execute("SELECT morph.record_restore(%s, %s, %s, %s)", (run, holder, epoch, restored_from))
    blobs = Jsonb([{"digest": digest_of("a"), "location": "packs/1", "byte_offset": 0, "size_bytes": 5}])
    connection.execute(
        "SELECT morph.commit_checkpoint(%s, %s, 'main', NULL, %s, %s, 3, 70, 'v1', 1, %s, 'm/1', %s, %s, NULL)",
        (checkpoint, run, holder, epoch, digest_of(run), blobs, [kernel]),
    )
    connection.execute("SELECT morph.release_lease(%s, %s, %s)", (f"run/{run}", holder, epoch))
    return checkpoint


def pairs(edges):
    return {(edge.source.split("/")[0], edge.relation, edge.target.split("/")[0]) for edge in edges}


def test_a_run_that_went_on_from_a_checkpoint_leads_back_to_the_first_blueprint(tenant):
    kernel = tenant.published()
    submit_blueprint(
        tenant.registry("platform"), "child", *document_of("child"), author="ada", parents=[kernel.blueprint_digest]
    )
    checkpoint = train(tenant, "first", kernel.digest)
    train(tenant, "second", kernel.digest, restored_from=checkpoint)
    controller = tenant.registry("controller")

    up = trace_lineage(controller, "run/second", direction="up")
    down = trace_lineage(controller, f"blueprint/{kernel.blueprint_digest}", direction="down")

    assert {("run", "restored_from", "checkpoint"), ("kernel", "compiled_from", "blueprint")} <= pairs(up)
    assert [edge.depth for edge in up] == sorted(edge.depth for edge in up)
    assert {("report", "evaluates", "kernel"), ("blueprint", "derived_from", "blueprint")} <= pairs(down)
    assert "run/second" in {edge.source for edge in down}


def test_a_run_that_restored_its_own_checkpoint_is_a_cycle_and_ends(tenant):
    kernel = tenant.published()
    checkpoint = train(tenant, "own", kernel.digest)
    train(tenant, "own2", kernel.digest, restored_from=checkpoint)
    connection, holder = tenant.connect("trainer"), uuid4()
    (epoch,) = connection.execute("SELECT morph.open_run('own', %s, 600)", (holder,)).fetchone()
    connection.execute("SELECT morph.record_restore('own', %s, %s, %s)", (holder, epoch, checkpoint))

    edges = trace_lineage(tenant.registry("controller"), "run/own", direction="up", max_depth=32)

    assert len(edges) == len(set(edges)) == 4


def test_the_lineage_of_a_moment_is_what_stood_then(tenant):
    kernel = tenant.published()
    before = datetime.now(UTC)
    train(tenant, "late", kernel.digest)
    controller, node = tenant.registry("controller"), f"kernel/{kernel.digest}"

    then = trace_lineage(controller, node, direction="down", as_of=before)
    now = trace_lineage(controller, node, direction="down", as_of=datetime.now(UTC))

    assert ("checkpoint", "uses", "kernel") not in pairs(then)
    assert ("checkpoint", "uses", "kernel") in pairs(now)
    events = events_after(tenant.registry("auditor"), 0)
    assert seq_at(controller, events[2].recorded_at) == 3
    assert seq_at(controller, events[0].recorded_at - timedelta(seconds=1)) == 0


def test_at_most_so_many_edges_come_back_the_nearest_first(tenant):
    kernel = tenant.published()
    for run in ("a", "b", "c"):
        train(tenant, run, kernel.digest)
    edges = trace_lineage(tenant.registry("controller"), f"kernel/{kernel.digest}", direction="down", limit=2)
    assert [edge.depth for edge in edges] == [1, 1]


def test_another_tenants_lineage_is_not_there(tenant, other_tenant):
    kernel = other_tenant.published()
    assert trace_lineage(tenant.registry("controller"), f"kernel/{kernel.digest}", direction="up") == []


def test_the_impact_names_aliases_and_runs_and_what_becomes_of_them(tenant):
    kernel = tenant.published()
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    train(tenant, "ended", kernel.digest)
    train(tenant, "live", kernel.digest)
    tenant.connect("trainer").execute("SELECT morph.open_run('live', %s, 600)", (uuid4(),))

    alone = find_impact(tenant.registry("controller"), kernel.digest)
    tenant.published("another")
    beside = find_impact(tenant.registry("controller"), kernel.digest)
    revoke_kernel(tenant.registry("curator"), kernel.digest, reason="wrong")
    after = find_impact(tenant.registry("controller"), kernel.digest)

    assert [(found.kind, found.subject) for found in alone] == [
        ("alias", "ffn_gelu@production"),
        ("run", "live"),
        ("run", "ended"),
    ]
    assert alone[0].consequence == "runs eager"
    assert beside[0].consequence == "uses another kernel"
    assert after[0].consequence.startswith("none")
    assert "is running" in alone[1].consequence
    assert alone[2].detail == "1 checkpoints, newest at epoch 3, step 70"


def test_the_impact_of_a_kernel_that_is_not_there_is_refused(tenant):
    with pytest.raises(NotRegisteredError):
        find_impact(tenant.registry("controller"), KernelDigest(digest_of("nothing")))
