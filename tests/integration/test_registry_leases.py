"""Leases: one holder, a rising epoch, and a zombie that can commit nothing."""

import threading
from uuid import uuid4

import psycopg
import pytest

from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import (
    AccessRefusedError,
    FencedError,
    InvalidRecordError,
    NotRegisteredError,
    RegistryBusyError,
)
from morph_assets.registry.kernels import get_kernel, quarantine_kernel
from morph_assets.registry.leases import Lease, acquire_lease, check_fence, release_lease, renew_lease
from morph_assets.registry.migrate import ROLES
from tests.support.registry import digest_of


def expire(tenant, name):
    """Let the lease's time be over, without waiting for it."""
    with psycopg.connect(tenant.admin_url) as owner:
        owner.execute(
            "UPDATE morph.lease SET expires_at = now() - interval '1 s' WHERE tenant = %s AND name = %s",
            (tenant.name, name),
        )


def test_a_held_lease_is_not_given_twice(tenant):
    registry = tenant.registry("compiler")
    first = acquire_lease(registry, "build/x", ttl_s=60)
    assert acquire_lease(registry, "build/x", ttl_s=60) is None
    assert acquire_lease(registry, "build/y", ttl_s=60) is not None
    assert release_lease(registry, first)
    assert acquire_lease(registry, "build/x", ttl_s=60).epoch == first.epoch + 1


def test_of_eight_racing_for_a_lease_one_gets_it(tenant):
    url, start, won = tenant.url("compiler"), threading.Barrier(8), []

    def run():
        with Registry.open(url) as registry:
            start.wait()
            won.append(acquire_lease(registry, "build/x", ttl_s=60))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in won if lease is not None]) == 1


def test_a_lease_of_another_tenant_is_another_lease(tenant, other_tenant):
    assert acquire_lease(tenant.registry("compiler"), "build/x", ttl_s=60) is not None
    assert acquire_lease(other_tenant.registry("compiler"), "build/x", ttl_s=60) is not None


def test_a_zombie_can_neither_renew_nor_commit_nor_release(tenant):
    kernel, registry = tenant.published(), tenant.registry("platform")
    zombie = acquire_lease(registry, "build/x", ttl_s=60)
    expire(tenant, "build/x")
    heir = acquire_lease(registry, "build/x", ttl_s=60)
    assert heir.epoch == zombie.epoch + 1

    def work(lease):
        with registry.transaction():
            check_fence(registry, lease)
            quarantine_kernel(registry, kernel.digest, reason="curation")

    with pytest.raises(FencedError):
        work(zombie)
    with pytest.raises(FencedError):
        renew_lease(registry, zombie, ttl_s=60)
    assert not release_lease(registry, zombie)
    assert get_kernel(registry, kernel.digest).state == "PUBLISHED"
    work(heir)
    assert get_kernel(registry, kernel.digest).state == "QUARANTINED"


def test_a_restarted_holder_does_not_get_its_old_epoch_back(tenant):
    connection, holder = tenant.connect("compiler"), uuid4()
    take = "SELECT morph.acquire_lease('build/x', %s, 60)"
    first = connection.execute(take, (holder,)).fetchone()[0]
    second = connection.execute(take, (holder,)).fetchone()[0]
    assert second == first + 1
    with pytest.raises(FencedError):
        check_fence(tenant.registry("compiler"), Lease("build/x", holder, first))


def test_somebody_elses_epoch_does_not_pass_the_fence(tenant):
    registry = tenant.registry("compiler")
    lease = acquire_lease(registry, "build/x", ttl_s=60)
    with pytest.raises(FencedError):
        check_fence(registry, Lease(lease.name, uuid4(), lease.epoch))


def test_a_takeover_waits_for_a_fenced_transaction(tenant):
    holder_url = tenant.url("compiler")
    heir = tenant.registry("compiler")
    lease = acquire_lease(heir, "build/x", ttl_s=60)
    expire(tenant, "build/x")
    with Registry.open(holder_url) as holder, holder.transaction():
        check_fence(holder, lease)
        with pytest.raises(RegistryBusyError):
            acquire_lease(heir, "build/x", ttl_s=60)
    assert acquire_lease(heir, "build/x", ttl_s=60).epoch == lease.epoch + 1


def test_a_restored_backup_ends_every_lease_of_the_timeline_before(registry_database, tenant):
    registry = tenant.registry("compiler")
    old = acquire_lease(registry, "build/x", ttl_s=60)
    with psycopg.connect(registry_database) as owner:
        owner.execute("INSERT INTO morph.timeline (timeline, reason) VALUES (2, 'restored')")
    try:
        with pytest.raises(FencedError):
            check_fence(registry, old)
        expire(tenant, "build/x")
        assert acquire_lease(registry, "build/x", ttl_s=60).epoch == (2 << 40) + 1
    finally:
        with psycopg.connect(registry_database) as owner:
            owner.execute("DELETE FROM morph.timeline WHERE timeline = 2")


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_lease_without_an_end_is_refused(tenant, ttl_s):
    with pytest.raises(InvalidRecordError):
        acquire_lease(tenant.registry("compiler"), "build/x", ttl_s=ttl_s)


def test_the_writer_lease_of_a_run_is_not_to_be_had_sideways(tenant):
    with pytest.raises(AccessRefusedError):
        acquire_lease(tenant.registry("platform"), "run/digits", ttl_s=60)


@pytest.mark.parametrize(
    ("name", "takers"),
    [
        ("build/x", {"compiler", "platform"}),
        ("evaluation/x", {"evaluator"}),
        ("relay/index", {"publisher"}),
        ("relay/archive", {"platform"}),
        ("relay/mine", set()),
        ("curation", set()),
    ],
)
def test_nobody_keeps_the_work_of_another_login_waiting(tenant, name, takers):
    taken = set()
    for role in ROLES:
        try:
            lease = acquire_lease(tenant.registry(role), name, ttl_s=3600)
        except AccessRefusedError:
            continue
        assert release_lease(tenant.registry(role), lease)
        taken.add(role)
    assert taken == takers


def test_a_kernel_nobody_registered_is_not_found(tenant):
    with pytest.raises(NotRegisteredError):
        get_kernel(tenant.registry("platform"), digest_of("nobody"))
