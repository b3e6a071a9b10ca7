"""Quotas: hard under races, lowered by a tenant's admin, raised by the operator alone, every change told."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from morph_assets.registry.builds import BuildCost, count_builds, record_build, record_failed_build
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import AccessRefusedError, GuardError, InvalidRecordError, QuotaExceededError
from morph_assets.registry.events import events_about, events_after
from morph_assets.registry.kernels import list_kernels
from morph_assets.registry.migrate import ROLES
from morph_assets.registry.quotas import BUILDS_PER_DAY, list_quotas, lower_quota, require_quota
from morph_assets.registry.tenants import DEFAULT_LIMITS, create_tenant, set_quota
from tests.support.registry import compiled, digest_of

COST = BuildCost(cpu_s=1.0, wall_s=1.0, isolation="bubblewrap")


def quota_of(tenant, resource):
    return next(quota for quota in list_quotas(tenant.registry("controller")) if quota.resource == resource)


def test_the_admin_lowers_and_the_operator_raises_and_both_are_told(tenant):
    admin = tenant.registry("admin")
    assert lower_quota(admin, "kernels", 5, reason="budget") == DEFAULT_LIMITS["kernels"]
    with pytest.raises(AccessRefusedError, match="only the operator raises"):
        lower_quota(admin, "kernels", 6, reason="more")
    assert set_quota(tenant.admin_url, tenant.name, "kernels", 9, reason="paid") == 5
    assert set_quota(tenant.admin_url, tenant.name, "kernels", 9, reason="again") == 9
    assert quota_of(tenant, "kernels").hard_limit == 9
    told = events_about(tenant.registry("auditor"), "quota/kernels")
    assert [(e.facts["from"], e.facts["to"], e.facts["reason"]) for e in told] == [
        (DEFAULT_LIMITS["kernels"], 5, "budget"),
        (5, 9, "paid"),
    ]
    assert [e.actor for e in told] == [f"morph_{tenant.name}_admin", "morph_bootstrap"]


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_no_other_login_changes_a_quota(tenant, role):
    with pytest.raises(AccessRefusedError):
        lower_quota(tenant.registry(role), "kernels", 1, reason="x")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT morph.set_quota_for(morph.current_tenant(), 'kernels', 1000000000, 'x')",
        "SELECT morph.create_tenant_for('mine', '{}', '{}')",
        "UPDATE morph.quota SET hard_limit = 1000000000",
        "UPDATE morph.quota SET used = 0",
        "INSERT INTO morph.quota (tenant, resource, hard_limit) VALUES ('mine', 'kernels', 1)",
        "DELETE FROM morph.quota",
    ],
)
def test_no_login_gives_itself_more(tenant, role, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.connect(role).execute(statement)


def test_the_superuser_too_changes_no_limit_without_its_event(tenant):
    tenant.submitted()
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute("UPDATE morph.quota SET hard_limit = 1000000000 WHERE tenant = %s", (tenant.name,))
    assert refused.value.sqlstate == "MO007"


def test_a_limit_below_what_is_used_or_of_nothing_is_refused(tenant):
    for text in ("one", "two"):
        tenant.built(text)
    admin = tenant.registry("admin")
    for resource in ("kernels", BUILDS_PER_DAY):
        with pytest.raises(GuardError, match="below the 2"):
            lower_quota(admin, resource, 1, reason="x")
        lower_quota(admin, resource, 2, reason="x")
    with pytest.raises(InvalidRecordError, match="no quota of wishes"):
        lower_quota(admin, "wishes", 1, reason="x")
    with pytest.raises(QuotaExceededError):
        tenant.built("three")
    with pytest.raises(QuotaExceededError):
        require_quota(tenant.registry("compiler"), BUILDS_PER_DAY)


@pytest.mark.parametrize(
    ("resource", "limit", "built"),
    [("kernels", 3, 3), (BUILDS_PER_DAY, 3, 3), ("blob_bytes", 2 * 220_000 + 1, 2)],
)
def test_eight_builders_together_take_no_more_than_the_limit(tenant, resource, limit, built):
    release, url = tenant.submitted(), tenant.url("compiler")
    set_quota(tenant.admin_url, tenant.name, resource, limit)

    def build(number):
        with Registry.open(url) as registry:
            try:
                record_build(registry, compiled(release.blueprint_digest, f"kernel {number}"))
            except QuotaExceededError:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(build, range(8))) == built
    assert len(list_kernels(tenant.registry("platform"))) == built
    used = {quota.resource: quota.used for quota in list_quotas(tenant.registry("controller"))}
    assert (used["kernels"], used[BUILDS_PER_DAY], used["blob_bytes"]) == (built, built, built * 220_000)


def test_a_raise_and_a_lowering_at_once_never_raise_by_the_admins_word(tenant):
    url = tenant.url("admin")
    set_quota(tenant.admin_url, tenant.name, "kernels", 100)

    def lower(limit):
        with Registry.open(url) as registry:
            try:
                return lower_quota(registry, "kernels", limit, reason="race")
            except AccessRefusedError:
                return None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lower, [50, 10, 70, 20, 90, 30, 60, 40]))
    told = [e.facts for e in events_about(tenant.registry("auditor"), "quota/kernels")][1:]
    assert all(facts["to"] < facts["from"] for facts in told)
    assert quota_of(tenant, "kernels").hard_limit == 10


def test_every_run_of_the_compiler_counts_and_a_new_day_begins_anew(tenant):
    release, compiler = tenant.submitted(), tenant.registry("compiler")
    record_failed_build(compiler, release.blueprint_digest, digest_of("key"), reason="died", cost=COST)
    first = compiled(release.blueprint_digest)
    record_build(compiler, first)
    record_build(compiler, replace(first, digest=digest_of("redundant"), build_id=compiled("x").build_id))
    assert count_builds(compiler) == {"built": 1, "redundant": 1, "failed": 1}
    assert quota_of(tenant, BUILDS_PER_DAY).used == 3
    with psycopg.connect(tenant.admin_url) as owner:
        owner.execute(
            "UPDATE morph.quota SET day = day - 1, used = hard_limit WHERE tenant = %s AND resource = %s",
            (tenant.name, BUILDS_PER_DAY),
        )
    assert quota_of(tenant, BUILDS_PER_DAY).used == 0
    require_quota(compiler, BUILDS_PER_DAY)
    tenant.built("of today")
    assert quota_of(tenant, BUILDS_PER_DAY).used == 1


def test_a_tenant_is_told_of_with_its_limits_and_members_and_what_is_added_later(registry_database, tenant):
    tenant.url("platform")
    create_tenant(registry_database, tenant.name, {"platform": "new", "auditor": "a", "curator": "c"})
    tenant.passwords |= {"auditor": "a"}
    told = [(event.type, event.facts) for event in events_after(tenant.registry("auditor"), 0)]
    assert told[0] == (
        "tenant.created",
        {
            "tenant": tenant.name,
            "limits": DEFAULT_LIMITS,
            "members": {f"morph_{tenant.name}_platform": "platform"},
        },
    )
    assert [(kind, facts["role"]) for kind, facts in told[1:]] == [
        ("member.added", "auditor"),
        ("member.added", "curator"),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO morph.tenant_member VALUES ('morph_eve', %s, 'admin')",
        "UPDATE morph.tenant_member SET role = 'admin' WHERE tenant = %s",
        "DELETE FROM morph.tenant_member WHERE tenant = %s",
        "DELETE FROM morph.quota WHERE tenant = %s AND resource = 'kernels'",
    ],
)
def test_nobody_joins_or_leaves_without_an_event(tenant, statement):
    tenant.submitted()
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute(statement, (tenant.name,))
    assert refused.value.sqlstate == "MO007"
