"""Bulk imports: all of a batch or nothing, one event, and every rule of an ordinary row held by set."""

from dataclasses import replace

import psycopg
import pytest

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.approvals import approve_kernel
from morph_assets.registry.blueprints import list_releases, retire_release
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import (
    AccessRefusedError,
    GuardError,
    InvalidRecordError,
    NotRegisteredError,
    QuotaExceededError,
    RegistryError,
)
from morph_assets.registry.evaluations import list_measurements, list_reports
from morph_assets.registry.events import events_after
from morph_assets.registry.import_batch import ImportBatch
from morph_assets.registry.import_manifest import encode_batch
from morph_assets.registry.imports import import_batch
from morph_assets.registry.kernels import list_attestations, list_kernels, publish_kernel
from morph_assets.registry.lineage import trace_lineage
from morph_assets.registry.migrate import ROLES
from morph_assets.registry.replay.check import check_replay
from morph_assets.registry.search import KernelQuery, search_kernels
from morph_assets.registry.tenants import set_quota
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import ObjectKey
from tests.support.imported import MEASUREMENTS, imported_batch, imported_kernel, imported_release, imported_report
from tests.support.registry import document_of

KEY = ObjectKey("tenants/t/blobs/aa/manifest")


def taken_in(tenant, batch, role="curator"):
    return import_batch(tenant.registry(role), encode_batch(batch), KEY)


def counted(tenant):
    with psycopg.connect(tenant.admin_url) as owner:
        owner.execute("SET search_path = morph")
        return owner.execute(
            """SELECT (SELECT count(*) FROM blueprint WHERE tenant = t), (SELECT count(*) FROM kernel WHERE tenant = t),
                      (SELECT count(*) FROM attestation WHERE tenant = t), (SELECT count(*) FROM blob WHERE tenant = t),
                      (SELECT count(*) FROM measurement WHERE tenant = t), (SELECT count(*) FROM edge WHERE tenant = t),
                      (SELECT count(*) FROM event WHERE tenant = t AND type <> 'member.added')
               FROM (VALUES (%s)) AS asked (t)""",
            (tenant.name,),
        ).fetchone()


def test_a_batch_is_there_with_all_that_vouches_for_it_and_one_event(tenant):
    tenant.submitted("other")
    taken = taken_in(tenant, imported_batch(3))

    first, *_ = kernels = list_kernels(tenant.registry("platform"))
    (report,) = list_reports(tenant.registry("platform"), first.digest)
    (event,) = events_after(tenant.registry("auditor"), 0, types=["kernels.imported"])
    assert [(k.state, k.tags, k.latency_us, k.risk, k.memory_bytes) for k in kernels] == [
        ("VALIDATED", ["fast", "mlp"], 52.5, 0.125, 812_000)
    ] * 3
    assert list_measurements(tenant.registry("platform"), report.report_id) == sorted(
        MEASUREMENTS, key=lambda m: (m.metric, m.shape_class, m.hardware)
    )
    assert [a.kind for a in list_attestations(tenant.registry("platform"), first.digest)] == [
        "provenance",
        "verification",
    ]
    assert [(r.version, r.state) for r in list_releases(tenant.registry("platform"), name="imported")] == [
        (1, "SUBMITTED")
    ]
    assert event.type == "kernels.imported"
    assert event.facts == {
        "import_id": str(taken.import_id),
        "manifest_digest": sha256_hex(encode_batch(imported_batch(3))),
        "manifest_key": KEY,
        "blueprints": 1,
        "kernels": 3,
        "reports": 3,
    }
    assert [
        e.since_seq for e in trace_lineage(tenant.registry("platform"), f"kernel/{first.digest}", direction="up")
    ] == [event.seq]


def test_imported_kernels_are_found_and_go_into_service(tenant):
    taken_in(tenant, imported_batch(2))
    query = KernelQuery(required=("mlp",), hardware="amd-epyc", shape_class="batch=8/threads=1")
    first, second = search_kernels(tenant.registry("trainer"), query).hits
    with pytest.raises(GuardError, match="no curator has approved it"):
        publish_kernel(tenant.registry("publisher"), first.digest)
    approve_kernel(tenant.registry("curator"), first.digest, reason="the same machines")
    publish_kernel(tenant.registry("publisher"), first.digest)

    assert [h.state for h in search_kernels(tenant.registry("trainer"), query).hits] == ["PUBLISHED", "VALIDATED"]
    assert second.latency_us == 41.25
    assert list_releases(tenant.registry("platform"), name="imported")[0].state == "PUBLISHED"


def test_an_imported_release_of_a_blueprint_in_service_is_in_service(tenant):
    tenant.published("k", name="here", blueprint="imported")
    taken_in(tenant, ImportBatch((imported_release("there"), imported_release("new", "new")), ()))
    states = {release.name: release.state for release in list_releases(tenant.registry("platform"))}
    assert states == {"here": "PUBLISHED", "there": "PUBLISHED", "new": "SUBMITTED"}
    move_alias(tenant.registry("publisher"), "there", "production", 1, expected_row_version=None)


