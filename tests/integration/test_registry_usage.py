"""The usage ledger: written by what happens, once, told in the log, and never changed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.builds import BuildCost, record_build, record_failed_build
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import AccessRefusedError, GuardError, InvalidRecordError, NotRegisteredError
from morph_assets.registry.events import events_after
from morph_assets.registry.removal import begin_purge, finish_purge, retire_kernel
from morph_assets.registry.replay.check import check_replay
from morph_assets.registry.retention import iter_kernel_uses
from morph_assets.registry.usage import UsageSum, meter_storage, report_served, sum_usage
from tests.support.registry import compiled, digest_of

HOUR = timedelta(hours=1)


def summed(tenant, **how):
    return {(s.key, s.kind): s.quantity for s in sum_usage(tenant.registry("controller"), **how)}


def age(tenant, hours):
    """Let everything of the tenant have begun so many hours ago."""
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        for table, column in (("tenant", "created_at"), ("kernel", "created_at"), ("checkpoint", "recorded_at")):
            superuser.execute(
                f"UPDATE morph.{table} SET {column} = date_trunc('hour', now()) - %s WHERE tenant = %s",  # noqa: S608 - our own names
                (hours * HOUR, tenant.name),
            )


def agrees(tenant):
    return check_replay(tenant.registry("auditor")).differences == ()


def window():
    return {"began_at": datetime.now(UTC) - timedelta(minutes=1), "ended_at": datetime.now(UTC)}


def test_every_run_of_the_compiler_is_entered_by_its_record(tenant):
    release, compiler = tenant.submitted(), tenant.registry("compiler")
    build = compiled(release.blueprint_digest)
    for _ in range(2):
        record_build(compiler, build)
    cost = BuildCost(cpu_s=2.5, wall_s=1.0, isolation="bubblewrap")
    record_failed_build(compiler, release.blueprint_digest, digest_of("key"), reason="died", cost=cost)
    assert summed(tenant) == {(tenant.name, "build_cpu_s"): pytest.approx(19.2 + 2.5)}
    assert summed(tenant, by="blueprint") == {(release.blueprint_digest, "build_cpu_s"): pytest.approx(21.7)}
    assert summed(tenant, by="kernel") == {
        (build.digest, "build_cpu_s"): pytest.approx(19.2),
        (None, "build_cpu_s"): pytest.approx(2.5),
    }
    assert agrees(tenant)


def test_what_lies_in_the_store_is_metered_by_the_hour_and_once(tenant):
    kernel = tenant.built()
    platform = tenant.registry("platform")
    age(tenant, 5)
    assert meter_storage(platform) == 1
    assert summed(tenant, by="kernel")[kernel.digest, "stored_byte_hours"] == pytest.approx(5 * 220_000)
    before = len(events_after(platform, 0))
    assert meter_storage(platform) == 1
    assert len(events_after(platform, 0)) == before
    assert summed(tenant)[tenant.name, "stored_byte_hours"] == pytest.approx(5 * 220_000)
    assert summed(tenant, since=datetime.now(UTC) + HOUR) == {}
    assert agrees(tenant)


def test_a_large_library_is_metered_batch_by_batch_and_a_dead_meter_is_gone_on_with(tenant):
    for number in range(5):
        tenant.built(f"kernel {number}")
    age(tenant, 2)
    platform = tenant.connect("platform")
    assert platform.execute("SELECT morph.meter_storage(2)").fetchone() == (False,)
    assert agrees(tenant)
    assert meter_storage(tenant.registry("platform")) == 1
    found = summed(tenant, by="kernel")
    assert [found[key] for key in found if key[1] == "stored_byte_hours"] == [pytest.approx(2 * 220_000)] * 5
    assert agrees(tenant)


def test_eight_meters_together_enter_everything_once(tenant):
    for number in range(3):
        tenant.built(f"kernel {number}")
    age(tenant, 3)
    url = tenant.url("platform")

    def meter(_):
        with Registry.open(url) as registry:
            return meter_storage(registry)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(meter, range(8)))
    assert summed(tenant)[tenant.name, "stored_byte_hours"] == pytest.approx(3 * 3 * 220_000)
    assert agrees(tenant)


def test_what_a_checkpoint_keeps_is_metered_for_the_run_that_wrote_it_first(tenant):
    trainer, holder, epochs = tenant.connect("trainer"), uuid4(), {}
    for run in ("first", "second"):
        (epochs[run],) = trainer.execute("SELECT morph.open_run(%s, %s, 600)", (run, holder)).fetchone()
    for run, digest, size in (("first", "shared", 1000), ("second", "shared", 1000), ("second", "own", 10)):
        blobs = [{"digest": digest_of(digest), "location": f"p/{digest}", "byte_offset": 0, "size_bytes": size}]
        trainer.execute(
            "SELECT morph.commit_checkpoint(%s, %s, %s, NULL, %s, %s, 1, 1, '1', 1, %s, 'm', %s, '{}', NULL)",
            (uuid4(), run, f"branch-{digest}", holder, epochs[run], digest_of("manifest"), Jsonb(blobs)),
        )
    age(tenant, 3)
    meter_storage(tenant.registry("platform"))
    stored = {
        key: quantity for (key, kind), quantity in summed(tenant, by="run").items() if kind == "stored_byte_hours"
    }
    assert stored == {"first": 3 * 1000, "second": 3 * 10}
    assert agrees(tenant)


def test_many_runs_are_metered_batch_by_batch(tenant):
    trainer, holder, platform = tenant.connect("trainer"), uuid4(), tenant.connect("platform")
    for number in range(5):
        (epoch,) = trainer.execute("SELECT morph.open_run(%s, %s, 600)", (f"run-{number}", holder)).fetchone()
        blobs = [{"digest": digest_of(f"{number}"), "location": "p/1", "byte_offset": number, "size_bytes": 7}]
        trainer.execute(
            "SELECT morph.commit_checkpoint(%s, %s, 'main', NULL, %s, %s, 1, 1, '1', 1, %s, 'm', %s, '{}', NULL)",
            (uuid4(), f"run-{number}", holder, epoch, digest_of("manifest"), Jsonb(blobs)),
        )
    age(tenant, 3)
    assert [platform.execute("SELECT morph.meter_storage(2)").fetchone()[0] for _ in range(3)] == [False, False, True]
    stored = {key: quantity for (key, _), quantity in summed(tenant, by="run").items()}
    assert stored == {f"run-{number}": 3 * 7 for number in range(5)}
    assert agrees(tenant)


def test_a_purged_kernel_is_metered_to_its_end_and_no_further(tenant):
    kernel = tenant.evaluated()
    retire_kernel(tenant.registry("curator"), kernel.digest, reason="x", grace_s=0)
    begin_purge(tenant.registry("curator"), kernel.digest)
    finish_purge(tenant.registry("curator"), kernel.digest, proof_digest=digest_of("p"), proof_key="p/1")
    age(tenant, 4)
    meter_storage(tenant.registry("platform"))
    stored = summed(tenant, by="kernel")[kernel.digest, "stored_byte_hours"]
    assert stored == pytest.approx(4 * 220_000)  # it ended within the hour that is not metered yet


def test_what_was_served_is_entered_once_and_is_a_use(tenant):
    kernel = tenant.evaluated()
    age(tenant, 5)
    (use,) = iter_kernel_uses(tenant.registry("curator"))
    assert use.last_used_at < datetime.now(UTC) - 4 * HOUR
    report, platform, when = uuid4(), tenant.registry("platform"), window()
    for _ in range(2):
        report_served(platform, {kernel.digest: 220_000}, report_id=report, **when)
    assert summed(tenant, by="kernel")[kernel.digest, "bytes_served"] == 220_000
    assert summed(tenant, by="blueprint")[kernel.blueprint_digest, "bytes_served"] == 220_000
    (use,) = iter_kernel_uses(tenant.registry("curator"))
    assert use.last_used_at > datetime.now(UTC) - timedelta(minutes=1)
    assert agrees(tenant)


def test_a_report_that_is_sent_at_the_same_time_by_many_is_entered_once(tenant):
    kernel, report, when = tenant.built(), uuid4(), window()
    senders = [tenant.registry("platform") for _ in range(4)]
    with ThreadPoolExecutor(len(senders)) as pool:
        sent = [pool.submit(report_served, s, {kernel.digest: 7}, report_id=report, **when) for s in senders]
        assert [one.result() for one in sent] == [None] * len(senders)
    assert summed(tenant, by="kernel")[kernel.digest, "bytes_served"] == 7
    assert agrees(tenant)


def test_a_report_with_the_id_of_another_is_refused(tenant):
    kernel, report, when = tenant.built(), uuid4(), window()
    report_served(tenant.registry("platform"), {kernel.digest: 7}, report_id=report, **when)
    with pytest.raises(InvalidRecordError, match="another content"):
        report_served(tenant.registry("platform"), {kernel.digest: 8}, report_id=report, **when)
    assert summed(tenant, by="kernel")[kernel.digest, "bytes_served"] == 7


def test_a_trainer_reports_for_its_run_and_its_run_keeps_the_kernel(tenant):
    kernel = tenant.evaluated()
    trainer = tenant.registry("trainer")
    with pytest.raises(AccessRefusedError, match="its run"):
        report_served(trainer, {kernel.digest: 1}, **window())
    with pytest.raises(InvalidRecordError):
        report_served(trainer, {kernel.digest: 1}, run="nobody", **window())
    holder = uuid4()
    (epoch,) = trainer.call("SELECT morph.open_run('digits', %s, 600)", (holder,))
    report_served(trainer, {kernel.digest: 1}, run="digits", **window())
    assert summed(tenant, by="run")["digits", "bytes_served"] == 1
    with pytest.raises(GuardError, match="run digits was served it and is alive"):
        retire_kernel(tenant.registry("curator"), kernel.digest, reason="x")
    trainer.call("SELECT morph.release_lease('run/digits', %s, %s)", (holder, epoch))
    retire_kernel(tenant.registry("curator"), kernel.digest, reason="x")


@pytest.mark.parametrize(
    ("served", "began", "ended"),
    [
        ({}, -60, 0),
        ({"k": -1}, -60, 0),
        ({"k": 1.5}, -60, 0),
        ({"k": "many"}, -60, 0),
        ({"k": 1}, -60, 3600),
        ({"k": 1}, -90_000, 0),
        ({"k": 1}, 0, -60),
        ({f"{number}": 1 for number in range(257)}, -60, 0),
    ],
)
def test_a_report_without_bounds_is_refused(tenant, served, began, ended):
    kernel, now = tenant.built(), datetime.now(UTC)
    named = {kernel.digest if key == "k" else digest_of(key): value for key, value in served.items()}
    with pytest.raises(InvalidRecordError):
        report_served(
            tenant.registry("platform"),
            named,
            began_at=now + timedelta(seconds=began),
            ended_at=now + timedelta(seconds=ended),
        )


def test_kernels_that_are_not_here_or_another_tenants_are_not_reported(tenant, other_tenant):
    foreign = other_tenant.built()
    for digest in (foreign.digest, digest_of("nobody")):
        with pytest.raises(NotRegisteredError):
            report_served(tenant.registry("platform"), {digest: 1}, **window())
    assert sum_usage(tenant.registry("platform")) == []
    assert isinstance(sum_usage(other_tenant.registry("platform"))[0], UsageSum)


@pytest.mark.parametrize("role", ["compiler", "evaluator", "controller", "auditor", "curator", "admin"])
def test_nobody_else_reports(tenant, role):
    with pytest.raises(AccessRefusedError):
        report_served(tenant.registry(role), {digest_of("x"): 1}, **window())


@pytest.mark.parametrize("role", ["compiler", "evaluator", "publisher", "trainer", "controller", "auditor"])
def test_nobody_else_meters(tenant, role):
    with pytest.raises(AccessRefusedError):
        meter_storage(tenant.registry(role))


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("UPDATE morph.usage_entry SET quantity = 0 WHERE tenant = %s", "MO009"),
        ("DELETE FROM morph.usage_entry WHERE tenant = %s", "MO009"),
        (
            """INSERT INTO morph.usage_entry (tenant, entry_id, kind, quantity, from_us, to_us, seq)
               VALUES (%s, gen_random_uuid(), 'bytes_served', 1, 0, 0, 1)""",
            "MO007",
        ),
        ("INSERT INTO morph.metering VALUES (%s, 'storage', 0, 0, '')", "MO007"),
        ("INSERT INTO morph.inbox VALUES (%s, 'usage/' || gen_random_uuid(), repeat('0', 64))", "MO007"),
    ],
)
def test_the_superuser_too_forges_no_entry(tenant, statement, state):
    tenant.built()
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute(statement, (tenant.name,))
    assert refused.value.sqlstate == state