def test_replay_expands_the_manifest(tenant):
    tenant.published("ordinary")
    parent = tenant.submitted("parent", "parent")
    release = imported_release(parents=(parent.blueprint_digest,), tags=("deep",))
    unjudged = imported_kernel("unjudged", report=None)
    tenant.published("in service", name="served", blueprint="second")
    batches = (
        ImportBatch((release,), (imported_kernel("a"), imported_kernel("b"), unjudged)),
        ImportBatch((imported_release(text="second"),), (imported_kernel("c", blueprint="second"),)),
    )
    for batch in batches:
        taken_in(tenant, batch)
    approve_kernel(tenant.registry("curator"), imported_kernel("a").digest, reason="the same machines")
    publish_kernel(tenant.registry("publisher"), imported_kernel("a").digest)
    bodies = {sha256_hex(manifest): manifest for manifest in map(encode_batch, batches)}

    checked = check_replay(tenant.registry("auditor"), lambda _tenant, digest: bodies[digest])

    assert checked.differences == ()
    assert checked.rows > 60
    with pytest.raises(RegistryError, match="only beside the object store"):
        check_replay(tenant.registry("auditor"))


def test_the_same_manifest_again_changes_nothing(tenant):
    first = taken_in(tenant, imported_batch(2))
    before = counted(tenant)
    again = taken_in(tenant, imported_batch(2), role="admin")

    assert again == replace(first, rows=0)
    assert first.rows > 20
    assert counted(tenant) == before


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"blueprint_digest": "0" * 64}, InvalidRecordError),
        ({"digest": "not one"}, InvalidRecordError),
        ({"size_bytes": 0}, InvalidRecordError),
        ({"provenance": b""}, InvalidRecordError),
        ({"report": imported_report("x", attestation=b"")}, InvalidRecordError),
        ({"report": imported_report("x", tags=("No tag",))}, InvalidRecordError),
        ({"digest": imported_kernel("0").digest}, InvalidRecordError),
        ({"build_key": imported_kernel("0").build_key}, InvalidRecordError),
    ],
)
def test_one_bad_kernel_refuses_the_whole_batch(tenant, changed, error):
    tenant.submitted()
    before = counted(tenant)
    batch = ImportBatch((imported_release(),), (imported_kernel("0"), imported_kernel("bad", **changed)))
    with pytest.raises(error):
        taken_in(tenant, batch)
    assert counted(tenant) == before
    taken_in(tenant, replace(batch, kernels=batch.kernels[:1]))


def test_what_is_there_already_is_not_taken_in_twice(tenant):
    taken_in(tenant, imported_batch(2))
    with pytest.raises(InvalidRecordError, match="kernel"):
        taken_in(tenant, ImportBatch((), (imported_kernel("kernel 0"),)))
    with pytest.raises(InvalidRecordError, match="release"):
        taken_in(tenant, ImportBatch((imported_release(),), (imported_kernel("new"),)))


def test_a_blueprint_without_its_parent_is_refused(tenant):
    with pytest.raises(NotRegisteredError, match="parent"):
        taken_in(tenant, ImportBatch((imported_release(parents=("0" * 64,)),)))


def test_releases_of_a_batch_go_on_where_the_name_is(tenant):
    tenant.submitted("imported", "earlier")
    texts = ("second", "third")
    taken_in(tenant, ImportBatch(tuple(imported_release(text=text) for text in texts)))

    releases = list_releases(tenant.registry("platform"), name="imported")
    assert [r.version for r in releases] == [1, 2, 3]
    assert [r.blueprint_digest for r in releases[1:]] == [document_of(text)[0] for text in texts]
    retire_release(tenant.registry("curator"), "imported", 2, reason="tried")


@pytest.mark.parametrize(("resource", "limit"), [("kernels", 2), ("blueprints", 0), ("blob_bytes", 659_999)])
def test_a_batch_is_charged(tenant, resource, limit):
    tenant.url("curator")
    set_quota(tenant.admin_url, tenant.name, resource, limit)
    with pytest.raises(QuotaExceededError):
        taken_in(tenant, imported_batch(3))
    assert list_kernels(tenant.registry("platform")) == []


@pytest.mark.parametrize("role", [role for role in ROLES if role not in {"curator", "admin"}])
def test_only_curator_and_admin_import(tenant, role):
    with pytest.raises(AccessRefusedError):
        taken_in(tenant, imported_batch(1), role=role)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{}\n",
        b"\xff\n",
        b'{"format":1,"kind":"manifest"}\n',
        b'{"format":2,"kind":"manifest"}\n{"kind":"kernel"}\n',
        b'{"format":1,"kind":"manifest"}\n{"kind":"event"}\n',
        b'{"format":1,"kind":"manifest"}\n[1]\n',
        b'{"format":1,"kind":"manifest"}\n' + b'{"kind":"kernel"}\n' * 5001,
    ],
)
def test_what_is_no_manifest_is_refused_by_the_database_too(tenant, manifest):
    with pytest.raises(InvalidRecordError):
        import_batch(tenant.registry("admin"), manifest, KEY)


def test_of_two_imports_of_the_same_kernels_at_once_one_wins(tenant):
    url = tenant.url("admin")
    batch = imported_batch(5)
    other = ImportBatch((imported_release("elsewhere", "elsewhere"),), batch.kernels)
    with Registry.open(url) as one, Registry.open(url) as two, one.transaction():
        import_batch(one, encode_batch(batch), KEY)
        with pytest.raises(RegistryError):  # waits for the first one's rows, and gives up
            import_batch(two, encode_batch(other), KEY)
    assert len(list_kernels(tenant.registry("platform"))) == 5
